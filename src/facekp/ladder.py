"""`python -m facekp.ladder`: trains the published system's four steps again, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(cfg: DictConfig) -> list[dict[str, Any]]:
    """Train the steps that are missing, and show the table; the metrics of each step."""
    from facekp.reporting.ladder import LadderSettings, run_ladder  # imported here: --help must answer within a second

    return run_ladder(read_settings(cfg, LadderSettings))


if __name__ == "__main__":
    run_command("ladder", main)
