"""facekp.networks.backbone."""

from __future__ import annotations

from torch import Tensor, nn

from facekp.config.rules import check_setting
from facekp.core.errors import UserError


def plain_cnn(channels: int, halvings: int) -> nn.Sequential:
    """Two 3 x 3 convolutions and a max pooling, over and over; the width doubles with each after the first."""
    layers: list[nn.Module] = []
    inputs = 1
    for level in range(halvings):
        outputs = channels * 2**level
        for width in (inputs, outputs):
            layers += [
                nn.Conv2d(width, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        layers.append(nn.MaxPool2d(2))
        inputs = outputs
    return nn.Sequential(*layers)


def check_images(images: Tensor, size: int) -> None:
    """Fully connected layers fit images of one size only.

    Raises:
        UserError: these are of another.
    """
    if images.shape[-2:] != (size, size):
        height, width = images.shape[-2:]
        raise UserError(f"network.size: {size}, but the images are {height} x {width} pixels; set it to their side")


def check_settings(heatmaps: int, stride: int, size: int, channels: int, halvings: int) -> None:
    check_setting("heatmaps", heatmaps, range(1, 10001))
    check_setting("size", size, range(2**halvings, 2**12, 2**halvings))
    check_setting("stride", stride, [n for n in range(1, size + 1) if size % n == 0])
    check_setting("channels", channels, range(1, 513))
