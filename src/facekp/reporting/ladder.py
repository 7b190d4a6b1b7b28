"""`python -m facekp.ladder`: the starting system's four published steps, trained anew one after another.

Every step is a `facekp.train` of its own, in a fixed folder; a finished step is kept and a stopped one resumed, so the
ladder can be killed and called again. At the end our validation RMSE stands beside the published figure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from facekp.runs.sequence import BEST


def step_overrides(config: dict[str, Any], number: int) -> list[str]:
    """What `facekp.train` is called with for a step, counted from 1."""
    root, step = Path(config["root"]), config["ladder"][number - 1]
    start = [f"init_from={root / str(number - 1) / BEST}"] if step["continues"] else []
    return [
        f"experiment={step['experiment']}",
        *start,
        *([*config["fast_overrides"], f"trainer.max_epochs={step['fast_epochs']}"] if config["fast"] else []),
        *config["train"],
        f"out={root / str(number)}",
    ]


def ladder_table(config: dict[str, Any], figures: list[dict[str, Any]]) -> Table:
    """Our validation RMSE of each step beside the published leaderboard figure."""
    table = Table(title="validation RMSE in pixels, and what was published")
    for heading in (
        "step",
        "ours",
        "dense",
        "sparse",
        "of mean face",
        "mean face answers",
        "minutes",
        "leaderboard (other images)",
    ):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    for step, found in zip(config["ladder"], figures, strict=True):
        baseline = found["mean_face"]["rmse"]
        table.add_row(
            step["experiment"].removeprefix("seed/"),
            *(f"{found[key]:.3f}" for key in ("rmse", "rmse/dense", "rmse/sparse")),
            f"{found['rmse'] / baseline:.2f}",
            f"{100 * found['below_floor']:.0f} %",
            f"{found['minutes']:.1f}",
            "does not learn" if step["published"] is None else f"{step['published']}",
        )
    table.add_section()
    face = figures[0]["mean_face"]
    table.add_row(
        "mean face", *(f"{face[key]:.3f}" for key in ("rmse", "rmse/dense", "rmse/sparse")), "1.00", "100 %", "", ""
    )
    return table
