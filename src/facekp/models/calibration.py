"""What a heatmap's width says about how far its point is off: a monotone curve, fitted on labelled faces.

Deviations of heatmaps and measured errors come in, a `Calibration` goes out; it rides in the checkpoint and turns a
deviation into an expected error. Axes: N faces, K points, S sources, B knots.

The *deviation* of a map (`facekp.functional.heatmap.HeatmapCodec.deviation`) foretells the error better than its peak does: over
1241 validation faces of the shipped checkpoint its rank correlation with the error is 0.57, that of the peak 0.50, of
the distance to the mirrored image's answer 0.45, of the views' disagreement 0.41; the entropy's is 0.57 as well.

The *expected error* is the mean distance between point and label in pixels, the worst hundredth of the points left out
of every mean. It holds the label's own noise. Those left out are mostly wrong labels, a few of which decide any mean
that they take part in; fitted on all, no curve foretold other faces within 15 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facekp.core.errors import UserError
from facekp.functional.metrics import trimmed_mean

if TYPE_CHECKING:
    from torch import Tensor

KNOTS, LEAST = 20, 25  # knots of the curve at most, and points that make one at least

ROUNDS = 3  # in which curve and factors are fitted in turn

TRUST = 30  # points that a factor needs to count as much as the others' curve

TENTHS = 10  # parts that expected and measured errors are compared in

GOAL = 0.15  # by which the measured error of a tenth may differ from the expected one, as a share of it

RELIABILITY = "reliability.json"  # in a run's folder: `Calibration.reliability` of its checkpoint


@dataclass(frozen=True)
class Calibration:
    """From deviations to expected errors.

    Attributes:
        decoder: the model's decoder settings it was fitted for; by others it says nothing.
        deviation: (B,) increasing, in pixels.
        error: (B,) not decreasing, in pixels: the curve at those deviations, level beyond its ends.
        factor: (S, K): what the curve is multiplied with for a source's point.
        reliability: of faces that took no part: ``points`` (their number), ``expected`` and ``measured``, the mean
            errors in pixels of the tenths of the points from the least to the largest expected error.
    """

    decoder: dict[str, Any]
    deviation: list[float]
    error: list[float]
    factor: list[list[float]]
    reliability: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Calibration:
        return cls(**raw)

    def expected(self, deviation: Tensor, source: Tensor) -> Tensor:
        """Expected errors.

        Args:
            deviation: (N, K) in pixels; NaN, of a map that says nothing, counts as the widest.
            source: int64 (N,).

        Returns:
            float32 (N, K), in pixels.
        """
        knots, error, factor = (deviation.new_tensor(part) for part in (self.deviation, self.error, self.factor))
        slope = error.diff() / knots.diff()
        inside = deviation.nan_to_num(float("inf"))[..., None].clamp(knots[:-1], knots[1:])  # (N, K, B - 1)
        return (error[0] + ((inside - knots[:-1]) * slope).sum(dim=-1)) * factor[source]


def fit(
    deviation: np.ndarray, error: np.ndarray, source: np.ndarray, sources: int
) -> tuple[list[float], list[float], list[list[float]]]:
    """The curve, and what it is multiplied with for each source's point, fitted in turn.

    Args:
        deviation: (N, K) pixels.
        error: (N, K) pixels, NaN where nobody labelled.
        source: int (N,), below S.
        sources: S.

    Returns:
        ``deviation``, ``error`` and ``factor`` of a `Calibration`.

    Raises:
        UserError: too few labelled points for two knots.
    """
    used = ~np.isnan(error) & ~np.isnan(deviation)
    points = int(used.sum())
    if points < 2 * LEAST:
        raise UserError(f"calibrate: only {points} labelled points to fit on; give faces with at least {2 * LEAST}")
    width, distance, (row, point) = deviation[used], error[used], np.nonzero(used)
    cell = source[row].astype(np.int64) * error.shape[1] + point
    groups = np.array_split(np.argsort(width, kind="stable"), min(KNOTS, points // LEAST))
    knots = np.array([width[group].mean() for group in groups])
    factor = np.ones(sources * error.shape[1])
    for _ in range(ROUNDS):
        shares = distance / factor[cell]
        curve = increasing(np.array([trimmed_mean(shares[group]) for group in groups]))
        factor = _factors(distance / np.interp(width, knots, curve), cell, len(factor))
    apart = np.append(True, np.diff(knots) > 1e-6)  # equal maps are one knot
    factors = factor.reshape(sources, -1)
    unknown = np.bincount(cell, minlength=factors.size).reshape(factors.shape) == 0
    factors = np.where(unknown, factors[0], factors)  # such points are the first source's
    return knots[apart].tolist(), curve[apart].tolist(), factors.tolist()


def _factors(shares: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """(cells,): trimmed mean of the shares of each cell; the fewer they are, the nearer to 1."""
    factor = np.ones(cells)
    for one in np.unique(cell):
        own = shares[cell == one]
        factor[one] = trimmed_mean(own) ** (len(own) / (len(own) + TRUST))
    return factor


def increasing(values: np.ndarray) -> np.ndarray:
    """The non-decreasing sequence nearest to the values in squares: the largest of the means that end no earlier.

    By the min-max formula (Barlow et al., Statistical Inference under Order Restrictions, 1972): entry i is the maximum
    over j <= i of the minimum over k >= i of the mean of values j to k.
    """
    n = len(values)
    start, end = np.arange(n)[:, None], np.arange(n)
    total = np.append(0.0, values.cumsum())
    means = np.where(end < start, np.inf, (total[end + 1] - total[start]) / np.maximum(end - start + 1, 1))
    smallest = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
    return np.maximum.accumulate(np.where(end < start, -np.inf, smallest), axis=0).diagonal()


def reliability(expected: np.ndarray, error: np.ndarray) -> dict[str, Any]:
    """Expected beside measured errors; each tenth's worst measured ones, in the hundredth left out, taken out.

    Args:
        expected: (N, K) pixels.
        error: (N, K) pixels, NaN where nobody labelled.

    Returns:
        ``reliability`` of a `Calibration`.

    Raises:
        UserError: fewer labelled points than tenths.
    """
    used = ~np.isnan(error)
    order = np.argsort(expected[used], kind="stable")
    if len(order) < TENTHS:
        raise UserError(f"calibrate: only {len(order)} labelled points to check on; give more faces")
    tenths = np.array_split(order, TENTHS)
    return {
        "points": len(order),
        "expected": [float(expected[used][tenth].mean()) for tenth in tenths],
        "measured": [trimmed_mean(error[used][tenth]) for tenth in tenths],
    }
