"""Moves the channels of a batch of images in front of rows and columns, where networks take them."""

from __future__ import annotations

from torch import Tensor


def channels_first(images: Tensor) -> Tensor:
    """Images (N, H, W) as (N, 1, H, W), and images (N, H, W, 3) as (N, 3, H, W); no pixel is copied.

    Example:
        >>> import torch
        >>> channels_first(torch.zeros(2, 5, 7)).shape, channels_first(torch.zeros(2, 5, 7, 3)).shape
        (torch.Size([2, 1, 5, 7]), torch.Size([2, 3, 5, 7]))
    """
    return images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)


def channels_last(images: Tensor) -> Tensor:
    """The reverse of `channels_first`."""
    return images.squeeze(1) if images.shape[1] == 1 else images.permute(0, 2, 3, 1)
