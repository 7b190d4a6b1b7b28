"""The last layer of networks that predict heatmaps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ALIGNED = 8  # channels, of which tensor cores need a multiple


class AlignedConv2d(nn.Conv2d):
    """A convolution that tensor cores compute fast, whatever the number of its outputs.

    Where it is compiled for a GPU, its outputs are filled up to a multiple of `ALIGNED`, and those added are dropped.
    """

    def forward(self, x: Tensor) -> Tensor:
        on_tensor_cores = x.is_cuda and torch.compiler.is_dynamo_compiling()
        return self._filled_up(x) if on_tensor_cores else super().forward(x)

    def _filled_up(self, x: Tensor) -> Tensor:
        missing = -self.out_channels % ALIGNED
        weight = F.pad(self.weight, (0, 0, 0, 0, 0, 0, 0, missing))
        bias = None if self.bias is None else F.pad(self.bias, (0, missing))
        return self._conv_forward(x, weight, bias)[:, : self.out_channels]


def linear_head(channels: int, heatmaps: int) -> nn.Conv2d:
    """A 1 x 1 convolution with small weights: the first heatmaps are flat, whatever the loss."""
    head = AlignedConv2d(channels, heatmaps, 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]  # a Conv2d made with its default has a bias
    return head
