"""Losses on heatmaps: what each map costs, and their mean over what is labelled.

Axes: N images, C channels (maps), h x w cells. A loss takes the network's raw output (N, C, h, w), the target maps
(N, C, h, w), peak-1 Gaussians, and where their points lie, ``cells`` (N, C, 2) as (x, y) in cells, and answers (N, C).
What it says of unlabelled maps, whose target is all zero and whose cells are NaN, counts nothing: `labelled_mean`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from facekp.core.errors import UserError

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def labelled_mean(error: Tensor, weight: Tensor) -> Tensor:
    """Mean of the maps' errors, weighted; divided by what is labelled, never by what is there.

    Args:
        error: (N, C), anything, NaN included, where nothing is labelled.
        weight: float or bool (N, C), 0 where nothing is labelled.

    Returns:
        A scalar; 0 where nothing is labelled.
    """
    total = weight.sum()
    return (torch.where(weight > 0, error, 0.0) * weight).sum() / torch.where(total > 0, total, 1)


def mse(raw: Tensor, target: Tensor, cells: Tensor, foreground: float = 0.0) -> Tensor:
    r"""Mean squared error over the cells: :math:`\sum (1 + f t) (y - t)^2 / (h w)`.

    Args:
        foreground: f, how much more a cell counts for being on the peak; 0 is the starting system's loss.
    """
    return ((1 + foreground * target) * (raw - target).square()).mean(dim=(-2, -1))


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


def cross_entropy(raw: Tensor, target: Tensor, cells: Tensor) -> Tensor:
    """Cross-entropy between the softmax over a map's cells and the normalised target, in nats.

    Plain MSE on mostly empty maps sits near the all-zero answer for a long time; a distribution can't.
    A perfect map has the target's entropy.
    """
    return -(_share(target) * raw.flatten(-2).log_softmax(dim=-1)).sum(dim=-1)


def jensen_shannon(raw: Tensor, target: Tensor, cells: Tensor) -> Tensor:
    """Jensen-Shannon divergence between the softmax over a map's cells and the normalised target, in nats."""
    tiny = torch.finfo(raw.dtype).tiny
    share, log_probability = _share(target), raw.flatten(-2).log_softmax(dim=-1)
    probability = log_probability.exp()
    log_middle = ((share + probability) / 2).clamp_min(tiny).log()
    ours = probability * (log_probability - log_middle)
    theirs = share * (share.clamp_min(tiny).log() - log_middle)
    return (ours + theirs).sum(dim=-1) / 2


def expectation(raw: Tensor, target: Tensor, cells: Tensor, distance: str, cross_entropy_share: float) -> Tensor:
    """Distance of the softmax's mean (soft-argmax) from the point, with cross-entropy to keep the map a peak.

    With ``euclidean`` this is DSNT (Nibali et al. 2018, arXiv:1801.07372) but for its regulariser.

    Args:
        distance: name in `DISTANCES`, taken in cells.
        cross_entropy_share: weight of `cross_entropy` beside the distance.
    """
    apart = soft_argmax(raw) - cells.to(raw).nan_to_num(0)
    shape = cross_entropy(raw, target, cells) if cross_entropy_share else 0.0
    return DISTANCES[distance](apart) + cross_entropy_share * shape


def soft_argmax(raw: Tensor) -> Tensor:
    """Mean place (..., 2) as (x, y) in cells of the softmax over the cells of raw maps (..., h, w)."""
    probability = raw.flatten(-2).softmax(dim=-1).view_as(raw)
    y, x = (torch.arange(n, device=raw.device, dtype=raw.dtype) for n in raw.shape[-2:])
    return torch.stack([probability.sum(dim=-2) @ x, probability.sum(dim=-1) @ y], dim=-1)


def _share(target: Tensor) -> Tensor:
    """Targets (N, C, h, w) as distributions (N, C, h w); all zero where the target is."""
    flat = target.flatten(-2)
    return flat / flat.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)


def _wing(apart: Tensor) -> Tensor:
    """Wing loss (Feng et al. 2018, arXiv:1711.06753), its w of 10 and epsilon of 2 pixels in cells of 4."""
    width, curve = 2.5, 0.5
    beyond = width - width * math.log(1 + width / curve)
    error = apart.abs()
    return torch.where(error < width, width * torch.log1p(error / curve), error - beyond).sum(dim=-1)


# Between points: (..., 2) apart, in cells, to (...).
DISTANCES: dict[str, Callable[[Tensor], Tensor]] = {
    "squared": lambda apart: apart.square().sum(dim=-1),
    "euclidean": lambda apart: (apart.square().sum(dim=-1) + 1e-12).sqrt(),
    "smooth_l1": lambda apart: F.smooth_l1_loss(apart, torch.zeros_like(apart), reduction="none").sum(dim=-1),
    "wing": _wing,
}

LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": mse,
    "adaptive_wing": adaptive_wing,
    "cross_entropy": cross_entropy,
    "jensen_shannon": jensen_shannon,
    "expectation": expectation,
}


def build_loss(settings: Mapping[str, Any]) -> Loss:
    """The loss that ``settings.name`` names, with its other settings; ``activation`` is the model's.

    Raises:
        UserError: no such loss, a setting is unknown, missing or not one of the choices.
    """
    name = settings["name"]
    if name not in LOSSES:
        raise UserError(f"loss.name: {name!r} is unknown; choose one of {', '.join(LOSSES)}")
    own = {key: value for key, value in settings.items() if key not in ("name", "activation")}
    try:
        inspect.signature(LOSSES[name]).bind(None, None, None, **own)
    except TypeError as error:
        raise UserError(f"loss={name}: {error}") from error
    if own.get("distance", "squared") not in DISTANCES:
        raise UserError(f"loss.distance: {own['distance']!r} is unknown; choose one of {', '.join(DISTANCES)}")
    return partial(LOSSES[name], **own)
