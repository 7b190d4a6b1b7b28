"""Checks the images that callers of `KeypointPredictor` give, and brings them into one form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from facekp.core.errors import UserError


def as_grey(images: Any, size: tuple[int, int]) -> Tensor:
    """Grey images as one batch.

    Args:
        images: array or tensor of grey levels 0..255 of any number type, (N, H, W), (N, 1, H, W), or one (H, W).
        size: (H, W) that messages name.

    Returns:
        float32 (N, 1, H, W).

    Raises:
        UserError: another shape or type, NaN, or grey levels outside 0..255 or between 0 and 1.
    """
    if not isinstance(images, (np.ndarray, Tensor)):
        raise UserError(f"images: a {type(images).__name__}; give a numpy array or a tensor")
    if isinstance(images, np.ndarray) and images.dtype.kind not in "uifb":
        raise UserError(f"images: an array of {images.dtype}; give grey levels 0..255 as numbers")
    batch = torch.from_numpy(images.astype(np.float32)) if isinstance(images, np.ndarray) else images.float()
    grey = batch.squeeze(1) if batch.ndim == 4 and batch.shape[1] == 1 else batch
    if grey.ndim not in (2, 3) or 0 in grey.shape[-2:]:
        height, width = size
        raise UserError(
            f"images: of shape {tuple(images.shape)}; give grey crops (N, {height}, {width}), "
            f"(N, 1, {height}, {width}) or one ({height}, {width})"
        )
    grey = grey.reshape(-1, 1, *grey.shape[-2:])
    check_levels(images, grey)
    return grey


def _holds_fractions(images: np.ndarray | Tensor) -> bool:
    """Whether the type of the images is one in which levels from 0 to 1 are usual."""
    if isinstance(images, np.ndarray):
        return images.dtype.kind in "fb"
    return images.is_floating_point() or images.dtype == torch.bool


def check_levels(images: np.ndarray | Tensor, values: Tensor) -> None:
    """Refuse images whose levels are not 0..255.

    Args:
        images: as they were given; their type says whether levels from 0 to 1 may be meant.
        values: the same numbers in float32.

    Raises:
        UserError: NaN, or levels outside 0..255 or between 0 and 1.
    """
    if not values.numel():
        return
    low, high = float(values.amin()), float(values.amax())
    if not (low >= 0 and high <= 255):  # also where they are NaN
        raise UserError(
            "images: a grey level is NaN or outside 0..255; scale 16-bit levels down, clip values beyond the range"
        )
    if _holds_fractions(images) and high <= 1:
        raise UserError(f"images: the highest grey level is {high:g}; give levels 0..255: multiply images by 255")
