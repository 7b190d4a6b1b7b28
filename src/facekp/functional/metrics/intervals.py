"""95 % intervals of metrics over resampled faces, and the resampling itself. Axes: N faces, M metrics, B resamples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from facekp.functional.metrics.declaration import Ratio

SEED = 0
DRAWS = 1 << 24  # faces drawn at a time, in one or more resamples; they need about 400 MB
LEVEL = (2.5, 97.5)  # percentiles that bound the 95 % interval
DIGITS = 6  # decimals of a bound; further ones depend on the processor


def draw_resamples(faces: int, resamples: int, generator: np.random.Generator | None = None) -> np.ndarray:
    """float32 (B, N): how often each face is drawn in each resample; the same at every call without a generator.

    Example:
        >>> draw_resamples(3, 2).sum(axis=1)
        array([3., 3.], dtype=float32)
    """
    drawn = (generator or np.random.default_rng(SEED)).integers(faces, size=(resamples, faces))
    index = drawn + faces * np.arange(resamples)[:, None]
    counts = np.bincount(index.ravel(), minlength=resamples * faces)
    return counts.reshape(resamples, faces).astype(np.float32)


def resampled_ratios(total: np.ndarray, count: np.ndarray, resamples: int) -> np.ndarray:
    """Sums over sums of resampled faces.

    Args:
        total: (N, M).
        count: (N, M).
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


def compute_intervals(ratios: Mapping[str, Ratio], resamples: int) -> dict[str, list[float]]:
    """The lower and upper bound of each figure's 95 % interval.

    A figure that counts fewer than two faces has none: resampling one face says nothing.

    Args:
        ratios: of the same N faces, by key of metrics.json.
        resamples: B; 0: no intervals.
    """
    counted = {key: ratio for key, ratio in ratios.items() if (ratio.count > 0).sum() >= 2}
    if not counted or not resamples:
        return {}
    total, count = (np.stack([getattr(r, part) for r in counted.values()], axis=1) for part in ("total", "count"))
    drawn = resampled_ratios(total, count, resamples)
    drawn = np.where([ratio.root for ratio in counted.values()], np.sqrt(drawn), drawn)
    bounds = np.nanpercentile(drawn, LEVEL, axis=0)  # (2, M)
    return {key: [round(float(bound), DIGITS) for bound in bounds[:, m]] for m, key in enumerate(counted)}
