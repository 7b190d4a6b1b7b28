"""95 % intervals of metrics over resampled faces, and the resampling itself.

Faces that resemble each other, such as frames of a video, say less than as many different ones. Therefore whole groups
of them are drawn (cluster bootstrap: Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
Axes: N faces, G groups, M metrics, B resamples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from facekp.functional.metrics.declaration import Ratio

SEED = 0
DRAWS = 1 << 24  # faces drawn at a time, in one or more resamples; they need about 400 MB
LEVEL = (2.5, 97.5)  # percentiles that bound the 95 % interval
DIGITS = 6  # decimals of a bound; further ones depend on the processor


def draw_resamples(units: int, resamples: int, generator: np.random.Generator | None = None) -> np.ndarray:
    """float32 (B, N): how often each of N units is drawn in each resample; the same at every call without a generator.

    Example:
        >>> draw_resamples(3, 2).sum(axis=1)
        array([3., 3.], dtype=float32)
    """
    drawn = (generator or np.random.default_rng(SEED)).integers(units, size=(resamples, units))
    index = drawn + units * np.arange(resamples)[:, None]
    counts = np.bincount(index.ravel(), minlength=resamples * units)
    return counts.reshape(resamples, units).astype(np.float32)


def sum_by_group(values: np.ndarray, group: np.ndarray | None) -> np.ndarray:
    """(G, M): the sums of each group's values (N, M), in the order of the groups' numbers.

    Args:
        values: (N, M), N > 0.
        group: int (N,); None: each row is its own group.

    Example:
        >>> sum_by_group(np.array([[1], [2], [4]]), np.array([5, 3, 5])).tolist()
        [[2], [5]]
    """
    if group is None:
        return values
    order = np.argsort(group, kind="stable")
    _, starts = np.unique(group[order], return_index=True)
    return np.add.reduceat(values[order], starts, axis=0)


def resampled_ratios(total: np.ndarray, count: np.ndarray, resamples: int) -> np.ndarray:
    """Sums over sums of resampled groups of faces.

    Args:
        total: (G, M), of `sum_by_group`.
        count: (G, M).
        resamples: B.

    Returns:
        float32 (B, M); NaN where nothing is counted.
    """
    generator, at_a_time = np.random.default_rng(SEED), max(DRAWS // len(total), 1)
    total, count = total.astype(np.float32), count.astype(np.float32)
    ratios = []
    for start in range(0, resamples, at_a_time):
        weights = draw_resamples(len(total), min(at_a_time, resamples - start), generator)  # (b, N)
        counted = weights @ count
        ratios.append((weights @ total) / np.where(counted > 0, counted, np.nan))
    return np.concatenate(ratios)


def compute_intervals(
    ratios: Mapping[str, Ratio], resamples: int, group: np.ndarray | None = None
) -> dict[str, list[float]]:
    """The lower and upper bound of each figure's 95 % interval.

    A figure that counts fewer than two groups has none: resampling one group says nothing.

    Args:
        ratios: of the same N faces, by key of metrics.json.
        resamples: B; 0: no intervals.
        group: int (N,), as in `facekp.functional.metrics.MetricInput`; None: each face is its own group.
    """
    if not ratios or not resamples:
        return {}
    total, count = (
        sum_by_group(np.stack([getattr(ratio, part) for ratio in ratios.values()], axis=1), group)
        for part in ("total", "count")
    )
    counted = (count > 0).sum(axis=0) >= 2  # (M,)
    if not counted.any():
        return {}
    drawn = resampled_ratios(total[:, counted], count[:, counted], resamples)
    root = np.array([ratio.root for ratio in ratios.values()])[counted]
    bounds = np.nanpercentile(np.where(root, np.sqrt(drawn), drawn), LEVEL, axis=0)  # (2, M)
    keys = [key for key, is_counted in zip(ratios, counted, strict=True) if is_counted]
    return {key: [round(float(bound), DIGITS) for bound in bounds[:, m]] for m, key in enumerate(keys)}
