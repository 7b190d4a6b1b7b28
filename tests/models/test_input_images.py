"""Images of callers: shapes and numbers that are taken as a batch, and those that are refused."""

import numpy as np
import pytest
import torch

from facekp.core.errors import UserError
from facekp.models.input_images import as_batch, is_single

COLOUR = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "images", [COLOUR, COLOUR.transpose(0, 3, 1, 2), torch.from_numpy(COLOUR).double()], ids=["last", "first", "tensor"]
)
def test_colours_may_come_last_or_first(images):
    batch = as_batch(images, (5, 7), 3)
    assert batch.dtype == torch.float32
    np.testing.assert_array_equal(batch, COLOUR.transpose(0, 3, 1, 2))
    assert not is_single(images, 3)


def test_one_colour_image_has_three_axes_and_one_grey_image_two():
    np.testing.assert_array_equal(as_batch(COLOUR[0], (5, 7), 3)[0], COLOUR[0].transpose(2, 0, 1))
    np.testing.assert_array_equal(as_batch(COLOUR[0, ..., 0], (5, 7), 1)[0, 0], COLOUR[0, ..., 0])
    assert is_single(COLOUR[0], 3)
    assert not is_single(COLOUR[0], 1)
    assert is_single(COLOUR[0, ..., 0], 1)


def test_the_last_axis_of_one_image_may_be_its_channels():
    assert is_single(COLOUR[0, ..., :1], 1)
    np.testing.assert_array_equal(as_batch(COLOUR[0, ..., :1], (5, 7), 1)[0, 0], COLOUR[0, ..., 0])
    np.testing.assert_array_equal(as_batch(COLOUR[0].transpose(2, 0, 1), (5, 7), 3)[0], COLOUR[0].transpose(2, 0, 1))
    for channels in (3, 4):  # the rows were read as grey crops
        with pytest.raises(UserError, match=r"\(96, 96, .\), which is one colour image; convert it to grey \(H, W\)"):
            as_batch(torch.ones(96, 96, channels), (96, 96), 1)


def test_an_image_with_transparency_is_not_taken_for_narrow_crops():
    with pytest.raises(UserError, match=r"\(96, 96, 2\), which is one image of grey and transparency; convert it"):
        as_batch(np.ones((96, 96, 2), np.uint8), (96, 96), 1)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 5, 7, device="meta"),
        torch.zeros(2, 5, 7).to_sparse(),
        torch.zeros(2, 5, 7, dtype=torch.complex64),
    ],
    ids=["meta", "sparse", "complex"],
)
def test_a_tensor_without_plain_numbers_is_refused(images):
    with pytest.raises(
        UserError, match=r"^images: a tensor of torch\.\w+, torch\.\w+, on \w+; give a dense one of levels"
    ):
        as_batch(images, (5, 7), 1)


def test_a_black_image_of_fractions_is_taken():
    assert as_batch(np.zeros((1, 5, 7)), (5, 7), 1).shape == (1, 1, 5, 7)


@pytest.mark.parametrize("shape", [(2, 96, 96), (96, 96), (2, 1, 96, 96), (2, 96, 96, 4), (0, 96, 3)])
def test_a_network_for_colour_says_which_shapes_it_takes(shape):
    with pytest.raises(UserError, match=r"images: of shape \(.*; give colour crops \(N, 96, 96, 3\), \(N, 3, 96, 96\)"):
        as_batch(np.full(shape, 9), (96, 96), 3)
