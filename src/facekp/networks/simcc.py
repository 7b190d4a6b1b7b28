"""SimCC: the classification of each coordinate into bins, to compare with heatmaps."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from facekp.networks.base import NETWORKS, HeatmapNetwork, Heatmaps
from facekp.networks.plain_cnn import check_image_size, check_stride, plain_cnn


@NETWORKS.register("simcc")
class SimCC(HeatmapNetwork):
    """Each coordinate is classified by itself (Li et al. 2022, arXiv:2107.03332).

    The raw heatmap is the sum of the logits of both axes. Its softmax is then the product of the two distributions, and
    `cross_entropy` is the sum of their cross-entropies.

    Args:
        heatmaps: C, predicted points.
        stride: image pixels per bin; must divide ``size``.
        size: side of the square images in pixels.
        channels: width after the first convolution; doubled at each of two halvings.
        image_channels: 1 for grey images, 3 for colour.

    Raises:
        UserError: the stride does not divide the size.
    """

    activation = "softmax"

    def __init__(
        self,
        heatmaps: Heatmaps,
        stride: Annotated[int, Field(ge=1)],
        size: Annotated[int, Field(ge=8, le=4088, multiple_of=8)],
        channels: Annotated[int, Field(ge=1, le=512)],
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        check_stride(stride, size)
        self.size, self.stride = size, stride
        bins, positions = size // stride, (size // 8) ** 2
        features = plain_cnn(channels, halvings=3, inputs=image_channels)
        self.features = nn.Sequential(features, nn.Conv2d(4 * channels, heatmaps, 1))
        self.across, self.down = nn.Linear(positions, bins), nn.Linear(positions, bins)

    def forward(self, images: Tensor) -> list[Tensor]:
        check_image_size(images, self.size)
        features = self.features(images).flatten(2)  # (N, C, positions)
        return [self.down(features)[..., :, None] + self.across(features)[..., None, :]]
