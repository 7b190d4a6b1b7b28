"""Decoders: rules that read a point off a heatmap, in heatmap cells.

A decoder is a function ``(maps, cell, sigma) -> positions`` registered in `DECODERS`::

    maps       (N, h, w), any float type
    cell       int64 (N, 2), the (x, y) cell of each map's maximum
    sigma      of the target's Gaussian, in cells
    positions  float64 (N, 2), (x, y) in cells; an integer is a cell's centre

`facekp.functional.heatmap` does the rest: pixels, empty maps, confidence. Axes: N maps, h x w cells, M cells of a
window.

The error of a rule is given for clean maps of any sigma from 0.5 to 5 cells: the larger of x and y, worst case. Labels
reach the image's edge W. At stride 1 that is a whole cell beyond the last one, at stride 4 five eighths.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from facekp.core.registry import Registry
from facekp.core.settings import Settings

FIT_STEPS = 4  # of Levenberg-Marquardt: inside the map two suffice, a sharp peak beyond the border needs four
MARGIN = 1.25  # cells a point may lie beyond the outermost centres; labels reach 1, and a limit there would bias them
MAX_SIGMA, MIN_SIGMA = 3.0, 1 / 3.0  # limits of the fitted sigma, in assumed sigmas
CENTROID_CELLS = 25  # cells that the centroid is taken of, as published

Decoder = Callable[[Tensor, Tensor, float], Tensor]


class DecoderName(Settings):
    """A decoder has no settings but its name (``decoder.rule``)."""

    name: str


DECODERS: Registry[Decoder] = Registry(
    "decoder rule",
    key="decoder.rule",
    base=DecoderName,
    entry_points="facekp.decoders",
    inputs=3,
    config_group="decoder",
    config=lambda decoder: {"rule": decoder["name"], "floor": 0.0, "flip": False, "shift": 0.0, "scale": 0.0},
)


def limit_to_map(positions: Tensor, maps: Tensor) -> Tensor:
    """Clamp positions (N, 2) to at most `MARGIN` cells outside the maps (N, h, w)."""
    last = positions.new_tensor([maps.shape[2] - 1, maps.shape[1] - 1])
    return positions.clamp(-MARGIN).minimum(last + MARGIN)


@DECODERS.register("argmax")
def argmax(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """The cell of the maximum, as the published system decodes: off by up to half a cell, at the border by one."""
    return cell.double()


@DECODERS.register("subpixel")
def subpixel(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """The centre of a fitted Gaussian (`_fit_gaussian`); exact on clean maps, border included."""
    return _fit_gaussian(maps, cell, sigma)[0]


@DECODERS.register("mean")
def mean(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """The mean position of the whole map: the least squared error where the map is the point's distribution.

    The border cuts off a part of the distribution and so moves the mean. The fitted Gaussian, drawn on the same cells,
    tells by how much. Exact on clean maps, border included. Meant for maps of cross-entropy: after mse, what is left
    in the background pulls the mean to the image's centre.
    """
    centre, correction = _expectation(maps, cell, sigma)
    return centre + correction


@DECODERS.register("blend")
def blend(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """Half-way between `subpixel` and `mean`; exact on clean maps, border included."""
    centre, correction = _expectation(maps, cell, sigma)
    return centre + correction / 2


@DECODERS.register("centroid")
def centroid(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """Mean position of the 25 highest cells, weighted by their values, as published entries of the competition decode.

    Off by up to 0.25 cells inside. At the border those cells lie on one side of the point: off by up to 1.0 cell at
    sigma 0.5, 1.6 at 1.5, 2.8 at 5.
    """
    value, index = maps.flatten(1).topk(min(CENTROID_CELLS, maps.shape[1:].numel()))
    positions = torch.stack([index % maps.shape[2], index // maps.shape[2]], dim=-1)
    return _weighted_mean(value, positions, cell)


@DECODERS.register("local_soft_argmax")
def local_soft_argmax(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """Mean position of the cells within three sigmas of the maximum along each axis, weighted by their values.

    Off by up to 0.025 cells inside. At the border a part of the window is missing: off by up to 1.0 cell at sigma 0.5,
    1.6 at 1.5, 4.4 at 5.
    """
    radius = math.ceil(3 * sigma)
    values, _ = _window(maps, cell, radius)
    positions = cell[:, None] + radius * _basis(radius, maps.device)[:, 1:3]
    return _weighted_mean(values, positions, cell)


@DECODERS.register("dark")
def dark(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """Newton's step on the logarithm from the maximum (Zhang et al. 2020, arXiv:1910.06278), without their blur.

    Exact inside. Near the border it returns the maximum's cell, as published: off by up to 1 cell there.
    """
    values, _ = _window(maps, cell, 2)
    return _newton_step(values, maps, cell)


@DECODERS.register("dark_blur")
def dark_blur(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """`dark` on the map blurred by a Gaussian of the target's sigma, as published; the maximum is the unblurred map's.

    Rescaling the blurred map to its old maximum, as they do, moves nothing. Exact inside; at the border, beyond which
    the blur sees zeros, off by up to 1 cell up to sigma 3, by up to 2.3 beyond.
    """
    reach = math.ceil(2.5 * sigma)
    values, _ = _window(maps, cell, 2 + reach)
    near, far = (torch.arange(-n, n + 1, device=maps.device) for n in (2, 2 + reach))
    distance = (near[:, None] - far).double()
    kernel = torch.exp(-(distance**2) / (2 * sigma**2)) * (distance.abs() <= reach)
    blurred = kernel @ values.unflatten(-1, (len(far), len(far))) @ kernel.T
    return _newton_step(_relative(blurred.flatten(1)), maps, cell)


def _weighted_mean(weight: Tensor, positions: Tensor, fallback: Tensor) -> Tensor:
    """float64 (N, 2): mean of positions (N, M, 2); the fallback (N, 2) where no weight (N, M) is above 0."""
    weight = weight.double().clamp_min(0)[..., None]
    mean = (weight * positions).sum(1) / weight.sum(1)
    return torch.where(mean.isnan(), fallback, mean)


def _newton_step(values: Tensor, maps: Tensor, cell: Tensor) -> Tensor:
    """float64 (N, 2): the vertex of the parabola through the logarithm's differences around each maximum.

    As published, second differences reach two cells each way, and a maximum within two cells of the border stays where
    it is. So does a maximum whose parabola opens upwards or has its vertex outside the cells it is made from.

    Args:
        values: (N, 25), the 5 x 5 cells around each maximum, 1 in the middle.
        maps: (N, h, w).
        cell: (N, 2), the maximum.
    """
    log = values.clamp_min(1e-10).log().unflatten(-1, (5, 5)).permute(1, 2, 0)  # (y, x, N)
    x, y = (log[2, 3] - log[2, 1]) / 2, (log[3, 2] - log[1, 2]) / 2
    xx, yy = ((a - 2 * log[2, 2] + b) / 4 for a, b in ((log[2, 4], log[2, 0]), (log[4, 2], log[0, 2])))
    xy = (log[3, 3] - log[3, 1] - log[1, 3] + log[1, 1]) / 4
    step = -torch.stack([yy * x - xy * y, xx * y - xy * x], dim=-1) / (xx * yy - xy**2)[:, None]
    last = cell.new_tensor([maps.shape[2] - 1, maps.shape[1] - 1])
    far_from_border = (cell >= 2) & (cell <= last - 2) & (step.abs() <= 2)
    valid = far_from_border.all(-1) & (xx < 0) & (xx * yy > xy**2)
    return torch.where(valid[:, None], cell + step, cell)


def _fit_gaussian(maps: Tensor, cell: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Least-squares fit of a Gaussian of free height, centre and width to the cells around the maximum.

    The logarithm of a Gaussian is a + b x + c y + d (x^2 + y^2), so the fit starts with a weighted linear fit to the
    logarithm (H. Guo, "A simple algorithm for fitting a Gaussian function", IEEE Signal Processing Magazine 28(5),
    2011). That is exact on a clean map, also where the border hides the peak: both axes share the curvature d, so one
    flank is enough. On noisy maps the logarithm exaggerates the small values and is off by up to half a cell at the
    border; a few Levenberg-Marquardt steps on the values themselves correct that.

    Args:
        maps: (N, h, w).
        cell: (N, 2), the maximum.
        sigma: the assumed one, in cells; it sets the window, and the result where the map says nothing.

    Returns:
        centre float64 (N, 2) and sigma (N,), in cells; the maximum's cell and the assumed sigma where there is no
        positive peak to fit.
    """
    radius = math.ceil(sigma) + 1
    values, inside = _window(maps, cell, radius)
    basis = _basis(radius, maps.device)
    assumed = basis.new_tensor([0, 0, 0, -(radius**2) / (2 * sigma**2)])
    fitted = _refine(values, inside, basis, assumed, _fit_logarithm(values, basis, assumed))
    centre = cell - fitted[:, 1:3] / (2 * fitted[:, 3:]) * radius
    return centre, radius * (-2 * fitted[:, 3]).rsqrt()


def _expectation(maps: Tensor, cell: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The fitted Gaussian's centre, and the map's mean minus the mean of the drawn Gaussian.

    Returns:
        two float64 (N, 2), in cells; the second is 0 where no value is above 0.
    """
    centre, width = _fit_gaussian(maps, cell, sigma)
    centre, maps = limit_to_map(centre, maps), maps.clamp_min(0)
    corrections = []
    for axis, summed in enumerate((maps.sum(1, dtype=torch.float64), maps.sum(2, dtype=torch.float64))):
        grid = torch.arange(summed.shape[1], device=maps.device, dtype=torch.float64)
        drawn = (-((grid - centre[:, axis, None]) ** 2) / (2 * width[:, None] ** 2)).softmax(-1)
        corrections.append((summed / summed.sum(1, keepdim=True) - drawn) @ grid)
    return centre, torch.stack(corrections, dim=-1).nan_to_num(0)


def _window(maps: Tensor, cell: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """The M = (2r+1)^2 cells around each maximum, divided by it, and which lie on the map (1, else 0), float64."""
    reach = torch.arange(-radius, radius + 1, device=maps.device)
    x, y = cell[:, :1] + reach, cell[:, 1:] + reach  # (N, 2r+1)
    (h, w), n = maps.shape[1:], torch.arange(maps.shape[0], device=maps.device)
    inside = ((y >= 0) & (y < h))[:, :, None] & ((x >= 0) & (x < w))[:, None, :]
    values = maps[n[:, None, None], y.clamp(0, h - 1)[:, :, None], x.clamp(0, w - 1)[:, None, :]].double() * inside
    return _relative(values.flatten(1)), inside.flatten(1).double()


def _relative(values: Tensor) -> Tensor:
    """Windows (N, M) divided by their middle cells; NaN where those are not above 0, so that no rule takes a step."""
    centre = values[:, values.shape[1] // 2, None]
    return values / torch.where(centre > 0, centre, math.nan)


def _basis(radius: int, device: torch.device) -> Tensor:
    """float64 (M, 4): 1, x, y, x^2 + y^2 of the window's cells, with the radius as unit."""
    side = torch.arange(-radius, radius + 1, device=device, dtype=torch.float64) / radius
    y, x = (axis.flatten() for axis in torch.meshgrid(side, side, indexing="ij"))
    return torch.stack([torch.ones_like(x), x, y, x**2 + y**2], dim=-1)


def _normal_matrix(weight: Tensor, basis: Tensor) -> Tensor:
    """(N, 4, 4): the basis's products with itself, summed with weights (N, M)."""
    return (weight @ (basis[:, :, None] * basis[:, None, :]).flatten(1)).unflatten(-1, (4, 4))


def _solve(normal: Tensor, ridge: Tensor, gradient: Tensor) -> Tensor:
    """(N, 4): solution of normal equations, by Gauss-Jordan steps; positive definite ones need no pivoting.

    As fast as `torch.linalg.solve_ex` for systems this small, and exportable, which that is not.
    """
    system = torch.cat([normal + torch.diag_embed(ridge), gradient[..., None]], dim=-1)
    rows = system.permute(1, 2, 0).contiguous()  # (4, 5, N)
    number = torch.arange(4, device=rows.device)[:, None, None]
    for i in range(4):
        pivot = rows[i] / rows[i, i]
        rows = torch.where(number == i, pivot, rows - rows[:, i, None] * pivot)
    return rows[:, 4].T


def _limit_curvature(fitted: Tensor, assumed: Tensor) -> Tensor:
    """Keep the curvature within the sigmas that a map of this network may have."""
    curvature = fitted[:, 3:].clamp(assumed[3] / MIN_SIGMA**2, assumed[3] / MAX_SIGMA**2)
    return torch.cat([fitted[:, :3], curvature], dim=-1)


def _fit_logarithm(values: Tensor, basis: Tensor, assumed: Tensor) -> Tensor:
    """(N, 4): Guo's fit to the logarithm, squared values as weights; the assumed curvature where cells are empty."""
    weight = values.clamp_min(0) ** 2
    excess = values.clamp_min(1e-30).log() - basis @ assumed
    ridge = basis.new_tensor([1e-20, 1e-20, 1e-20, 1e-13]).expand(values.shape[0], 4)
    return _limit_curvature(assumed + _solve(_normal_matrix(weight, basis), ridge, (weight * excess) @ basis), assumed)


def _refine(values: Tensor, inside: Tensor, basis: Tensor, assumed: Tensor, start: Tensor) -> Tensor:
    """(N, 4): the least-squares Gaussian; a step is taken only where it comes closer to the values."""

    def curve(fitted: Tensor) -> tuple[Tensor, Tensor]:
        model = (fitted @ basis.T).clamp_max(2).exp() * inside
        return model, (values - model).square().sum(-1)

    fitted = assumed.expand_as(start)
    model, loss = curve(fitted)
    damping, proposal = torch.full_like(loss, 1e-4), start
    for step in range(FIT_STEPS + 1):
        if step:
            normal = _normal_matrix(model**2, basis)
            ridge = damping[:, None] * normal.diagonal(dim1=1, dim2=2) + 1e-13
            solution = _solve(normal, ridge, ((values - model) * model) @ basis)
            proposal = _limit_curvature(fitted + solution, assumed)
        new_model, new_loss = curve(proposal)
        closer = new_loss < loss - 1e-11  # float32 values are no closer than that
        fitted = torch.where(closer[:, None], proposal, fitted)
        model = torch.where(closer[:, None], new_model, model)
        loss = torch.where(closer, new_loss, loss)
        damping = torch.where(closer, damping / 10, damping * 10)
    return fitted
