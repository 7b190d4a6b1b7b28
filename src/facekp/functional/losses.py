"""Losses on heatmaps: the error of each map, and its mean over the labelled maps.

A loss is a function ``(raw, target, cells, **settings) -> error`` registered in `LOSSES`::

    raw     (N, C, h, w), the network's output before the activation
    target  (N, C, h, w), Gaussians with peak 1; all zero where unlabelled
    cells   (N, C, 2), the labelled points as (x, y) in cells; NaN where unlabelled
    error   (N, C); its values at unlabelled maps are ignored (`labelled_mean`)

Axes: N images, C channels (maps), h x w cells. The keyword arguments are the settings of ``loss=NAME``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from facekp.core.errors import UserError
from facekp.core.registry import Registry
from facekp.core.settings import NonNegative, Settings

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Distance = Literal["squared", "euclidean", "smooth_l1", "wing"]


class LossSettings(Settings):
    """``loss``: its name, and what makes a heatmap of the network's raw output; each loss adds its own settings.

    Attributes:
        name: in `LOSSES`.
        activation: ``softmax`` over the cells of each map, or ``none``.
    """

    name: str
    activation: Literal["none", "softmax"] = "softmax"


LOSSES: Registry[Callable[..., Tensor]] = Registry(
    "loss", key="loss", base=LossSettings, entry_points="facekp.losses", inputs=3, config_group="loss"
)


def build_loss(settings: LossSettings) -> Loss:
    """The loss that the settings name, with its settings filled in.

    Calling it raises a `UserError` unless the loss returns one error per map, with a gradient: another shape would be
    broadcast, and unlabelled maps would train too.
    """
    return functools.partial(_checked_error, LOSSES.partial(settings), settings.name)


def _checked_error(compare: Callable[..., Any], name: str, raw: Tensor, target: Tensor, cells: Tensor) -> Tensor:
    error = compare(raw, target, cells)
    if not isinstance(error, Tensor) or error.shape != raw.shape[:2]:  # known without waiting for a GPU
        given = f"a tensor of shape {tuple(error.shape)}" if isinstance(error, Tensor) else type(error).__name__
        raise UserError(
            f"loss={name}: returned {given}; a loss returns one error per map, a tensor (N, C), here "
            f"{tuple(raw.shape[:2])}; facekp takes the mean over the labelled maps"
        )
    if raw.requires_grad and not error.requires_grad:
        raise UserError(
            f"loss={name}: returned a tensor without a gradient, so that nothing would be trained; compute it from the "
            "raw output, without detach(), item(), argmax, NumPy or whole numbers"
        )
    return error


def labelled_mean(error: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the maps' errors, divided by the sum of the weights.

    Args:
        error: (N, C); anything, NaN included, where the weight is 0.
        weight: float or bool (N, C), 0 where unlabelled.

    Returns:
        A scalar; 0 where nothing is labelled.

    Example:
        >>> labelled_mean(torch.tensor([[1.0, 3.0, torch.nan]]), torch.tensor([[True, True, False]]))
        tensor(2.)
    """
    total = weight.sum()
    return (torch.where(weight > 0, error, 0.0) * weight).sum() / torch.where(total > 0, total, 1)


@LOSSES.register("mse")
def mse(raw: Tensor, target: Tensor, cells: Tensor, foreground: NonNegative = 0.0) -> Tensor:
    r"""Mean squared error over the cells: :math:`\sum (1 + f t) (y - t)^2 / (h w)`.

    Args:
        raw, target, cells: see the module.
        foreground: f, the extra weight of a cell at the peak; 0 is the published system's loss.
    """
    return ((1 + foreground * target) * (raw - target).square()).mean(dim=(-2, -1))


@LOSSES.register("adaptive_wing")
def adaptive_wing(raw: Tensor, target: Tensor, cells: Tensor) -> Tensor:
    """Adaptive wing loss with its foreground weight, constants as published (Wang et al. 2019, arXiv:1904.07399)."""
    omega, theta, epsilon, alpha, weight = 14.0, 0.5, 1.0, 2.1, 10.0
    error, power = (raw - target).abs(), alpha - target
    edge = theta / epsilon
    slope = omega / (1 + edge**power) * power * edge ** (power - 1) / epsilon
    near = omega * torch.log1p((error / epsilon) ** power)
    far = slope * (error - theta) + omega * torch.log1p(edge**power)
    foreground = F.max_pool2d(target, 3, stride=1, padding=1) >= 0.2
    return (torch.where(error < theta, near, far) * (1 + weight * foreground)).mean(dim=(-2, -1))


@LOSSES.register("cross_entropy")
def cross_entropy(raw: Tensor, target: Tensor, cells: Tensor) -> Tensor:
    """Cross-entropy between the softmax over a map's cells and the normalised target, in nats.

    Mean squared error on mostly empty maps stays near the all-zero output for a long time; a distribution cannot.
    The loss of a perfect map is the target's entropy.
    """
    return -(_distribution(target) * raw.flatten(-2).log_softmax(dim=-1)).sum(dim=-1)


@LOSSES.register("jensen_shannon")
def jensen_shannon(raw: Tensor, target: Tensor, cells: Tensor) -> Tensor:
    """Jensen-Shannon divergence between the softmax over a map's cells and the normalised target, in nats."""
    tiny = torch.finfo(raw.dtype).tiny
    expected, log_probability = _distribution(target.to(raw)), raw.flatten(-2).log_softmax(dim=-1)
    probability = log_probability.exp()
    log_middle = ((expected + probability) / 2).clamp_min(tiny).log()
    from_prediction = probability * (log_probability - log_middle)
    from_target = expected * (expected.clamp_min(tiny).log() - log_middle)
    return (from_prediction + from_target).sum(dim=-1) / 2


@LOSSES.register("expectation")
def expectation(
    raw: Tensor, target: Tensor, cells: Tensor, distance: Distance, cross_entropy_share: NonNegative
) -> Tensor:
    """Distance of the softmax's mean (soft-argmax) from the point, plus cross-entropy to keep the map a peak.

    With ``euclidean`` this is DSNT (Nibali et al. 2018, arXiv:1801.07372) without its regulariser.

    Args:
        raw, target, cells: see the module.
        distance: name in `DISTANCES`, in cells.
        cross_entropy_share: weight of `cross_entropy` beside the distance.
    """
    difference = soft_argmax(raw) - cells.to(raw).nan_to_num(0)
    shape = cross_entropy(raw, target, cells) if cross_entropy_share else 0.0
    return DISTANCES[distance](difference) + cross_entropy_share * shape


def soft_argmax(raw: Tensor) -> Tensor:
    """Mean position (..., 2) as (x, y) in cells of the softmax over the cells of raw maps (..., h, w)."""
    probability = raw.flatten(-2).softmax(dim=-1).view_as(raw)
    y, x = (torch.arange(n, device=raw.device, dtype=raw.dtype) for n in raw.shape[-2:])
    return torch.stack([probability.sum(dim=-2) @ x, probability.sum(dim=-1) @ y], dim=-1)


def _distribution(target: Tensor) -> Tensor:
    """Targets (N, C, h, w) as distributions (N, C, h w); all zero where the target is."""
    flat = target.flatten(-2)
    return flat / flat.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)


def _wing(difference: Tensor) -> Tensor:
    """Wing loss (Feng et al. 2018, arXiv:1711.06753): w of 10 and epsilon of 2 pixels, in cells of 4 pixels."""
    width, curvature = 2.5, 0.5
    offset = width - width * math.log(1 + width / curvature)
    error = difference.abs()
    return torch.where(error < width, width * torch.log1p(error / curvature), error - offset).sum(dim=-1)


# From differences (..., 2) in cells to distances (...).
DISTANCES: dict[str, Callable[[Tensor], Tensor]] = {
    "squared": lambda difference: difference.square().sum(dim=-1),
    "euclidean": lambda difference: (difference.square().sum(dim=-1) + 1e-12).sqrt(),
    "smooth_l1": lambda d: F.smooth_l1_loss(d, torch.zeros_like(d), reduction="none").sum(dim=-1),
    "wing": _wing,
}
