"""Folders as finished runs leave them, without training: for the benchmark of the report, and for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facekp.data.table import FaceTable
from facekp.functional.metrics import mean_face
from facekp.models.scoring import compute_metrics
from facekp.runs.folder import RunFolder
from facekp.runs.frames import predictions_frame

EPOCHS = 30  # of the curves


def write_example_runs(root: Path, count: int, table: FaceTable, config: Mapping[str, Any]) -> list[RunFolder]:
    """Folders as finished runs leave them, without training: predictions are the labels with noise.

    Three runs in a row differ only in their seed. The next three have another learning rate and less noise.

    Args:
        root: where the folders are made.
        count: number of runs.
        table: the validation rows of all runs.
        config: content of config.yaml, except ``lr`` and ``seed``.
    """
    folders = []
    baseline = compute_metrics(mean_face(table.points, table.source, table.keypoints)[table.source], table)
    confidence = np.full(table.points.shape[:2], 0.5, dtype=np.float32)
    epochs = np.arange(1, EPOCHS + 1)
    for i in range(count):
        noise = 2 - 1.2 * (i // 3 * 3) / count  # pixels
        error = np.random.default_rng(i).normal(0, noise, table.points.shape).astype(np.float32)
        points = np.nan_to_num(table.points) + error
        rmse = noise * (1 + 2 * np.exp(-epochs / 8))
        curves = {"epoch": epochs, "minutes": epochs / 10, "val/rmse": rmse, "train/loss": rmse * 2}
        metrics = {**compute_metrics(points, table), "mean_face": baseline, "epochs": EPOCHS, "minutes": EPOCHS / 10}
        folder = RunFolder(root / f"run{i:03d}")
        folder.write_config({**config, "lr": 0.001 * (i // 3 + 1), "seed": i % 3})
        folder.write_predictions(predictions_frame(table, "val", points, confidence))
        folder.write_curves(pd.DataFrame(curves))
        folder.write_metrics(metrics)
        folders.append(folder)
    return folders
