"""The last layer of networks that predict heatmaps."""

from __future__ import annotations

from torch import nn


def linear_head(channels: int, heatmaps: int) -> nn.Conv2d:
    """A 1 x 1 convolution with small weights: the first heatmaps are flat, whatever the loss."""
    head = nn.Conv2d(channels, heatmaps, 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]  # a Conv2d made with its default has a bias
    return head
