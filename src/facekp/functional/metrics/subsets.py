"""Scores of subsets of the faces, such as those of large pose or with occlusion, as WFLW's tables have them.

A subset is a value of an attribute, ``pose=large``. Axes: N faces.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from facekp.functional.metrics.declaration import Place, Ratio, metric
from facekp.functional.metrics.metric_input import MetricInput
from facekp.functional.metrics.normalised import auc_ratio, failure_ratio
from facekp.functional.metrics.pixels import face_sums

MAX_VALUES = 20  # of an attribute; one with more, such as a person's name, makes no table that can be read
REPORT: tuple[Place, ...] = ("report",)


def subset_masks(scored: MetricInput) -> dict[str, np.ndarray]:
    """bool (N,) by subset: a mask for each value of each attribute. A flag (0 or 1) has the mask of 1 only.

    An attribute with more than `MAX_VALUES` values is left out.
    """
    masks: dict[str, np.ndarray] = {}
    for name, values in scored.attributes.items():
        different = sorted(set(values.tolist()) - {""})
        if len(different) <= MAX_VALUES:
            is_flag = set(different) <= {"0", "1"}
            masks |= {f"{name}={value}": values == value for value in different if not (is_flag and value == "0")}
    return masks


def by_subset(scored: MetricInput, ratio: Callable[[MetricInput], Ratio]) -> dict[str, float | Ratio]:
    """A figure of all faces, for each subset."""
    masks = subset_masks(scored)
    if not masks:
        return {}
    whole = ratio(scored)
    return {name: Ratio(whole.total * mask, whole.count * mask, whole.root) for name, mask in masks.items()}


@metric("faces/subset", label="faces", digits=0, shown=REPORT, sections=("subsets",))
def subset_faces(scored: MetricInput) -> dict[str, float | Ratio]:
    """Number of faces in the subset."""
    return {name: int(mask.sum()) for name, mask in subset_masks(scored).items()}


@metric("nme/subset", label="NME", digits=4, better="lower", shown=("console", "report"), sections=("subsets",))
def subset_nme(scored: MetricInput) -> dict[str, float | Ratio]:
    """NME of the faces in the subset, by the normaliser of the settings."""
    return by_subset(scored, lambda all_faces: Ratio(*face_sums(all_faces.normalised())))


@metric("failure_rate/subset", label="failure rate", digits=4, better="lower", shown=REPORT, sections=("subsets",))
def subset_failures(scored: MetricInput) -> dict[str, float | Ratio]:
    """Failure rate of the faces in the subset, at the last of metrics.thresholds."""
    return _at_last_threshold(scored, failure_ratio)


@metric("auc/subset", label="AUC", digits=4, better="higher", shown=REPORT, sections=("subsets",))
def subset_auc(scored: MetricInput) -> dict[str, float | Ratio]:
    """AUC of the faces in the subset, at the last of metrics.thresholds."""
    return _at_last_threshold(scored, auc_ratio)


@metric("rmse/subset", label="RMSE", unit="px", better="lower", shown=REPORT, sections=("subsets",))
def subset_rmse(scored: MetricInput) -> dict[str, float | Ratio]:
    """RMSE of the faces in the subset."""
    return by_subset(scored, _rmse_ratio)


def _rmse_ratio(scored: MetricInput) -> Ratio:
    squared, points = face_sums(scored.distance**2)
    return Ratio(squared, 2 * points, root=True)


def _at_last_threshold(scored: MetricInput, ratio: Callable[[MetricInput, float], Ratio]) -> dict[str, float | Ratio]:
    thresholds = scored.settings.thresholds
    return by_subset(scored, lambda all_faces: ratio(all_faces, thresholds[-1])) if thresholds else {}
