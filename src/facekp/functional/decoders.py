"""How a heatmap becomes a point: rules to choose from, in heatmap cells.

Maps and the cells of their maxima come in, the places of their peaks go out. `facekp.functional.heatmap` knows the rest: pixels,
missing maps, confidence. Axes: N maps, h x w cells, a window's M cells; places are (x, y), an integer a cell's centre.

How far a rule is off is told for clean maps of any sigma from 0.5 to 5 cells, the larger of x and y, at worst. Labels
reach W: at stride 1 that is a whole cell beyond the last, at stride 4 five eighths.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)
STEPS = 4  # of Levenberg-Marquardt; inside the map two settle, a sharp peak beyond the border takes four

MARGIN = 1.25  # cells a point may lie beyond the outermost centres: labels reach 1; a limit there would bias noisy ones

WIDEST, NARROWEST = 3.0, 1 / 3.0  # the fitted sigma, in assumed sigmas

HIGHEST = 25  # cells that the centroid is taken of, as published


def in_reach(cells: Tensor, maps: Tensor) -> Tensor:
    """Places (N, 2) brought back to `MARGIN` cells outside of the maps (N, h, w) where they lie farther."""
    last = cells.new_tensor([maps.shape[2] - 1, maps.shape[1] - 1])
    return cells.clamp(-MARGIN).minimum(last + MARGIN)


def _argmax(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """The cell of the maximum, as the starting system answers: off by up to half a cell, at the border by up to one."""
    return cell.double()


def _subpixel(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """The place of the fitted Gaussian, see `_fit`; exact on clean maps, border included."""
    return _fit(maps, cell, sigma)[0]


def _mean(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """The mean place of the whole map, which has the least squared error where the map is the point's distribution.

    The border cuts off a part of the distribution and so moves the mean; by how much is read off the fitted Gaussian,
    drawn on the same cells. Exact on clean maps, border included. Meant for maps of cross-entropy: after mse, what is
    left in the background pulls the mean to the image's centre.
    """
    place, correction = _expectation(maps, cell, sigma)
    return place + correction


def _blend(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """Half-way between `_subpixel` and `_mean`; exact on clean maps, border included."""
    place, correction = _expectation(maps, cell, sigma)
    return place + correction / 2


def _centroid(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """Mean place of the 25 highest cells, as published entries of the competition answer; weighted by their values.

    Off by up to 0.25 cells inside. At the border those cells lie on one side of the point: off by up to 1.0 cell at
    sigma 0.5, 1.6 at 1.5, 2.8 at 5.
    """
    value, index = maps.flatten(1).topk(min(HIGHEST, maps.shape[1:].numel()))
    places = torch.stack([index % maps.shape[2], index // maps.shape[2]], dim=-1)
    return _weighted_mean(value, places, cell)


def _local_soft_argmax(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """Mean place of the cells within three sigmas of the maximum both ways, weighted by their values.

    Off by up to 0.025 cells inside. At the border a part of the window is missing: off by up to 1.0 cell at sigma 0.5,
    1.6 at 1.5, 4.4 at 5.
    """
    radius = math.ceil(3 * sigma)
    values, _ = _window(maps, cell, radius)
    places = cell[:, None] + radius * _basis(radius, maps.device)[:, 1:3]
    return _weighted_mean(values, places, cell)


def _dark(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """Newton's step on the logarithm from the maximum (Zhang et al. 2020, arXiv:1910.06278), without their blur.

    Exact inside. Near the border it answers the maximum's cell, as published: off by up to 1 cell there.
    """
    values, _ = _window(maps, cell, 2)
    return _newton(values, maps, cell)


def _dark_blur(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """`_dark` on the map blurred by a Gaussian of its own sigma, as published; the maximum is the unblurred map's.

    Rescaling the blurred map to its old maximum, as they do, moves nothing. Exact inside; at the border, beyond which
    the blur sees zeros, off by up to 1 cell up to sigma 3, by up to 2.3 beyond.
    """
    reach = math.ceil(2.5 * sigma)
    values, _ = _window(maps, cell, 2 + reach)
    near, far = (torch.arange(-n, n + 1, device=maps.device) for n in (2, 2 + reach))
    apart = (near[:, None] - far).double()
    kernel = torch.exp(-(apart**2) / (2 * sigma**2)) * (apart.abs() <= reach)
    blurred = kernel @ values.unflatten(-1, (len(far), len(far))) @ kernel.T
    return _newton(_relative(blurred.flatten(1)), maps, cell)


def _weighted_mean(weight: Tensor, places: Tensor, otherwise: Tensor) -> Tensor:
    """float64 (N, 2): mean of places (N, M, 2); the other place (N, 2) where no weight (N, M) is above 0."""
    weight = weight.double().clamp_min(0)[..., None]
    mean = (weight * places).sum(1) / weight.sum(1)
    return torch.where(mean.isnan(), otherwise, mean)


def _newton(values: Tensor, maps: Tensor, cell: Tensor) -> Tensor:
    """float64 (N, 2): the vertex of the parabola that the logarithm's differences around each maximum make.

    As published, second differences reach two cells either way, and a maximum within two cells of the border stays
    where it is. So does one whose parabola opens upwards or has its vertex outside of the cells it is made from.

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
    clear = (cell >= 2) & (cell <= last - 2) & (step.abs() <= 2)
    good = clear.all(-1) & (xx < 0) & (xx * yy > xy**2)
    return torch.where(good[:, None], cell + step, cell)


def _fit(maps: Tensor, cell: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
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
        place float64 (N, 2) and sigma (N,), in cells; the maximum's cell and the assumed sigma where there is no
        positive peak to fit.
    """
    radius = math.ceil(sigma) + 1
    values, inside = _window(maps, cell, radius)
    basis = _basis(radius, maps.device)
    assumed = basis.new_tensor([0, 0, 0, -(radius**2) / (2 * sigma**2)])
    fitted = _refine(values, inside, basis, assumed, _log_fit(values, basis, assumed))
    place = cell - fitted[:, 1:3] / (2 * fitted[:, 3:]) * radius
    return place, radius * (-2 * fitted[:, 3]).rsqrt()


def _expectation(maps: Tensor, cell: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The fitted Gaussian's place, and what leads from it to the map's mean: its mean less the drawn Gaussian's.

    Returns:
        two float64 (N, 2), in cells; the second is 0 where no value is above 0.
    """
    place, width = _fit(maps, cell, sigma)
    place, maps = in_reach(place, maps), maps.clamp_min(0)
    apart = []
    for axis, summed in enumerate((maps.sum(1, dtype=torch.float64), maps.sum(2, dtype=torch.float64))):
        grid = torch.arange(summed.shape[1], device=maps.device, dtype=torch.float64)
        drawn = (-((grid - place[:, axis, None]) ** 2) / (2 * width[:, None] ** 2)).softmax(-1)
        apart.append((summed / summed.sum(1, keepdim=True) - drawn) @ grid)
    return place, torch.stack(apart, dim=-1).nan_to_num(0)


def _window(maps: Tensor, cell: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """The M = (2r+1)^2 cells around each maximum, divided by it, and which lie on the map (1, else 0), float64."""
    reach = torch.arange(-radius, radius + 1, device=maps.device)
    x, y = cell[:, :1] + reach, cell[:, 1:] + reach  # (N, 2r+1)
    (h, w), n = maps.shape[1:], torch.arange(maps.shape[0], device=maps.device)
    inside = ((y >= 0) & (y < h))[:, :, None] & ((x >= 0) & (x < w))[:, None, :]
    values = maps[n[:, None, None], y.clamp(0, h - 1)[:, :, None], x.clamp(0, w - 1)[:, None, :]].double() * inside
    return _relative(values.flatten(1)), inside.flatten(1).double()


def _relative(values: Tensor) -> Tensor:
    """Windows (N, M) divided by their middle cells; NaN, by which no rule takes a step, where those are not above 0."""
    centre = values[:, values.shape[1] // 2, None]
    return values / torch.where(centre > 0, centre, math.nan)


def _basis(radius: int, device: torch.device) -> Tensor:
    """float64 (M, 4): 1, x, y, x^2 + y^2 of the window's cells, with the radius as unit."""
    side = torch.arange(-radius, radius + 1, device=device, dtype=torch.float64) / radius
    y, x = (axis.flatten() for axis in torch.meshgrid(side, side, indexing="ij"))
    return torch.stack([torch.ones_like(x), x, y, x**2 + y**2], dim=-1)


def _normal(weight: Tensor, basis: Tensor) -> Tensor:
    """(N, 4, 4): the basis's products with itself, summed with weights (N, M)."""
    return (weight @ (basis[:, :, None] * basis[:, None, :]).flatten(1)).unflatten(-1, (4, 4))


def _step(normal: Tensor, ridge: Tensor, gradient: Tensor) -> Tensor:
    """(N, 4): solution of normal equations, by Gauss-Jordan steps; positive definite ones need no pivoting.

    As fast as `torch.linalg.solve_ex` for ones so small, and exportable, which that is not.
    """
    rows = list(torch.cat([normal + torch.diag_embed(ridge), gradient[..., None]], dim=-1).unbind(1))  # four (N, 5)
    for i in range(4):
        rows[i] = rows[i] / rows[i][:, i, None]
        for j in {0, 1, 2, 3} - {i}:
            rows[j] = rows[j] - rows[j][:, i, None] * rows[i]
    return torch.stack([row[:, 4] for row in rows], dim=-1)


def _limit(fitted: Tensor, assumed: Tensor) -> Tensor:
    """Keep the curvature within the sigmas that a map of this network may have."""
    curvature = fitted[:, 3:].clamp(assumed[3] / NARROWEST**2, assumed[3] / WIDEST**2)
    return torch.cat([fitted[:, :3], curvature], dim=-1)


def _log_fit(values: Tensor, basis: Tensor, assumed: Tensor) -> Tensor:
    """(N, 4): Guo's fit to the logarithm with squared values as weights; the assumed curvature where no cell tells."""
    weight = values.clamp_min(0) ** 2
    excess = values.clamp_min(1e-30).log() - basis @ assumed
    ridge = basis.new_tensor([1e-20, 1e-20, 1e-20, 1e-13]).expand(values.shape[0], 4)
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


# (maps (N, h, w), cell of the maximum (N, 2), sigma in cells) -> cells (N, 2), float64.
DECODERS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "argmax": _argmax,
    "subpixel": _subpixel,
    "mean": _mean,
    "blend": _blend,
    "centroid": _centroid,
    "local_soft_argmax": _local_soft_argmax,
    "dark": _dark,
    "dark_blur": _dark_blur,
}
