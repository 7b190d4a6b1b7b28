"""Is a difference real? Bootstrap over images: sums of squared errors by image come in, intervals go out.

Axes: N images, U units (runs, or groups of runs), B resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

SEED = 0

LEVEL = (2.5, 97.5)  # percentiles that bound the 95 % interval


@dataclass(frozen=True)
class Difference:
    """Pooled RMSE of one unit minus another's on the images that both predicted.

    Attributes:
        images: how many.
        value: in pixels; below 0: the first is better.
        low, high: the 95 % percentile interval over resampled images.
        better: share of the resamples in which the first is better.
    """

    images: int
    value: float
    low: float
    high: float
    better: float

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def resamples_of(images: int, resamples: int) -> np.ndarray:
    """float32 (B, N): how often each image is drawn in each resample; the same at every call."""
    drawn = np.random.default_rng(SEED).integers(images, size=(resamples, images))
    place = drawn + images * np.arange(resamples)[:, None]
    counts = np.bincount(place.ravel(), minlength=resamples * images)
    return counts.reshape(resamples, images).astype(np.float32)


def intervals(units: Sequence[pd.DataFrame], resamples: int) -> list[tuple[float, float] | None]:
    """The 95 % interval of each unit's pooled RMSE over resampled images; None where it has no image.

    Args:
        units: `facekp.reporting.html.collect.Run.images` of each.
        resamples: B.
    """
    found: list[tuple[float, float] | None] = [None] * len(units)
    for members in _alike(units):
        if len(units[members[0]]):
            low, high = np.percentile(_resampled([units[u] for u in members], resamples), LEVEL, axis=0)
            for u, own in zip(members, zip(low.tolist(), high.tolist(), strict=True), strict=True):
                found[u] = own
    return found


def differences(units: Sequence[pd.DataFrame], resamples: int) -> dict[tuple[int, int], Difference]:
    """Every pair of units that share at least two images, by their places (first below second).

    Both of a pair are resampled together, so an image that is hard for both adds nothing to their difference.

    Args:
        units: `facekp.reporting.html.collect.Run.images` of each.
        resamples: B.
    """
    classes = _alike(units)
    found = {}
    for one, other in [*((own, own) for own in classes), *combinations(classes, 2)]:
        shared = units[one[0]].index.intersection(units[other[0]].index)
        members = sorted({*one, *other})
        if len(shared) < 2 or len(members) < 2:
            continue
        frames = [units[u].loc[shared] for u in members]
        rmse = dict(zip(members, (_rmse(frame) for frame in frames), strict=True))
        drawn = dict(zip(members, _resampled(frames, resamples).T, strict=True))
        pairs = combinations(members, 2) if one is other else ((a, b) for a in one for b in other)
        for a, b in (sorted(pair) for pair in pairs):
            spread = drawn[a] - drawn[b]
            low, high = np.percentile(spread, LEVEL)
            found[a, b] = Difference(
                len(shared), rmse[a] - rmse[b], float(low), float(high), float((spread < 0).mean())
            )
    return found


def _alike(units: Sequence[pd.DataFrame]) -> list[list[int]]:
    """Places of the units that hold the very same images, class by class: each is resampled once."""
    classes: dict[bytes, list[int]] = {}
    for u, unit in enumerate(units):
        key = pd.util.hash_pandas_object(unit.index.to_frame(index=False), index=False).to_numpy().tobytes()
        classes.setdefault(key, []).append(u)
    return list(classes.values())


def _rmse(frame: pd.DataFrame) -> float:
    return float(np.sqrt(frame["squared"].sum() / frame["values"].sum()))


def _resampled(frames: Sequence[pd.DataFrame], resamples: int) -> np.ndarray:
    """Pooled RMSE (B, U) of units over the same images in the same order."""
    weights = resamples_of(len(frames[0]), resamples)  # (B, N)
    squared = weights @ np.stack([frame["squared"] for frame in frames], axis=1).astype(np.float32)
    return np.sqrt(squared / (weights @ frames[0]["values"].to_numpy(np.float32))[:, None])
