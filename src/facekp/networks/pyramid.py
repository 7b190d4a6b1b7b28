"""`FeaturePyramid`: features of several levels come in, one map of fine cells goes out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class FeaturePyramid(nn.Module):
    """Adds up features from the coarsest level to the finest, and enlarges the sum (Lin et al. 2017, arXiv:1612.03144).

    All maps cover the same part of the image, so enlarging by interpolation keeps their cells in place.

    Args:
        channels: of each level, the finest first.
        width: channels of the output.
        finest: stride of the finest level.
        stride: of the output; each enlargement beyond the finest level is at most by 2.
    """

    def __init__(self, channels: Sequence[int], width: int, finest: int, stride: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in channels)
        self.fused = _block(width)
        steps = max(math.ceil(math.log2(finest / stride)), 0)
        self.enlarged = nn.ModuleList(_block(width) for _ in range(steps))

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Merge feature maps of several levels into one.

        Args:
            features: (N, channels, h, w) of each level.
            size: (rows, columns) of the output.

        Returns:
            (N, width, rows, columns).
        """
        levels = [lateral(maps) for lateral, maps in zip(self.lateral, features, strict=True)]
        x = levels[-1]
        for level in reversed(levels[:-1]):
            x = level + _resized(x, level.shape[-2:])
        x = self.fused(x)
        for i, block in enumerate(self.enlarged):
            last = i == len(self.enlarged) - 1
            x = block(_resized(x, size if last else [2 * side for side in x.shape[-2:]]))
        return _resized(x, size)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )
