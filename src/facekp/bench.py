"""`python -m facekp.bench`: speed and memory, as ratios of medians within one run.

Machines differ and are noisy, so no figure here is a promise; the two sides of a ratio are measured in turn, each in a
fresh process where memory matters (the allocator's state is part of what is compared).
"""

from __future__ import annotations

from omegaconf import DictConfig
from rich.table import Table

from facekp.config.command import plain, run_command
from facekp.core.console import show
from facekp.reporting.benchmark import bench


def main(cfg: DictConfig) -> list[tuple[str, str, str]]:
    """Hydra's task: measure, then show."""
    lines = bench(plain(cfg))
    table = Table(title=f"medians of one run, {cfg.threads} threads")
    for heading in ("what", "measured", "goal"):
        table.add_column(heading)
    for line in lines:
        table.add_row(*line)
    show(table)
    return lines


if __name__ == "__main__":
    run_command("bench", main)
