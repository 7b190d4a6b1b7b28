"""The plain convolutional network that `regression` and `simcc` take their features from."""

from __future__ import annotations

from torch import Tensor, nn

from facekp.core.errors import UserError


def plain_cnn(channels: int, halvings: int, inputs: int) -> nn.Sequential:
    """Pairs of 3 x 3 convolutions, each pair followed by max pooling.

    Args:
        channels: width after the first convolution; it doubles with each halving after the first.
        halvings: number of max poolings.
        inputs: channels of the images.

    Returns:
        a module from (N, inputs, H, W) to (N, channels * 2 ** (halvings - 1), H // 2 ** halvings, W // 2 ** halvings).
    """
    layers: list[nn.Module] = []
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


def check_stride(stride: int, size: int) -> None:
    """Raise a UserError unless the stride divides the image's side."""
    if size % stride:
        divisors = ", ".join(str(n) for n in range(1, size + 1) if size % n == 0)
        raise UserError(
            f"model.network.stride={stride}: must divide model.network.size={size}; choose one of {divisors}"
        )


def check_image_size(images: Tensor, size: int) -> None:
    """Raise a UserError unless images (N, C, H, W) have the one size that fully connected layers fit."""
    if images.shape[-2:] != (size, size):
        height, width = images.shape[-2:]
        raise UserError(f"model.network.size={size}: the images are {height} x {width} pixels; set it to their side")
