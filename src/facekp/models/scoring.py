"""Metrics of models on labelled rows, and which rows may be scored: those that none of the models was trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.data.near_duplicates import face_hashes, known_faces
from facekp.data.sampling import spread_rows
from facekp.data.settings import DataSettings
from facekp.data.split import inseparable_groups
from facekp.data.table import FaceTable
from facekp.functional.metrics import (
    MetricInput,
    ScoreSettings,
    all_metrics,
    compute_figures,
    compute_intervals,
    figures_and_ratios,
    mean_face,
)
from facekp.models.ensemble import LoadedModel, PredictTable, predict_table
from facekp.models.prediction import Prediction
from facekp.models.training_data import warn_of_other_crops

log = logging.getLogger(__name__)

TRIED_ROWS = 100  # on which `try_metrics` computes metrics


class Evaluation(NamedTuple):
    """How well models predict the rows of a table.

    Attributes:
        metrics: of `score_predictions`.
        prediction: for the N rows.
    """

    metrics: dict[str, Any]
    prediction: Prediction[np.ndarray]


def score_models(
    models: Sequence[LoadedModel],
    table: FaceTable,
    others: FaceTable,
    corrupted: Mapping[str, Sequence[MetricInput]] | None = None,
    predict: PredictTable = predict_table,
    settings: ScoreSettings | None = None,
    group: np.ndarray | None = None,
) -> Evaluation:
    """Score the mean prediction of models on all rows of a table.

    Args:
        models: checkpoints or exported files.
        table: N labelled rows that none of them was trained on.
        others: the rows whose mean face is the baseline.
        corrupted: predictions for the corrupted rows (`facekp.models.robustness.CorruptedFaces.scored`); None: none.
        predict: predicts the table.
        settings: of metrics that divide errors by the size of the face; None: the defaults.
        group: int (N,) of `inseparable_groups`, of which intervals draw whole ones; None: each row is its own group.
    """
    prediction = predict(models, table)
    floor = max(loaded.model.decoder.floor for loaded in models)
    scored = metric_input(prediction.points, table, settings, prediction.confidence, floor, corrupted, group)
    return Evaluation(score_predictions(scored, others), prediction)


def metric_input(
    points: np.ndarray,
    table: FaceTable,
    settings: ScoreSettings | None = None,
    confidence: np.ndarray | None = None,
    floor: float = 0.0,
    corrupted: Mapping[str, Sequence[MetricInput]] | None = None,
    group: np.ndarray | None = None,
) -> MetricInput:
    """What metrics of predictions for the N rows of a table are computed from.

    Args:
        points: (N, K, 2) in pixels.
        table: the rows with their labels.
        settings: of metrics that divide errors by the size of the face; None: the defaults.
        confidence: (N, K) from 0 to 1; None: metrics that need it are left out.
        floor: below this confidence the mean face is predicted.
        corrupted: predictions for the corrupted rows; None: metrics that need them are left out.
        group: int (N,) of `inseparable_groups`; None: each row is its own group.
    """
    return MetricInput(
        points=points,
        truth=table.points,
        source=table.source,
        keypoints=table.keypoints,
        confidence=confidence,
        floor=floor,
        corrupted=corrupted or {},
        box=table.box,
        attributes=table.attributes,
        settings=settings or ScoreSettings(),
        group=group,
    )


def score_predictions(scored: MetricInput, others: FaceTable) -> dict[str, Any]:
    """Figures of predictions for the N rows of a table.

    Args:
        scored: predictions and labels.
        others: the rows whose mean face is the baseline.

    Returns:
        The content of metrics.json: every metric, 95 % intervals under ``intervals``, and the metrics of the baseline
        under ``mean_face``.

    Raises:
        UserError: a metric can't be computed.
    """
    figures, ratios = figures_and_ratios(scored)
    intervals = compute_intervals(ratios, scored.settings.resamples, scored.group)
    baseline = replace(scored, points=_mean_faces(others, scored.source), confidence=None, floor=0.0, corrupted={})
    return {**figures, "intervals": intervals, "mean_face": compute_figures(baseline)}


def try_metrics(table: FaceTable, held_out: np.ndarray, settings: ScoreSettings) -> None:
    """Compute all metrics of a few held-out rows before a training, if a plug-in has added one.

    If a metric failed only after the training, the run would have no results. The prediction tried is the mean face.

    Args:
        table: all labelled rows.
        held_out: int (N,), those of them that the training will be scored on.
        settings: of metrics that divide errors by the size of the face.

    Raises:
        UserError: a metric can't be computed, or two return the same key.
    """
    if all(metric.where.startswith("facekp.") for metric in all_metrics()):
        return
    few, others = table.take(held_out[spread_rows(table.source[held_out], TRIED_ROWS)]), table.without(held_out)
    points = _mean_faces(others, few.source)
    certain = np.ones(points.shape[:2], np.float32)
    score_predictions(metric_input(points, few, settings.replaced(resamples=0), certain), others)


def _mean_faces(table: FaceTable, source: np.ndarray) -> np.ndarray:
    """float32 (N, K, 2): the mean face of each source in a table, for N rows with the sources ``source``."""
    face = mean_face(table.points, table.source, table.keypoints)  # (S, K, 2)
    centre = np.array([(side - 1) / 2 for side in reversed(table.size)], np.float32)
    return np.where(np.isnan(face), centre, face)[source]  # points without a label there, as a model predicts them


def compute_metrics(points: np.ndarray, table: FaceTable) -> dict[str, Any]:
    """Every metric in `facekp.functional.metrics.METRICS` of predictions (N, K, 2) for the N rows of a table.

    Raises:
        UserError: a metric can't be computed.
    """
    return compute_figures(metric_input(points, table))


def unseen_rows(
    models: Sequence[LoadedModel],
    table: FaceTable,
    data: DataSettings | None = None,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Rows that no model was trained on, nor on a near-duplicate of theirs or another face of the same photo.

    Args:
        models: checkpoints or exported files.
        table: N rows.
        data: settings of the table; None: no cache of near-duplicates, and no warning of photos that are cropped in
            another way than for the training.
        groups: int (N,) of `inseparable_groups`; None: they are computed.

    Returns:
        int64, increasing.

    Raises:
        UserError: there is no such row.
    """
    unknown = [str(loaded.path) for loaded in models if loaded.trained_on is None]
    if unknown:
        log.warning(
            "ckpt=%s: does not record its training images, so it may have seen rows that are scored", unknown[0]
        )
    hashes = [loaded.trained_on for loaded in models if loaded.trained_on is not None]
    of_table = face_hashes(table)
    if data is not None:
        warn_of_other_crops(models, of_table, data)
    trained = known_faces(of_table, np.concatenate(hashes)) if hashes else np.zeros(len(table), dtype=bool)
    if groups is None:
        groups = inseparable_groups(table, None if data is None else data.cache_folder)
    rows = np.flatnonzero(~np.isin(groups, groups[trained]))
    log.info(
        "scoring %s; %d left out, as a checkpoint was trained on them or on near-duplicates of them",
        count(len(rows), "row"),
        len(table) - len(rows),
    )
    if not len(rows):
        raise UserError(
            f"ckpt: all {len(table)} rows are training rows of a checkpoint, or near-duplicates of them; give others"
        )
    return rows
