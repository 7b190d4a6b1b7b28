"""`python -m facekp.ablation`: trains rows that differ in one thing each, and tabulates their results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig


def main(cfg: DictConfig) -> pd.DataFrame:
    """Run what is missing, show and write the table, and return it."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.reporting.ablation import run_ablation
    from facekp.reporting.ablation_rows import AblationSettings

    return run_ablation(read_settings(cfg, AblationSettings))


if __name__ == "__main__":
    run_command("ablation", main)
