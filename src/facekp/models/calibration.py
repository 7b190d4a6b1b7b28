"""Expected errors: a checkpoint's `Calibration` turns the width of a heatmap into the expected error of its point.

`facekp.models.calibration_fit` fits it on labelled faces. Axes: N faces, K points, S sources, B knots of the curve.

The *deviation* of a heatmap (`facekp.functional.heatmap.HeatmapCodec.deviation`) predicts the error better than its
peak does. On 1241 validation faces of the shipped checkpoint, the rank correlation with the error is 0.57 for the
deviation, 0.57 for the entropy, 0.50 for the peak, 0.45 for the distance to the mirrored image's prediction, and 0.41
for the disagreement of the views.

The *expected error* is the mean distance between point and label in pixels, without the worst hundredth of the points.
It includes the noise of the labels. The worst hundredth are mostly wrong labels, and a few of them decide a mean:
fitted on all points, no curve predicted the errors of other faces within 15 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

GOAL = 0.15  # the measured error of a tenth of the points may differ from the expected one by this fraction


@dataclass(frozen=True)
class Calibration:
    """Expected errors by deviation, source and point.

    Attributes:
        decoder: plain settings of the decoder that it was fitted for; it is not valid for others.
        deviation: (B,) increasing, in pixels.
        error: (B,) not decreasing, in pixels: the curve at these deviations; constant beyond its ends.
        factor: (S, K), multiplies the curve for each point of a source.
        reliability: measured on faces that were not fitted on: ``points`` (their number), ``expected`` and
            ``measured``, the mean errors in pixels of ten equal parts of the points, by increasing expected error.
        note: how it was made, where that was not by ``facekp calibrate``.
    """

    decoder: dict[str, Any]
    deviation: list[float]
    error: list[float]
    factor: list[list[float]]
    reliability: dict[str, Any]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """The calibration that `to_dict` described.

        Raises:
            ValueError: the curve is not one of finite numbers at increasing deviations.
        """
        calibration = cls(**values)
        knots, error = calibration.deviation, calibration.error
        numbers = [*knots, *error, *(number for row in calibration.factor for number in row)]
        if not knots or len(knots) != len(error) or not all(map(math.isfinite, numbers)):
            raise ValueError("the calibration is incomplete, or one of its numbers is not finite")
        if any(second <= first for first, second in pairwise(knots)):
            raise ValueError("the calibration's deviations do not increase")
        return calibration

    def expected(self, deviation: Tensor, source: Tensor) -> Tensor:
        """Expected errors.

        Args:
            deviation: (N, K) in pixels; NaN, of an empty heatmap, counts as the largest.
            source: int64 (N,).

        Returns:
            float32 (N, K), in pixels.

        Example:
            >>> import torch
            >>> calibration = Calibration({}, [1.0, 3.0], [0.5, 1.5], [[1.0]], {})
            >>> calibration.expected(torch.tensor([[2.0]]), torch.tensor([0]))
            tensor([[1.]])
        """
        knots, error, factor = (deviation.new_tensor(part) for part in (self.deviation, self.error, self.factor))
        slope = error.diff() / knots.diff()
        inside = deviation.nan_to_num(float("inf"))[..., None].clamp(knots[:-1], knots[1:])  # (N, K, B - 1)
        return (error[0] + ((inside - knots[:-1]) * slope).sum(dim=-1)) * factor[source]
