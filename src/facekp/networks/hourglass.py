"""Hourglass networks: the stacked hourglass of Newell et al. and the published one that this project started from.

Normalised images (N, 1, H, W), or in colour (N, 3, H, W), go in; one tensor of raw heatmaps
(N, C, H // stride, W // stride) per stack comes out. Any image size works.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from facekp.networks.base import NETWORKS, HeatmapNetwork, Heatmaps
from facekp.networks.heads import AlignedConv2d, linear_head


class Residual(nn.Module):
    """Pre-activation bottleneck (He et al. 2016, arXiv:1603.05027): half the channels in the middle, size unchanged."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 2
        self.body = nn.Sequential(
            *_activation(inputs),
            nn.Conv2d(inputs, middle, 1),
            *_activation(middle),
            nn.Conv2d(middle, middle, 3, padding=1),
            *_activation(middle),
            nn.Conv2d(middle, outputs, 1),
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(x)


class BasicResidual(nn.Module):
    """Pre-activation block of two 3 x 3 convolutions (He et al. 2016): more arithmetic per layer than `Residual`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_activation(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            *_activation(outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(x)


class FoldedResidual(nn.Module):
    """Two 3 x 3 convolutions and the input (He et al. 2015).

    Every convolution is followed by its BatchNorm, which an exported graph folds into the convolution.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


BLOCKS: dict[str, type[nn.Module]] = {
    "bottleneck": Residual,
    "basic": BasicResidual,
    "folded": FoldedResidual,
}


class Hourglass(nn.Module):
    """One hourglass: a branch at full size beside one at half size, which holds the next smaller hourglass."""

    def __init__(self, levels: int, channels: int, block: type[nn.Module] = Residual) -> None:
        super().__init__()
        self.full = block(channels, channels)
        self.down = block(channels, channels)
        self.inner = Hourglass(levels - 1, channels, block) if levels > 1 else block(channels, channels)
        self.up = block(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        half = F.max_pool2d(x, 2, ceil_mode=True)  # (N, C, ceil(h/2), ceil(w/2)): odd sizes stay aligned
        half = self.up(self.inner(self.down(half)))
        return self.full(x) + _enlarge(half, x.shape[-2:])  # (N, C, h, w)


def _enlarge(x: Tensor, size: torch.Size) -> Tensor:
    """Repeat the nearest cells, in the type of x: mixed precision would make float32 of it and of all that follows."""
    height, width = x.shape[-2:]
    if torch.compiler.is_dynamo_compiling() and size == (2 * height, 2 * width):
        # The gradient of this is a sum over cells; interpolate's would be compiled to atomic additions.
        return x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).flatten(4, 5).flatten(2, 3)
    if x.dtype == torch.float32:
        return F.interpolate(x, size=size, mode="nearest")
    with torch.autocast(x.device.type, enabled=False):
        return F.interpolate(x, size=size, mode="nearest")


@NETWORKS.register("hourglass")
class StackedHourglass(HeatmapNetwork):
    """Hourglasses in a row; each predicts and each corrects the one before (Newell et al. 2016, arXiv:1603.06937).

    Args:
        heatmaps: C, maps in the output.
        stride: image pixels per heatmap cell.
        channels: width of every hourglass.
        levels: halvings inside an hourglass.
        stacks: number of hourglasses.
        block: what everything but the first convolution is made of: ``basic``, ``bottleneck`` or ``folded``.
        image_channels: 1 for grey images, 3 for colour.
    """

    def __init__(
        self,
        heatmaps: Heatmaps,
        stride: Literal[1, 2, 4],
        channels: Annotated[int, Field(ge=8, le=1024, multiple_of=4)],
        levels: Annotated[int, Field(ge=1, le=8)],
        stacks: Annotated[int, Field(ge=1, le=8)],
        block: Literal["basic", "bottleneck", "folded"] = "bottleneck",  # of older checkpoints
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.stem = _stem(image_channels, stride, channels, BLOCKS[block])
        self.hourglasses = nn.ModuleList(_features(levels, channels, BLOCKS[block]) for _ in range(stacks))
        self.heads = nn.ModuleList(linear_head(channels, heatmaps) for _ in range(stacks))
        self.from_features = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1))
        self.from_heatmaps = nn.ModuleList(nn.Conv2d(heatmaps, channels, 1) for _ in range(stacks - 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)  # (N, channels, h, w)
        features = self.hourglasses[0](x)
        heatmaps = [self.heads[0](features)]  # (N, C, h, w)
        later = zip(self.from_features, self.from_heatmaps, self.hourglasses[1:], self.heads[1:], strict=True)
        for from_features, from_heatmaps, hourglass, head in later:
            x = x + from_features(features) + from_heatmaps(heatmaps[-1])
            features = hourglass(x)
            heatmaps.append(head(features))
        return heatmaps


@NETWORKS.register("hourglass_seed")
class PublishedHourglass(HeatmapNetwork):
    """The architecture of the published system: full resolution throughout, 1 x 1 convolutions first.

    Its head ends in ReLU: a heatmap is never negative and a channel can die. `StackedHourglass` has neither fault.

    Args:
        heatmaps: C, maps in the output; the published weights have 15.
        image_channels: 1 for grey images, 3 for colour.
    """

    stride = 1

    def __init__(self, heatmaps: Heatmaps, image_channels: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(image_channels, 64, 1), nn.ReLU(inplace=True), nn.Conv2d(64, 128, 1), nn.ReLU(inplace=True)
        )
        self.hourglass = Hourglass(levels=4, channels=128)
        self.head = nn.Sequential(AlignedConv2d(128, heatmaps, 1), *_activation(heatmaps))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.head(self.hourglass(self.stem(images)))]  # [(N, C, H, W)]


def _activation(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


def _stem(image_channels: int, stride: int, channels: int, block: type[nn.Module]) -> nn.Sequential:
    """From (N, image_channels, H, W) to (N, channels, H // stride, W // stride).

    The first kernel is odd at stride 1 and even otherwise. An output then lies exactly in the middle of the pixels it
    covers, and a mirrored image gives mirrored cells.
    """
    kernel, step = (7, 1) if stride == 1 else (6, 2)
    return nn.Sequential(
        nn.Conv2d(image_channels, channels // 2, kernel, stride=step, padding=(kernel - 1) // 2),
        *_activation(channels // 2),
        block(channels // 2, channels // 2),
        nn.MaxPool2d(2) if stride == 4 else nn.Identity(),
        block(channels // 2, channels),
    )


def _features(levels: int, channels: int, block: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        Hourglass(levels, channels, block),
        block(channels, channels),
        nn.Conv2d(channels, channels, 1),
        *_activation(channels),
    )
