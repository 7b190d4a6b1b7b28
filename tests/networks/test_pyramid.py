"""The feature pyramid: sizes, and that every level takes part in the place where it lies."""

import pytest
import torch

from facekp.networks.pyramid import FeaturePyramid


@pytest.mark.parametrize(("finest", "sides", "steps"), [(4, [24, 12, 6], 0), (16, [6, 6], 2), (14, [7, 7], 2)])
def test_the_output_has_the_size_asked_for_and_depends_on_every_level(finest, sides, steps):
    pyramid = FeaturePyramid([3] * len(sides), width=8, finest=finest, stride=4)
    assert len(pyramid.enlarged) == steps
    features = [torch.rand(2, 3, side, side, requires_grad=True) for side in sides]
    maps = pyramid(features, (24, 24))
    assert maps.shape == (2, 8, 24, 24)
    maps.square().sum().backward()
    assert all(level.grad.abs().max() > 0 for level in features)


def test_levels_are_added_where_they_lie_in_the_image():
    pyramid = FeaturePyramid([1, 1], width=1, finest=4, stride=4)
    for lateral in pyramid.lateral:
        torch.nn.init.ones_(lateral.weight)
        torch.nn.init.zeros_(lateral.bias)
    pyramid.fused = torch.nn.Identity()
    across = torch.arange(24.0).expand(1, 1, 24, 24)  # the column of each cell
    coarse = torch.nn.functional.avg_pool2d(across, 4)
    maps = pyramid([across, coarse], (24, 24))
    torch.testing.assert_close(maps[..., 2:-2], 2 * across[..., 2:-2])
