"""A small network with GroupNorm, as a plug-in: its output does not depend on how a batch is split over processes."""

from __future__ import annotations

from torch import Tensor, nn

from facekp.networks.base import NETWORKS, HeatmapNetwork
from facekp.networks.heads import linear_head


@NETWORKS.register("group_norm")
class GroupNormNetwork(HeatmapNetwork):
    """Four 3 x 3 convolutions; GroupNorm takes its statistics from one image, BatchNorm from a batch of one process."""

    stride = 4

    def __init__(self, heatmaps: int, channels: int = 8) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for step in (2, 2, 1, 1):
            layers += [
                nn.Conv2d(inputs, channels, 4 if step == 2 else 3, stride=step, padding=1),
                nn.GroupNorm(2, channels),
                nn.ReLU(inplace=True),
            ]
            inputs = channels
        self.body = nn.Sequential(*layers)
        self.head = linear_head(channels, heatmaps)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.head(self.body(images))]  # [(N, C, H // 4, W // 4)]
