"""Averaged weights (EMA): a running average over the optimiser's steps, which is validated and saved."""

from __future__ import annotations

from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_avg_fn


def weight_averaging(decay: float) -> WeightAveraging:
    """Exponential moving average of weights and batch statistics.

    Lightning's `EMAWeightAveraging` would also average buffers of indices, and truncate the rounded results.

    Args:
        decay: weight of the average so far, from 0 to 1.
    """
    average = get_ema_avg_fn(decay)

    def average_floats(averaged: Tensor, current: Tensor, count: Tensor) -> Tensor:
        return average(averaged, current, count) if averaged.is_floating_point() else current

    return WeightAveraging(avg_fn=average_floats)
