"""Networks from grey images to heatmaps: the stacked hourglass of Newell et al. and the one this project started from.

Images (N, 1, H, W), already normalised, go in; a list with one tensor of heatmaps (N, C, H // stride, W // stride) a
stack comes out, the last one the best. Any image size works. What a heatmap means is the codec's business, not ours.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from facekp.config.rules import check_setting


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
    """Pre-activation block of two 3 x 3 convolutions (He et al. 2016): more arithmetic a layer than `Residual`."""

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


BLOCKS: dict[str, type[nn.Module]] = {"bottleneck": Residual, "basic": BasicResidual}


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
        return self.full(x) + F.interpolate(half, size=x.shape[-2:], mode="nearest")  # (N, C, h, w)


class StackedHourglass(nn.Module):
    """Hourglasses in a row, each answering and each correcting the one before (Newell et al. 2016, arXiv:1603.06937).

    Args:
        heatmaps: C, maps in the answer.
        stride: image pixels a heatmap cell, 1, 2 or 4.
        channels: width of every hourglass, a multiple of 4.
        levels: halvings inside an hourglass.
        stacks: hourglasses, 1 to 8.
        block: name in `BLOCKS`, what everything but the first convolution is made of.
    """

    def __init__(
        self,
        heatmaps: int,
        stride: int,
        channels: int,
        levels: int,
        stacks: int,
        block: str = "bottleneck",
    ) -> None:
        super().__init__()
        check_setting("heatmaps", heatmaps, range(1, 10001))
        check_setting("stride", stride, (1, 2, 4))
        check_setting("channels", channels, range(8, 1025, 4))
        check_setting("levels", levels, range(1, 9))
        check_setting("stacks", stacks, range(1, 9))
        check_setting("block", block, BLOCKS)
        self.stride = stride
        self.stem = _stem(stride, channels, BLOCKS[block])
        self.hourglasses = nn.ModuleList(_features(levels, channels, BLOCKS[block]) for _ in range(stacks))
        self.heads = nn.ModuleList(_linear_head(channels, heatmaps) for _ in range(stacks))
        self.from_features = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1))
        self.from_heatmaps = nn.ModuleList(nn.Conv2d(heatmaps, channels, 1) for _ in range(stacks - 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)  # (N, channels, h, w)
        features = self.hourglasses[0](x)
        answers = [self.heads[0](features)]  # (N, C, h, w)
        later = zip(self.from_features, self.from_heatmaps, self.hourglasses[1:], self.heads[1:], strict=True)
        for from_features, from_heatmaps, hourglass, head in later:
            x = x + from_features(features) + from_heatmaps(answers[-1])
            features = hourglass(x)
            answers.append(head(features))
        return answers


class PublishedHourglass(nn.Module):
    """The architecture of the published starting system: everything at the image's own size, and it sees 1x1 at first.

    Its head ends in ReLU, so an answer is never negative and a channel can die; `StackedHourglass` has neither fault.

    Args:
        heatmaps: C, maps in the answer; the published weights have 15.
    """

    stride = 1

    def __init__(self, heatmaps: int) -> None:
        super().__init__()
        check_setting("heatmaps", heatmaps, range(1, 10001))
        self.stem = nn.Sequential(
            nn.Conv2d(1, 64, 1), nn.ReLU(inplace=True), nn.Conv2d(64, 128, 1), nn.ReLU(inplace=True)
        )
        self.hourglass = Hourglass(levels=4, channels=128)
        self.head = nn.Sequential(nn.Conv2d(128, heatmaps, 1), *_activation(heatmaps))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.head(self.hourglass(self.stem(images)))]  # [(N, C, H, W)]


def _activation(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


def _stem(stride: int, channels: int, block: type[nn.Module]) -> nn.Sequential:
    """(N, 1, H, W) to (N, channels, H // stride, W // stride).

    The first kernel is odd at stride 1 and even at stride 2, so that an output sits exactly in the middle of the pixels
    it stands for and a mirrored image gives mirrored cells.
    """
    kernel, step = (7, 1) if stride == 1 else (6, 2)
    return nn.Sequential(
        nn.Conv2d(1, channels // 2, kernel, stride=step, padding=(kernel - 1) // 2),
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


def _linear_head(channels: int, heatmaps: int) -> nn.Conv2d:
    """Starts near zero: the first answers are flat maps, whatever the loss."""
    head = nn.Conv2d(channels, heatmaps, 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]  # a Conv2d made with its default has a bias
    return head
