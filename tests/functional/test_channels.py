"""Channels before and behind rows and columns."""

import pytest
import torch

from facekp.functional.channels import channels_first, channels_last


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 5, 7, 3)])
def test_the_way_back_gives_the_same_images(shape):
    images = torch.rand(shape)
    assert torch.equal(channels_last(channels_first(images)), images)
    assert torch.equal(channels_first(images)[:, -1], images if len(shape) == 3 else images[..., 2])
