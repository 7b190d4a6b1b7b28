"""facekp.networks.simcc."""

from __future__ import annotations

from torch import Tensor, nn

from facekp.networks.backbone import check_images, check_settings, plain_cnn


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
        check_settings(heatmaps, stride, size, channels, halvings=3)
        self.size, self.stride = size, stride
        bins, places = size // stride, (size // 8) ** 2
        self.features = nn.Sequential(plain_cnn(channels, halvings=3), nn.Conv2d(4 * channels, heatmaps, 1))
        self.across, self.down = nn.Linear(places, bins), nn.Linear(places, bins)

    def forward(self, images: Tensor) -> list[Tensor]:
        check_images(images, self.size)
        features = self.features(images).flatten(2)  # (N, C, places)
        return [self.down(features)[..., :, None] + self.across(features)[..., None, :]]
