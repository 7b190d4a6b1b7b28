"""Checks the images that callers of `KeypointPredictor` give, and brings them into one form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from facekp.core.errors import UserError
from facekp.functional.channels import channels_first


def as_batch(images: Any, size: tuple[int, int], channels: int) -> Tensor:
    """Images as one batch for a network.

    Args:
        images: array or tensor of levels 0..255 of any number type. In grey (N, H, W), (N, 1, H, W), or one (H, W) or
            (H, W, 1). In colour, red, green, blue, (N, H, W, 3), (N, 3, H, W), or one (H, W, 3) or (3, H, W).
        size: (H, W) that messages name.
        channels: of the network: 1 takes grey images, 3 takes colour.

    Returns:
        float32 (N, channels, H, W).

    Raises:
        UserError: another shape or type, one colour image for a network of grey ones, NaN, or levels outside 0..255 or
            between 0 and 1.
    """
    if not isinstance(images, (np.ndarray, Tensor)):
        raise UserError(f"images: a {type(images).__name__}; give a numpy array or a tensor")
    if isinstance(images, np.ndarray) and images.dtype.kind not in "uifb":
        raise UserError(f"images: an array of {images.dtype}; give grey levels 0..255 as numbers")
    if isinstance(images, Tensor) and not _is_plain(images):
        raise UserError(
            f"images: a tensor of {images.dtype}, {images.layout}, on {images.device}; give a dense one of levels"
        )
    if channels == 1 and images.ndim == 3 and images.shape[-1] in (2, 3, 4):  # no crop is as narrow
        kind = "one image of grey and transparency" if images.shape[-1] == 2 else "one colour image"
        raise UserError(f"images: of shape {tuple(images.shape)}, which is {kind}; convert it to grey (H, W)")
    batch = torch.from_numpy(images.astype(np.float32)) if isinstance(images, np.ndarray) else images.float()
    shaped = _grey_batch(batch) if channels == 1 else _colour_batch(batch)
    if shaped is None or 0 in shaped.shape[-2:]:
        sides = f"{size[0]}, {size[1]}"
        crops = f"grey crops (N, {sides}), (N, 1, {sides}), or one ({sides}) or ({sides}, 1)"
        if channels == 3:
            one = f"one ({sides}, 3) or (3, {sides})"
            crops = f"colour crops (N, {sides}, 3), (N, 3, {sides}), or {one}, red, green, blue"
        raise UserError(f"images: of shape {tuple(images.shape)}; give {crops}")
    check_levels(images, shaped)
    return shaped


def _is_plain(images: Tensor) -> bool:
    """Whether a tensor holds real numbers, one after another."""
    special = images.is_complex() or images.is_nested or images.is_meta
    return images.layout == torch.strided and not special


def is_single(images: np.ndarray | Tensor, channels: int) -> bool:
    """Whether what `as_batch` takes is one image without an axis N."""
    if channels == 1:
        return images.ndim == 2 or (images.ndim == 3 and images.shape[-1] == 1)
    return images.ndim == 3


def _grey_batch(batch: Tensor) -> Tensor | None:
    """(N, 1, H, W) of (N, H, W), (N, 1, H, W), (H, W) or (H, W, 1); None for other shapes."""
    if is_single(batch, 1):
        batch = batch.reshape(1, *batch.shape[:2])
    if batch.ndim == 3:
        batch = batch.unsqueeze(1)
    return batch if batch.ndim == 4 and batch.shape[1] == 1 else None


def _colour_batch(batch: Tensor) -> Tensor | None:
    """(N, 3, H, W) of (N, H, W, 3), (N, 3, H, W), (H, W, 3) or (3, H, W); None for other shapes."""
    if is_single(batch, 3):
        batch = batch[None]
    if batch.ndim != 4 or 3 not in (batch.shape[1], batch.shape[3]):
        return None
    return channels_first(batch) if batch.shape[3] == 3 else batch


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
            f"images: levels are NaN or outside 0..255 (lowest {low:g}, highest {high:g}); scale 16-bit levels down, "
            "clip values beyond the range"
        )
    if _holds_fractions(images) and 0 < high <= 1:  # 0: a black image
        raise UserError(f"images: the highest grey level is {high:g}; give levels 0..255: multiply images by 255")
