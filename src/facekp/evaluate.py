"""`python -m facekp.evaluate ckpt=FILE`: scores checkpoints on the rows that trained none of them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from facekp.config.command import plain, run_command
from facekp.core.console import show
from facekp.core.errors import UserError
from facekp.core.files import write_csv, write_json
from facekp.data.readers.registry import read_table
from facekp.models.ensemble import load_models
from facekp.models.scoring import score, unseen_rows
from facekp.reporting.console_tables import metrics_table
from facekp.runs.folder import RunFolder
from facekp.runs.frames import predictions_frame

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> dict[str, Any]:
    """Hydra's task: score, show, and write where a folder was named."""
    config = plain(cfg)
    trained = load_models(config["ckpt"], config["decoder"])
    table = read_table(config["data"], trained[0].model.keypoints)
    if np.isnan(table.points).all():
        raise UserError("data: the table holds no labelled point; nothing can be scored")
    rows = unseen_rows(trained, table)
    held_out, others = table.take(rows), table.without(rows)
    figures, points, confidence = score(trained, held_out, others if others.mask.any() else held_out)
    show(metrics_table(figures, held_out.keypoints, f"{len(held_out)} faces, RMSE in pixels"))
    if config["out"] is not None:
        folder = Path(config["out"])
        RunFolder(folder).write_origin()
        write_csv(folder / "predictions.csv", predictions_frame(held_out, "unseen", points, confidence))
        write_json(folder / "metrics.json", figures)
        log.info("written: %s", folder)
    return figures


if __name__ == "__main__":
    run_command("evaluate", main)
