"""A network: a small U-Net."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from facekp.networks.base import NETWORKS, HeatmapNetwork


@NETWORKS.register("example_unet")
class SmallUNet(HeatmapNetwork):
    """Two levels of a U-Net (Ronneberger et al. 2015, arXiv:1505.04597).

    Args:
        heatmaps: C, maps in the output; facekp gives it.
        stride: image pixels per heatmap cell.
        channels: width of the first level.
    """

    def __init__(
        self, heatmaps: int, stride: Literal[2, 4] = 4, channels: Annotated[int, Field(ge=4, le=256)] = 16
    ) -> None:
        super().__init__()
        self.stride = stride
        self.stem = _block(1, channels)
        self.down = _block(channels, 2 * channels)
        self.up = _block(3 * channels, channels)
        self.head = nn.Conv2d(channels, heatmaps, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(F.avg_pool2d(images, self.stride))  # (N, channels, h, w)
        low = self.down(F.max_pool2d(x, 2, ceil_mode=True))
        low = F.interpolate(low, size=x.shape[-2:], mode="nearest")
        return [self.head(self.up(torch.cat([x, low], dim=1)))]  # one stack: [(N, C, h, w)]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
