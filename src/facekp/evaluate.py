"""`python -m facekp.evaluate ckpt=FILE`: scores checkpoints on held-out rows: those that none of them was trained on.

With ``corruptions=standard`` it also scores them on corrupted images (`facekp.data.corruptions`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facekp.config.command import read_settings, run_command, warn_of_unused

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(cfg: DictConfig) -> dict[str, Any]:
    """Score, print the metrics, and write them if a folder was named; the metrics."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.models.command_settings import OF_TRAININGS, EvaluateSettings
    from facekp.reporting.evaluation import evaluate
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(read_settings(cfg, EvaluateSettings))
    warn_of_unused(OF_TRAININGS, "all rows that no checkpoint was trained on are scored, by the checkpoint's offsets")
    return evaluate(settings)


if __name__ == "__main__":
    run_command("evaluate", main)
