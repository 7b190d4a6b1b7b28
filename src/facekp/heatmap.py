"""The codec: points in pixels become heatmaps to learn from, heatmaps become points and a confidence again.

Nothing else knows the pixel convention: an integer coordinate is a pixel's centre, a horizontal flip maps x to W-1-x,
and cell c of a heatmap at stride s sits at pixel s*c + (s-1)/2. Axes: any leading ones, K points, H x W pixels,
h x w cells, N maps; points are (x, y), NaN where nobody labelled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from facekp.errors import UserError

STEPS = 4  # of Levenberg-Marquardt; inside the map two settle, a sharp peak beyond the border takes four
MARGIN = 1.25  # cells a point may lie beyond the outermost centres: labels reach 1; a limit there would bias noisy ones
WIDEST, NARROWEST = 3.0, 1 / 3.0  # the fitted sigma, in assumed sigmas


@dataclass(frozen=True)
class HeatmapCodec:
    """What a network's heatmaps look like.

    Attributes:
        size: (H, W) of the image in pixels.
        stride: image pixels a cell.
        sigma: of the Gaussian, in cells.

    Raises:
        UserError: the stride does not divide the image, or sigma is not positive.
    """

    size: tuple[int, int]
    stride: int
    sigma: float

    def __post_init__(self) -> None:
        if self.stride < 1 or any(pixels % self.stride for pixels in self.size):
            high, wide = self.size
            raise UserError(f"stride: {self.stride} does not divide {high} x {wide} pixels; choose one that does")
        if not self.sigma > 0:
            raise UserError(f"sigma: {self.sigma} is not above 0; choose a width in heatmap cells, e.g. 1.5")

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) in cells."""
        return self.size[0] // self.stride, self.size[1] // self.stride

    def to_cells(self, points: Tensor) -> Tensor:
        """Pixels (..., 2) in heatmap cells; an integer is a cell's centre."""
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
        """Find each map's point. Multiplying a map by a positive number does not move it.

        Args:
            heatmaps: (..., K, h, w), any float type; peaks as drawn by `encode`, or probabilities that sum to 1.
            rule: a key of `DECODERS`.

        Returns:
            points float32 (..., K, 2), pixels, at most `MARGIN` cells outside the map; NaN where the map is all zero or
            holds NaN, finite for every other map.
            confidence float32 (..., K), the map's highest value: about 1 for a certain peak, and about
            1 / (2 pi sigma^2) if the map is a probability.

        Raises:
            UserError: no such rule.
            ValueError: the maps are not h x w.
        """
        if rule not in DECODERS:
            raise UserError(f"decoder: {rule!r} is not among the choices: {', '.join(DECODERS)}")
        if heatmaps.shape[-2:] != self.shape:
            raise ValueError(f"heatmaps of {tuple(heatmaps.shape[-2:])} cells, but the codec's are {self.shape}")
        maps = heatmaps.reshape(heatmaps.shape[:-2].numel(), *self.shape)
        peak, cell = _peak(maps)
        last = cell.new_tensor([self.shape[1] - 1, self.shape[0] - 1])
        cells = DECODERS[rule](maps, cell, self.sigma).clamp(-MARGIN).minimum(last + MARGIN)
        points = cells * self.stride + (self.stride - 1) / 2
        missing = peak.isnan() | ((peak == 0) & (maps.amin((-2, -1)) == 0))
        points = points.masked_fill(missing[:, None], math.nan)
        lead = heatmaps.shape[:-2]
        return points.float().reshape(*lead, 2), peak.float().reshape(lead)


def flip_points(points: Tensor, width: int) -> Tensor:
    """Points (..., 2) in an image of that width, mirrored left to right; names keep their places."""
    return torch.stack([width - 1 - points[..., 0], points[..., 1]], dim=-1)


def _peak(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Highest value (N,) and its cell (x, y) int64 (N, 2), the first in row-major order; NaN counts as highest.

    Two short searches, the rows' maxima and then one row, take a third of the time of one over all cells.
    """
    peak, row = maps.amax(-1).max(-1)
    column = maps[torch.arange(len(maps), device=maps.device), row].argmax(-1)
    return peak, torch.stack([column, row], dim=-1)


def _argmax(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """The cell of the maximum (N, 2): what the starting system answered; off by up to half a cell."""
    return cell.double()


def _subpixel(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """Least-squares fit of a Gaussian of free height, place and width to the cells around the maximum.

    The logarithm of a Gaussian is a + b x + c y + d (x^2 + y^2), so a weighted linear fit to the logarithm starts it
    (H. Guo, "A simple algorithm for fitting a Gaussian function", IEEE Signal Processing Magazine 28(5), 2011). That is
    exact on a clean map, also where the border hides the peak: both axes share the curvature d, so one flank is enough.
    On noisy maps the logarithm exaggerates the small values and is off by up to half a cell at the border; a few
    Levenberg-Marquardt steps on the values themselves take that out.

    Args:
        maps: (N, h, w).
        cell: (N, 2), the maximum.
        sigma: the assumed one, in cells; it sets the window, and what is believed where the map says nothing.

    Returns:
        float64 (N, 2), in cells; the maximum's cell where there is no positive peak to fit.
    """
    radius = math.ceil(sigma) + 1
    values, inside = _window(maps, cell, radius)
    basis = _basis(radius, maps.device)
    assumed = basis.new_tensor([0, 0, 0, -(radius**2) / (2 * sigma**2)])
    fitted = _refine(values, inside, basis, assumed, _log_fit(values, basis, assumed))
    return cell - fitted[:, 1:3] / (2 * fitted[:, 3:]) * radius


def _window(maps: Tensor, cell: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """The M = (2r+1)^2 cells around each maximum, divided by it, and which lie on the map (1, else 0), float64."""
    reach = torch.arange(-radius, radius + 1, device=maps.device)
    x, y = cell[:, :1] + reach, cell[:, 1:] + reach  # (N, 2r+1)
    (h, w), n = maps.shape[1:], torch.arange(len(maps), device=maps.device)
    inside = ((y >= 0) & (y < h))[:, :, None] & ((x >= 0) & (x < w))[:, None, :]
    values = maps[n[:, None, None], y.clamp(0, h - 1)[:, :, None], x.clamp(0, w - 1)[:, None, :]].double() * inside
    values, inside = values.flatten(1), inside.flatten(1).double()
    centre = values[:, values.shape[1] // 2, None]
    return values / torch.where(centre > 0, centre, math.nan), inside  # NaN comes closer to nothing: no step is taken


def _basis(radius: int, device: torch.device) -> Tensor:
    """float64 (M, 4): 1, x, y, x^2 + y^2 of the window's cells, with the radius as unit."""
    side = torch.arange(-radius, radius + 1, device=device, dtype=torch.float64) / radius
    y, x = (axis.flatten() for axis in torch.meshgrid(side, side, indexing="ij"))
    return torch.stack([torch.ones_like(x), x, y, x**2 + y**2], dim=-1)


def _normal(weight: Tensor, basis: Tensor) -> Tensor:
    """(N, 4, 4): the basis's products with itself, summed with weights (N, M)."""
    return (weight @ (basis[:, :, None] * basis[:, None, :]).flatten(1)).unflatten(-1, (4, 4))


def _step(normal: Tensor, ridge: Tensor, gradient: Tensor) -> Tensor:
    return torch.linalg.solve_ex(normal + torch.diag_embed(ridge), gradient)[0]


def _limit(fitted: Tensor, assumed: Tensor) -> Tensor:
    """Keep the curvature within the sigmas that a map of this network may have."""
    curvature = fitted[:, 3:].clamp(assumed[3] / NARROWEST**2, assumed[3] / WIDEST**2)
    return torch.cat([fitted[:, :3], curvature], dim=-1)


def _log_fit(values: Tensor, basis: Tensor, assumed: Tensor) -> Tensor:
    """(N, 4): Guo's fit to the logarithm with squared values as weights; the assumed curvature where no cell tells."""
    weight = values.clamp_min(0) ** 2
    excess = values.clamp_min(1e-30).log() - basis @ assumed
    ridge = basis.new_tensor([1e-20, 1e-20, 1e-20, 1e-13]).expand(len(values), 4)
    return _limit(assumed + _step(_normal(weight, basis), ridge, (weight * excess) @ basis), assumed)


def _refine(values: Tensor, inside: Tensor, basis: Tensor, assumed: Tensor, start: Tensor) -> Tensor:
    """(N, 4): the least-squares Gaussian, by steps that are taken only where they come closer to the values."""

    def curve(fitted: Tensor) -> tuple[Tensor, Tensor]:
        model = (fitted @ basis.T).clamp_max(2).exp() * inside
        return model, (values - model).square().sum(-1)

    fitted = assumed.expand_as(start)
    model, loss = curve(fitted)
    damping, proposal = torch.full_like(loss, 1e-4), start
    for step in range(STEPS + 1):
        if step:
            normal = _normal(model**2, basis)
            ridge = damping[:, None] * normal.diagonal(dim1=1, dim2=2) + 1e-13
            proposal = _limit(fitted + _step(normal, ridge, ((values - model) * model) @ basis), assumed)
        new_model, new_loss = curve(proposal)
        closer = new_loss < loss - 1e-11  # float32 values are no closer than that
        fitted = torch.where(closer[:, None], proposal, fitted)
        model = torch.where(closer[:, None], new_model, model)
        loss = torch.where(closer, new_loss, loss)
        damping = torch.where(closer, damping / 10, damping * 10)
    return fitted


# How a map becomes a point: (maps (N, h, w), cell of the maximum (N, 2), sigma in cells) -> cells (N, 2), float64.
DECODERS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"argmax": _argmax, "subpixel": _subpixel}
