"""`python -m facekp.evaluate ckpt=FILE`: scores checkpoints on the rows that trained none of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from facekp.core.errors import UserError
from facekp.data.split import image_hashes, inseparable_groups
from facekp.data.table import FaceTable
from facekp.functional.metrics import KeypointErrors, mean_face
from facekp.models.calibration import trimmed_mean
from facekp.models.ensemble import LoadedModel, predict_points

log = logging.getLogger(__name__)


def score(
    trained: Sequence[LoadedModel], table: FaceTable, others: FaceTable
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Score the mean answer of checkpoints on all rows of a table.

    Args:
        trained: the checkpoints.
        table: N labelled rows that trained none of them.
        others: the rows the baseline's mean face is taken from.

    Returns:
        figures (`score_predictions`), points (N, K, 2), confidence (N, K).
    """
    points, confidence = predict_points(trained, table)
    floor = max(one.model.decoder["floor"] for one in trained)
    return score_predictions(points, confidence, table, others, floor), points, confidence


def score_predictions(
    points: np.ndarray, confidence: np.ndarray, table: FaceTable, others: FaceTable, floor: float
) -> dict[str, Any]:
    """Figures of predictions (N, K, 2), of a confidence (N, K), for a table's N rows.

    Returns:
        `compute_metrics`, the baseline's under ``mean_face``, and under ``below_floor`` the share of labelled points of so
        low a confidence that the mean face answered.
    """
    figures = compute_metrics(points, table)
    face = mean_face(others.points, others.source, others.keypoints)
    figures["mean_face"] = compute_metrics(face[table.source], table)
    figures["below_floor"] = round(float((confidence[table.mask] < floor).mean()), 4)
    return figures


def compute_metrics(points: np.ndarray, table: FaceTable) -> dict[str, Any]:
    """`KeypointErrors.summary` of predictions (N, K, 2) for a table's N rows, ``rmse/trimmed`` and ``offset/<source>``.

    The first is the RMSE without the worst hundredth of the labelled values: a handful of wrong labels doesn't decide
    it. The second is how many pixels right of the predictions the labels of a source lie, the median of all.
    """
    errors = KeypointErrors(table.keypoints, sync_on_compute=False)  # this process has all rows
    errors.update(*map(torch.from_numpy, (points, np.array(table.points), table.source)))
    figures = errors.summary()
    if figures["labelled_values"]:
        squared = np.square(points - table.points, dtype=np.float64)
        figures["rmse/trimmed"] = trimmed_mean(squared[~np.isnan(table.points)]) ** 0.5
    right = (table.points - points)[..., 0]
    for s, source in enumerate(table.keypoints.source_names):
        own = right[table.source == s]
        if not np.isnan(own).all():
            figures[f"offset/{source}"] = round(float(np.nanmedian(own)), 3)
    return figures


def unseen_rows(trained: Sequence[LoadedModel], table: FaceTable) -> np.ndarray:
    """Rows whose image trained none of the checkpoints, nor one that nearly equals it or is of the same photo.

    Returns:
        int64, increasing.

    Raises:
        UserError: every row trained one of them.
    """
    unknown = [str(one.path) for one in trained if one.trained_on is None]
    if unknown:
        log.warning("ckpt=%s doesn't tell which images trained it: it may have seen rows that are scored", unknown[0])
    known = [one.trained_on for one in trained if one.trained_on is not None]
    seen = np.isin(image_hashes(table.images), np.concatenate(known)) if known else np.zeros(len(table), dtype=bool)
    groups = inseparable_groups(table)
    rows = np.flatnonzero(~np.isin(groups, groups[seen]))
    left_out = len(table) - len(rows)
    log.info("scoring %d rows; %d left out that trained a checkpoint or belong to one that did", len(rows), left_out)
    if not len(rows):
        raise UserError(f"ckpt: all {len(table)} rows trained a checkpoint given; score on other data (data.dir=DIR)")
    return rows
