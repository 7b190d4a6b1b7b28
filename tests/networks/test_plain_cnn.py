"""The plain convolutional features, and checks of image sizes."""

import pytest
import torch

from facekp.core.errors import UserError
from facekp.networks.plain_cnn import check_image_size, check_stride, plain_cnn


@pytest.mark.parametrize(("halvings", "inputs"), [(1, 1), (3, 3)])
def test_the_width_doubles_and_the_size_halves_with_each_level(halvings, inputs):
    features = plain_cnn(channels=4, halvings=halvings, inputs=inputs)(torch.rand(2, inputs, 32, 48))
    assert features.shape == (2, 4 * 2 ** (halvings - 1), 32 // 2**halvings, 48 // 2**halvings)


def test_a_stride_must_divide_the_size():
    check_stride(4, 96)
    with pytest.raises(UserError, match=r"stride=7: must divide model\.network\.size=96; choose one of 1, 2, 3, 4, 6"):
        check_stride(7, 96)


def test_images_must_have_the_network_s_size():
    check_image_size(torch.rand(1, 1, 96, 96), 96)
    with pytest.raises(UserError, match="96 x 80 pixels"):
        check_image_size(torch.rand(1, 1, 96, 80), 96)
