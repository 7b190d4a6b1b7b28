"""Metrics in pixels of the images: RMSE and its relatives. Axes: N faces, K points."""

from __future__ import annotations

import math

import numpy as np

from facekp.functional.metrics.declaration import Curve, Ratio, metric
from facekp.functional.metrics.metric_input import MetricInput

TRIMMED_ONE_IN = 100  # `trimmed_mean` leaves out the worst value of every hundred


@metric("rmse", label="RMSE", unit="px", digits=3, better="lower")
def rmse(scored: MetricInput) -> dict[str, float | Ratio]:
    """Pooled RMSE of all labelled coordinates, of each source and of each keypoint."""
    squared, count = face_sums(scored.distance**2)
    count = 2 * count  # coordinates
    figures = {key.removeprefix("rmse/"): value for key, value in scored.pooled.items() if key.startswith("rmse/")}
    parts: dict[str, float | Ratio] = {"": Ratio(squared, count, root=True, value=scored.pooled.get("rmse", math.nan))}
    for s, name in enumerate(scored.keypoints.source_names):
        of_source = scored.source == s
        value = figures.get(name, math.nan)
        parts[name] = Ratio(squared * of_source, count * of_source, root=True, value=value)
    return {**parts, **{name: figures.get(name, math.nan) for name in scored.keypoints.names}}


@metric("labelled_values", label="labelled values", digits=0, shown=())
def labelled_values(scored: MetricInput) -> int:
    """Labelled coordinates, two per point."""
    return int(scored.pooled["labelled_values"])


@metric("curve", label="points closer", unit="fraction", better="higher", shown=("report",))
def error_curve(scored: MetricInput) -> Curve:
    """Fraction of labelled points closer than 0.1, 0.2, ... px."""
    return Curve(scored.pooled["curve"])


@metric("rmse/trimmed", label="RMSE without the worst 1 %", unit="px", better="lower", shown=("console", "report"))
def trimmed_rmse(scored: MetricInput) -> float:
    """RMSE without the worst hundredth of the labelled values, so that a few wrong labels do not decide it."""
    return _trimmed_rmse(scored)


def _trimmed_rmse(scored: MetricInput) -> float:
    squared = np.square(scored.points - scored.truth, dtype=np.float64)[~np.isnan(scored.truth)]
    return trimmed_mean(squared) ** 0.5 if len(squared) else math.nan


@metric("rmse/corrupted", label="RMSE of corrupted images", unit="px", better="lower", shown=("console", "report"))
def corrupted_rmse(scored: MetricInput) -> float:
    """Mean of the corruptions' RMSE without the worst 1 %; that of a corruption is the mean over its strengths."""
    labelled = [[part for part in parts if part.labelled.any()] for parts in scored.corrupted.values()]
    means = [np.mean([_trimmed_rmse(part) for part in parts]) for parts in labelled if parts]
    return float(np.mean(means)) if means else math.nan


@metric("offset", label="offset of the labels", unit="px", shown=())
def offset(scored: MetricInput) -> dict[str, float]:
    """How many pixels right of the predictions the labels of each source lie: the median of all points."""
    right = (scored.truth - scored.points)[..., 0]  # (N, K)
    by_source = {name: right[scored.source == s] for s, name in enumerate(scored.keypoints.source_names)}
    return {
        name: round(float(np.nanmedian(values)), 3) for name, values in by_source.items() if not np.isnan(values).all()
    }


@metric("below_floor", label="mean face predicted", unit="fraction", digits=4, needs_confidence=True, shown=())
def below_floor(scored: MetricInput) -> float:
    """Fraction of labelled points of a confidence below the floor, where the mean face is predicted instead."""
    assert scored.confidence is not None
    labelled = scored.confidence[scored.labelled]
    return round(float((~(labelled >= scored.floor)).mean()), 4) if len(labelled) else math.nan  # also below: NaN


def trimmed_mean(values: np.ndarray) -> float:
    """Mean without the worst hundredth of the values.

    Example:
        >>> trimmed_mean(np.append(np.ones(99), 1000))
        1.0
    """
    return float(np.sort(values)[: len(values) - len(values) // TRIMMED_ONE_IN].mean())


def face_sums(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of each face's values (N, K) that are not NaN, float64 (N,)."""
    known = ~np.isnan(values)
    return np.where(known, values, 0.0).sum(axis=1, dtype=np.float64), known.sum(axis=1).astype(np.float64)
