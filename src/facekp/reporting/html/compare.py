"""Is a difference between runs significant? Bootstrap over images.

Sums of squared errors per image come in, 95 % intervals go out. Near-duplicates and faces of one photo are drawn
together. Axes: N images, U units (runs, or groups of runs), B resamples.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd

from facekp.functional.metrics.intervals import LEVEL, resampled_ratios, sum_by_group

Interval = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """Pooled RMSE of one unit minus that of another, on the images that both predicted.

    Attributes:
        images: number of these images.
        first, second: RMSE of the two units on these images, in pixels.
        low, high: the 95 % percentile interval over resampled images.
        better: fraction of the resamples in which the first unit is better.
    """

    images: int
    first: float
    second: float
    low: float
    high: float
    better: float

    @property
    def value(self) -> float:
        """In pixels; negative if the first unit is better."""
        return self.first - self.second

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


Pairs = dict[tuple[int, int], Difference]  # by the indices of two units, the smaller first


def intervals(units: Sequence[pd.DataFrame], resamples: int) -> list[Interval | None]:
    """The 95 % interval of each unit's pooled RMSE over resampled images; None for a unit without two groups of them.

    Args:
        units: `facekp.reporting.html.collect.Run.images` of each.
        resamples: B.
    """
    result: list[Interval | None] = [None] * len(units)
    for members in _with_same_images(units):
        frames = [units[u] for u in members]
        if _can_be_resampled(frames):
            low, high = np.percentile(_resampled_rmse(frames, resamples), LEVEL, axis=0)
            for u, *bounds in zip(members, low.tolist(), high.tolist(), strict=True):
                result[u] = (bounds[0], bounds[1])
    return result


def differences(
    units: Sequence[pd.DataFrame], resamples: int, compared: Collection[int] | None = None
) -> dict[tuple[int, int], Difference]:
    """Pairs of units that have at least two groups of images in common, by their indices (first below second).

    Both units of a pair are resampled together, so an image that is hard for both does not widen the interval.

    Args:
        units: `facekp.reporting.html.collect.Run.images` of each.
        resamples: B.
        compared: indices of units of which every pair is computed; of other units, only the pairs with unit 0 are.
            None: all units.
    """
    chosen = set(range(len(units)) if compared is None else compared)
    classes = _with_same_images(units)
    result = {}
    for first, second in [*((members, members) for members in classes), *combinations(classes, 2)]:
        common = units[first[0]].index.intersection(units[second[0]].index)
        members = sorted({*first, *second})
        if len(common) < 2 or len(members) < 2:
            continue
        frames = [units[u] if first is second else units[u].loc[common] for u in members]
        if not _can_be_resampled(frames):
            continue
        rmse = dict(zip(members, (_rmse(frame) for frame in frames), strict=True))
        resampled = dict(zip(members, _resampled_rmse(frames, resamples).T, strict=True))
        pairs = combinations(members, 2) if first is second else product(first, second)
        partners: dict[int, list[int]] = {}
        for a, b in (sorted(pair) for pair in pairs):
            if a == 0 or {a, b} <= chosen:
                partners.setdefault(a, []).append(b)
        for a, others in partners.items():
            spread = np.stack([resampled[a] - resampled[b] for b in others])  # (P, B)
            low, high = np.percentile(spread, LEVEL, axis=1).tolist()
            better = (spread < 0).mean(axis=1).tolist()
            for b, *values in zip(others, low, high, better, strict=True):
                result[a, b] = Difference(len(common), rmse[a], rmse[b], *values)
    return result


def _with_same_images(units: Sequence[pd.DataFrame]) -> list[list[int]]:
    """Indices of the units, grouped by the set of their images: each set is resampled once."""
    classes: dict[bytes, list[int]] = {}
    for u, unit in enumerate(units):
        key = pd.util.hash_pandas_object(unit.index, index=False).to_numpy().tobytes()
        classes.setdefault(key, []).append(u)
    return list(classes.values())


def _rmse(frame: pd.DataFrame) -> float:
    return float(np.sqrt(frame["squared"].sum() / frame["values"].sum()))


def _can_be_resampled(frames: Sequence[pd.DataFrame]) -> bool:
    """Whether units over the same images in the same order have at least two groups of them."""
    return len(np.unique(_groups(frames))) >= 2


def _groups(frames: Sequence[pd.DataFrame]) -> np.ndarray:
    """int64 (N,): the groups that any of the units has; a run of an older version may have none."""
    return np.min([frame["group"] for frame in frames], axis=0)


def _resampled_rmse(frames: Sequence[pd.DataFrame], resamples: int) -> np.ndarray:
    """Pooled RMSE (B, U) of units over the same images in the same order."""
    squared = np.stack([frame["squared"] for frame in frames], axis=1)  # (N, U)
    values = frames[0]["values"].to_numpy()[:, None]  # (N, 1)
    group = _groups(frames)
    return np.sqrt(resampled_ratios(sum_by_group(squared, group), sum_by_group(values, group), resamples))
