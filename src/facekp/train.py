"""`python -m facekp.train optimizer=adam lr=5e-4`: trains one network; with ``-m`` a sweep."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from facekp.config.command import run_command
from facekp.runs.sweep_arguments import rewrite_arguments


def main(cfg: DictConfig) -> dict[str, Any] | None:
    """Train what Hydra composed: a run, or a job of a sweep."""
    from facekp.training.run import run  # imported here: --help and mistakes in a key must answer within a second

    return run(cfg)


if __name__ == "__main__":
    run_command("train", main, rewrite_arguments)
