"""The codec: points in pixels become heatmaps to learn from, heatmaps become points and a confidence.

Only this module and `facekp.functional.warp` know the pixel convention: an integer coordinate is a pixel's centre, a
horizontal flip maps x to W-1-x, and cell c of a heatmap at stride s lies at pixel s*c + (s-1)/2.

Axes: any leading ones, K points, H x W pixels, h x w cells, N maps. Points are (x, y), NaN where unlabelled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from facekp.core.errors import UserError
from facekp.functional.decoders import DECODERS, limit_to_map


@dataclass(frozen=True)
class HeatmapCodec:
    """The geometry of a network's heatmaps, and the way from points to maps and back.

    Attributes:
        size: (H, W) of the image in pixels.
        stride: image pixels per cell.
        sigma: of the Gaussian, in cells.

    Raises:
        UserError: the stride does not divide the image, or sigma is not positive or wider than the image.

    Example:
        >>> codec = HeatmapCodec(size=(96, 96), stride=4, sigma=1.0)
        >>> maps = codec.encode(torch.tensor([[30.0, 50.0]]))
        >>> maps.shape
        torch.Size([1, 24, 24])
        >>> points, confidence = codec.decode(maps)
        >>> points.round(decimals=3)
        tensor([[30., 50.]])
    """

    size: tuple[int, int]
    stride: int
    sigma: float

    def __post_init__(self) -> None:
        if self.stride < 1 or any(pixels % self.stride for pixels in self.size):
            height, width = self.size
            raise UserError(f"stride: {self.stride} does not divide {height} x {width} pixels; choose one that does")
        if not self.sigma > 0:
            raise UserError(f"sigma: {self.sigma} is not above 0; choose a width in heatmap cells, e.g. 1.5")
        if self.sigma > max(self.size):
            raise UserError(f"sigma: {self.sigma} is wider than the image; choose a width in heatmap cells, e.g. 1.5")

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) in cells."""
        return self.size[0] // self.stride, self.size[1] // self.stride

    def to_cells(self, points: Tensor) -> Tensor:
        """Convert pixels (..., 2) to heatmap cells; an integer is a cell's centre."""
        return (points - (self.stride - 1) / 2) / self.stride

    def encode(self, points: Tensor) -> Tensor:
        """Draw exp(-d^2 / (2 sigma^2)), d from the point to each cell's centre in cells.

        Args:
            points: (..., K, 2) pixels; may lie outside the image.

        Returns:
            float32 (..., K, h, w); all zero where the point is NaN.
        """
        cells = self.to_cells(points.double())
        down, across = (
            torch.exp(-((torch.arange(n, device=points.device) - cells[..., axis, None]) ** 2) / (2 * self.sigma**2))
            for n, axis in zip(self.shape, (1, 0), strict=True)
        )
        return down.nan_to_num(0).float()[..., :, None] * across.nan_to_num(0).float()[..., None, :]

    def decode(self, heatmaps: Tensor, rule: str = "subpixel") -> tuple[Tensor, Tensor]:
        """Find the point of each map. Multiplying a map by a positive number does not move it.

        Args:
            heatmaps: (..., K, h, w), any float type; peaks as drawn by `encode`, or probabilities that sum to 1.
            rule: a name in `facekp.functional.decoders.DECODERS`.

        Returns:
            points float32 (..., K, 2), pixels, at most `facekp.functional.decoders.MARGIN` cells outside the map; NaN
            where the map is all zero or holds NaN, finite for every other map.
            confidence float32 (..., K), the map's highest value: about 1 for a certain peak, and about
            1 / (2 pi sigma^2) if the map is a probability.

        Raises:
            UserError: there is no such rule, or that of a plug-in returns something else than positions.
            ValueError: the maps are not h x w.
        """
        if heatmaps.shape[-2:] != self.shape:
            raise ValueError(f"heatmaps of {tuple(heatmaps.shape[-2:])} cells, but the codec's are {self.shape}")
        maps = heatmaps.flatten(0, -3)
        peak, cell = _peak(maps)
        cells = limit_to_map(_positions(rule, maps, cell, self.sigma), maps)
        points = cells * self.stride + (self.stride - 1) / 2
        empty = peak.isnan() | ((peak == 0) & (maps.amin((-2, -1)) == 0))
        points = points.masked_fill(empty[:, None], math.nan)
        leading = heatmaps.shape[:-2]
        return points.float().reshape(*leading, 2), peak.float().reshape(leading)

    def deviation(self, heatmaps: Tensor) -> Tensor:
        """The width of each map, read as a distribution: the root mean squared distance from its mean.

        Args:
            heatmaps: (..., K, h, w); values below 0 count as 0.

        Returns:
            float32 (..., K), in pixels; NaN where no value is above 0.
        """
        maps, variance = heatmaps.clamp_min(0), heatmaps.new_zeros((), dtype=torch.float64)
        for summed in (maps.sum(-2, dtype=torch.float64), maps.sum(-1, dtype=torch.float64)):
            weight = summed / summed.sum(-1, keepdim=True)
            grid = torch.arange(summed.shape[-1], device=maps.device, dtype=torch.float64)
            distance = grid - (weight @ grid)[..., None]
            variance = variance + (weight * distance**2).sum(-1)
        return (self.stride * torch.sqrt(variance)).float()


def _positions(rule: str, maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    positions: Any = DECODERS[rule](maps, cell, sigma)
    if not isinstance(positions, Tensor) or positions.shape != cell.shape:  # another shape could be broadcast
        is_tensor = isinstance(positions, Tensor)
        given = f"a tensor of shape {tuple(positions.shape)}" if is_tensor else type(positions).__name__
        raise UserError(
            f"decoder.rule={rule}: returned {given}; a decoder returns one position per map, a tensor (N, 2), here "
            f"{tuple(cell.shape)}"
        )
    return positions


def _peak(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Highest value (N,) and its cell (x, y) int64 (N, 2), the first in row-major order; NaN counts as highest.

    Two short searches, over the rows' maxima and then over one row, take a third of the time of one over all cells.
    """
    peak, row = maps.amax(-1).max(-1)
    column = maps[torch.arange(maps.shape[0], device=maps.device), row].argmax(-1)
    return peak, torch.stack([column, row], dim=-1)
