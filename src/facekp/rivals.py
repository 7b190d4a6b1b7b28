"""Other roads to keypoints, so that a comparison says what the hourglass's heatmaps buy.

Both answer in heatmaps like `facekp.hourglass`, so decoders, sources, checkpoints and all losses on distributions work
with them unchanged; losses on the raw maps don't, as these are logarithms (`activation`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facekp.errors import UserError
from facekp.settings import check_setting


class CoordinateRegression(nn.Module):
    """A plain CNN that answers with coordinates: the usual solution of this task.

    The raw heatmap is the logarithm of a Gaussian around each answer. Under `loss.cross_entropy` with targets of the
    same width that is half the squared error in sigmas, plus a constant, and a decoder reads the answer back.

    Args:
        heatmaps: C, points in the answer.
        stride: image pixels a cell, a divisor of ``size``.
        size: side of the square images in pixels, a multiple of 16.
        channels: width after the first convolution; doubled at each of three halvings.
        hidden: width of the layer between features and coordinates.
        dropout: share of the features left out in training.
        sigma: of the Gaussian, in cells; the target's.
    """

    activation = "softmax"

    def __init__(
        self, heatmaps: int, stride: int, size: int, channels: int, hidden: int, dropout: float, sigma: float
    ) -> None:
        super().__init__()
        _check(heatmaps, stride, size, channels, halvings=4)
        check_setting("hidden", hidden, range(1, 10001))
        if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise UserError(f"network.dropout: {dropout!r} is not a share from 0 to below 1")
        if not isinstance(sigma, (int, float)) or not sigma > 0:
            raise UserError(f"network.sigma: {sigma!r} is not a number above 0")
        self.size, self.stride, self.cells, self.sigma = size, stride, size // stride, sigma
        side = size // 16
        self.features = plain_cnn(channels, halvings=4)
        self.answer = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8 * channels * side**2, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, 2 * heatmaps),
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        _check_images(images, self.size)
        answer = self.answer(self.features(images)).unflatten(1, (-1, 2))  # (N, C, 2), in half maps from the centre
        cells = (self.cells - 1) / 2 + self.cells / 2 * answer.float()  # bfloat16 would round them to a 16th
        grid = torch.arange(self.cells, device=images.device, dtype=cells.dtype)
        x, y = (-(((grid - cells[..., axis, None]) / self.sigma) ** 2) / 2 for axis in (0, 1))  # (N, C, cells)
        return [y[..., :, None] + x[..., None, :]]


class SimCC(nn.Module):
    """Each coordinate classified by itself, into bins (Li et al. 2022, arXiv:2107.03332).

    The raw heatmap is the sum of the two axes' logits, so its softmax is the product of the two distributions and
    `loss.cross_entropy` the sum of their cross-entropies.

    Args:
        heatmaps: C, points in the answer.
        stride: image pixels a bin, a divisor of ``size``.
        size: side of the square images in pixels, a multiple of 8.
        channels: width after the first convolution; doubled at each of two halvings.
    """

    activation = "softmax"

    def __init__(self, heatmaps: int, stride: int, size: int, channels: int) -> None:
        super().__init__()
        _check(heatmaps, stride, size, channels, halvings=3)
        self.size, self.stride = size, stride
        bins, places = size // stride, (size // 8) ** 2
        self.features = nn.Sequential(plain_cnn(channels, halvings=3), nn.Conv2d(4 * channels, heatmaps, 1))
        self.across, self.down = nn.Linear(places, bins), nn.Linear(places, bins)

    def forward(self, images: Tensor) -> list[Tensor]:
        _check_images(images, self.size)
        features = self.features(images).flatten(2)  # (N, C, places)
        return [self.down(features)[..., :, None] + self.across(features)[..., None, :]]


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


def _check_images(images: Tensor, size: int) -> None:
    """Fully connected layers fit images of one size only.

    Raises:
        UserError: these are of another.
    """
    if images.shape[-2:] != (size, size):
        height, width = images.shape[-2:]
        raise UserError(f"network.size: {size}, but the images are {height} x {width} pixels; set it to their side")


def _check(heatmaps: int, stride: int, size: int, channels: int, halvings: int) -> None:
    check_setting("heatmaps", heatmaps, range(1, 10001))
    check_setting("size", size, range(2**halvings, 2**12, 2**halvings))
    check_setting("stride", stride, [n for n in range(1, size + 1) if size % n == 0])
    check_setting("channels", channels, range(1, 513))
