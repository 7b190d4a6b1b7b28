"""Metrics of landmark papers: errors divided by the size of the face. Axes: N faces, K points.

- NME: mean of the points' distances from their labels, divided by a length of the face
  (`facekp.functional.normalisers`).
- Failure rate: fraction of faces whose mean is above a threshold (0.08 on 300-W, 0.10 on WFLW).
- AUC: area under the curve of the fraction of faces below an NME, from 0 to a threshold, divided by the threshold.
- PCK: fraction of points closer to their label than a fraction of the length.
"""

from __future__ import annotations

import math

import numpy as np

from facekp.functional.metrics.declaration import Curve, Place, Ratio, metric
from facekp.functional.metrics.metric_input import MetricInput
from facekp.functional.metrics.pixels import face_sums

FINAL_PLACES: tuple[Place, ...] = ("console", "report", "sweep", "dashboard")
CURVE_BINS = 100
CURVE_REACH = 2.0  # the curve ends at this times the largest threshold


def threshold_name(threshold: float) -> str:
    """A threshold as part of a key.

    Example:
        >>> threshold_name(0.1), threshold_name(0.08), threshold_name(0.125)
        ('0.10', '0.08', '0.125')
    """
    return f"{threshold:.2f}" if round(threshold, 2) == threshold else f"{threshold:g}"


def auc_ratio(scored: MetricInput, threshold: float) -> Ratio:
    """The AUC: a face with an NME of e adds the part of the curve from e to the threshold."""
    return Ratio(*face_sums(np.maximum(1 - scored.face_nme / threshold, 0)[:, None]))


def failure_ratio(scored: MetricInput, threshold: float) -> Ratio:
    """The failure rate."""
    has_nme = ~np.isnan(scored.face_nme)
    return Ratio((scored.face_nme > threshold).astype(np.float64), has_nme.astype(np.float64))


@metric("nme", label="NME", digits=4, better="lower", sections=("runs", "landmarks"))
def nme(scored: MetricInput) -> dict[str, float | Ratio]:
    """Mean distance as a fraction of the distance between the points that normalise it; of several, of each."""
    names = list(scored.keypoints.normalisers)
    if not names:
        return {}
    ratios = {name: Ratio(*face_sums(scored.normalised(name))) for name in names}
    usual = ratios[names[0]]
    pooled = Ratio(usual.total, usual.count, value=float(scored.pooled.get("nme", math.nan)))  # as of every epoch
    return {"": pooled, **(ratios if len(names) > 1 else {})}


@metric("nme/box", label="NME by box", digits=4, better="lower", shown=("report", "sweep"), sections=("landmarks",))
def nme_box(scored: MetricInput) -> Ratio:
    """Mean distance divided by the square root of the face box's area."""
    return Ratio(*face_sums(scored.normalised("box")))


@metric(
    "nme/diagonal",
    label="NME by diagonal",
    digits=4,
    better="lower",
    shown=("report", "sweep"),
    sections=("landmarks",),
)
def nme_diagonal(scored: MetricInput) -> Ratio:
    """Mean distance divided by the diagonal of the face box."""
    return Ratio(*face_sums(scored.normalised("diagonal")))


@metric("failure_rate", label="failure rate", digits=4, better="lower", shown=FINAL_PLACES, sections=("landmarks",))
def failure_rate(scored: MetricInput) -> dict[str, float | Ratio]:
    """Fraction of faces whose NME is above a threshold."""
    return {threshold_name(limit): failure_ratio(scored, limit) for limit in scored.settings.thresholds}


@metric("auc", label="AUC", digits=4, better="higher", shown=FINAL_PLACES, sections=("landmarks",))
def auc(scored: MetricInput) -> dict[str, float | Ratio]:
    """Area under the curve of the fraction of faces below an NME, up to a threshold; 1 is perfect."""
    return {threshold_name(limit): auc_ratio(scored, limit) for limit in scored.settings.thresholds}


@metric("pck", label="PCK", digits=4, better="higher", shown=("report", "sweep", "dashboard"), sections=("landmarks",))
def pck(scored: MetricInput) -> dict[str, float | Ratio]:
    """Fraction of labelled points that are at most a fraction of the face's size off."""
    distance = scored.normalised()
    _, count = face_sums(distance)
    return {
        threshold_name(limit): Ratio((distance <= limit).sum(axis=1).astype(np.float64), count)
        for limit in scored.settings.pck
    }


@metric("nme/curve", label="faces below the NME", unit="fraction", better="higher", shown=("report",))
def nme_curve(scored: MetricInput) -> Curve | float:
    """Fraction of faces whose NME is at most a value."""
    faces = scored.face_nme[~np.isnan(scored.face_nme)]
    if not len(faces) or not scored.settings.thresholds:
        return math.nan
    edges = np.linspace(0, CURVE_REACH * max(scored.settings.thresholds), CURVE_BINS + 1).round(6)
    below = np.searchsorted(np.sort(faces), edges, side="right") / len(faces)
    return Curve({"NME": edges.tolist(), "faces": below.round(6).tolist()})
