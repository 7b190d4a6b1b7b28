"""`python -m facekp.evaluate ckpt=FILE`: scores checkpoints on the rows that trained none of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from facekp.core.errors import UserError
from facekp.data.split import image_hashes, inseparable_groups
from facekp.data.table import FaceTable
from facekp.functional.metrics import MetricInput, compute_figures, mean_face
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
    """Figures of predictions for the N rows of a table.

    Args:
        points: (N, K, 2) in pixels.
        confidence: (N, K) from 0 to 1.
        table: the rows with their labels.
        others: the rows whose mean face is the baseline.
        floor: below this confidence the mean face is predicted.

    Returns:
        The content of metrics.json: `compute_metrics`, and that of the baseline under ``mean_face``.
    """
    face = mean_face(others.points, others.source, others.keypoints)  # (S, K, 2)
    baseline = compute_metrics(face[table.source], table)
    return {**compute_metrics(points, table, confidence, floor), "mean_face": baseline}


def compute_metrics(
    points: np.ndarray, table: FaceTable, confidence: np.ndarray | None = None, floor: float = 0.0
) -> dict[str, Any]:
    """Every metric in `facekp.functional.metrics.METRICS` of predictions for the N rows of a table.

    Args:
        points: (N, K, 2) in pixels.
        table: the rows with their labels.
        confidence: (N, K) from 0 to 1; None: metrics that need it are left out.
        floor: below this confidence the mean face is predicted.

    Raises:
        UserError: a metric can't be computed.
    """
    return compute_figures(MetricInput(points, table.points, table.source, table.keypoints, confidence, floor))


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
