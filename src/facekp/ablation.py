"""`python -m facekp.ablation`: trains rows that differ in one thing each, and tabulates their results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig


def main(cfg: DictConfig) -> pd.DataFrame:
    """Run what is missing, show and write the table, and return it."""
    from facekp.reporting.ablation import AblationSettings, run_ablation  # imported here: --help must answer at once

    return run_ablation(read_settings(cfg, AblationSettings))


if __name__ == "__main__":
    run_command("ablation", main)
