"""Other roads to keypoints, so that a comparison says what the hourglass's heatmaps buy.

Both answer in heatmaps like `facekp.networks.hourglass`, so decoders, sources, checkpoints and all losses on distributions work
with them unchanged; losses on the raw maps don't, as these are logarithms (`activation`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facekp.config.rules import check_setting
from facekp.core.errors import UserError
from facekp.networks.backbone import check_images, check_settings, plain_cnn


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
        check_settings(heatmaps, stride, size, channels, halvings=4)
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
        check_images(images, self.size)
        answer = self.answer(self.features(images)).unflatten(1, (-1, 2))  # (N, C, 2), in half maps from the centre
        cells = (self.cells - 1) / 2 + self.cells / 2 * answer.float()  # bfloat16 would round them to a 16th
        grid = torch.arange(self.cells, device=images.device, dtype=cells.dtype)
        x, y = (-(((grid - cells[..., axis, None]) / self.sigma) ** 2) / 2 for axis in (0, 1))  # (N, C, cells)
        return [y[..., :, None] + x[..., None, :]]
