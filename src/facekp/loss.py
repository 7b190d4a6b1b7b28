"""Losses on heatmaps: raw network output and target maps come in, one number goes out, unlabelled maps count nothing.

Axes: N images, C channels (maps), h x w cells. Every loss is divided by what is labelled, never by what is there, so
adding rows without labels leaves it unchanged.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from facekp.errors import UserError


def masked_mse(heatmaps: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    r"""Mean squared error over the cells of the labelled maps: :math:`\sum m (y - t)^2 / (h w \sum m)`.

    Args:
        heatmaps: (N, C, h, w), the network's raw output.
        target: (N, C, h, w), peak-1 Gaussians.
        mask: bool (N, C), which maps are labelled.

    Returns:
        A scalar; 0 where nothing is labelled.
    """
    error = (heatmaps - target).square().mean(dim=(-2, -1))
    return _labelled_mean(error, mask)


def masked_cross_entropy(heatmaps: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    r"""Cross-entropy between the softmax over a map's cells and the normalised target, averaged over labelled maps.

    Plain MSE on mostly empty maps sits near the all-zero answer for a long time; a distribution can't.
    Arguments and result as for `masked_mse`; natural logarithm, so a perfect map has the target's entropy.
    """
    log_probability = heatmaps.flatten(-2).log_softmax(dim=-1)
    share = target.flatten(-2)
    share = share / share.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)
    return _labelled_mean(-(share * log_probability).sum(dim=-1), mask)


def _labelled_mean(error: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, error, 0.0).sum() / mask.sum().clamp_min(1)


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {"mse": masked_mse, "cross_entropy": masked_cross_entropy}


def build_loss(name: str) -> Loss:
    """The loss of that name.

    Raises:
        UserError: no such loss.
    """
    if name not in LOSSES:
        raise UserError(f"loss.name: {name!r} is unknown; choose one of {', '.join(LOSSES)}")
    return LOSSES[name]
