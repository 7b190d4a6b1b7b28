"""`python -m facekp.ablation`: trains rows that differ in one thing each, and tabulates what came out of them.

A row of conf/ablation.yaml is a training over some seeds, or a scoring of what such rows trained: together, or with
another decoder. Every run is a command of its own with a folder root/NAME/SEED, and all that is tabulated is read from
there: Markdown between two comments of a document, every run's figures as CSV, a picture of RMSE against minutes.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from facekp.config.command import plain, run_command
from facekp.reporting.ablation import perform, read_rows, runs_of, split_document, tell


def main(cfg: DictConfig) -> pd.DataFrame:
    """Hydra's task: run what is missing, then tell."""
    config = plain(cfg)
    config["rows"] = read_rows(config)
    if config["out"] is not None:
        split_document(Path(config["out"]))  # a mistake there is told before hours of training
    asked = [row for row in config["rows"] if config["only"] is None or row["name"] in config["only"]]
    if config["train_missing"]:
        for row in asked:
            for run in runs_of(row, config):
                perform(run)
    return tell(config)


if __name__ == "__main__":
    run_command("ablation", main)
