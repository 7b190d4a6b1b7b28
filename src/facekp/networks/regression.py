"""Coordinate regression, the common alternative to heatmaps, to compare with."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from facekp.core.settings import FractionBelowOne
from facekp.networks.base import NETWORKS, HeatmapNetwork, Heatmaps
from facekp.networks.plain_cnn import check_image_size, check_stride, plain_cnn


@NETWORKS.register("regression")
class CoordinateRegression(HeatmapNetwork):
    """A plain CNN with fully connected layers that predict coordinates.

    Its raw heatmap is the logarithm of a Gaussian around each predicted point, so decoders, sources and checkpoints
    work as for any heatmap network. Under `cross_entropy` with targets of the same width the loss is half the squared
    error in sigmas, plus a constant.

    Args:
        heatmaps: C, predicted points.
        stride: image pixels per cell of the heatmap; must divide ``size``.
        size: side of the square images in pixels.
        channels: width after the first convolution; doubled at each of three halvings.
        hidden: width of the layer between features and coordinates.
        dropout: fraction of the features that are dropped in training.
        sigma: of the Gaussian, in cells; the target's.
        image_channels: 1 for grey images, 3 for colour.

    Raises:
        UserError: the stride does not divide the size.
    """

    activation = "softmax"

    def __init__(
        self,
        heatmaps: Heatmaps,
        stride: Annotated[int, Field(ge=1)],
        size: Annotated[int, Field(ge=16, le=4080, multiple_of=16)],
        channels: Annotated[int, Field(ge=1, le=512)],
        hidden: Annotated[int, Field(ge=1, le=10000)],
        dropout: FractionBelowOne,
        sigma: Annotated[float, Field(ge=0.05)],
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        check_stride(stride, size)
        self.size, self.stride, self.cells, self.sigma = size, stride, size // stride, sigma
        side = size // 16
        self.features = plain_cnn(channels, halvings=4, inputs=image_channels)
        self.answer = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8 * channels * side**2, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, 2 * heatmaps),
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        check_image_size(images, self.size)
        position = self.answer(self.features(images)).unflatten(1, (-1, 2))  # (N, C, 2), half maps from the centre
        cells = (self.cells - 1) / 2 + self.cells / 2 * position.float()  # bfloat16 would round them to a 16th
        grid = torch.arange(self.cells, device=images.device, dtype=cells.dtype)
        x, y = (-(((grid - cells[..., axis, None]) / self.sigma) ** 2) / 2 for axis in (0, 1))  # (N, C, cells)
        return [y[..., :, None] + x[..., None, :]]
