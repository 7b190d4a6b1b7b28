"""`python -m facekp.ladder`: the starting system's four published steps, trained anew one after another.

Every step is a `facekp.train` of its own, in a fixed folder; a finished step is kept and a stopped one resumed, so the
ladder can be killed and called again. At the end our validation RMSE stands beside the published figure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from facekp.config.command import plain, run_command
from facekp.core.console import show
from facekp.reporting.ladder import ladder_table, step_overrides
from facekp.runs.sequence import run_unless_finished


def run_ladder(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Train what is not trained yet.

    Args:
        config: as conf/ladder.yaml composes it.

    Returns:
        metrics.json of every step.
    """
    root = Path(config["root"])
    figures = []
    for number in range(1, len(config["ladder"]) + 1):
        folder = root / str(number)
        run_unless_finished("train", step_overrides(config, number), folder)
        figures.append(json.loads((folder / "metrics.json").read_text()))
    return figures


def main(cfg: DictConfig) -> list[dict[str, Any]]:
    """Hydra's task: run_ladder, then show."""
    config = plain(cfg)
    figures = run_ladder(config)
    show(ladder_table(config, figures))
    return figures


if __name__ == "__main__":
    run_command("ladder", main)
