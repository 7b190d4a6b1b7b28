"""Grey levels and colours of one image."""

import numpy as np
import pytest

from facekp.core.channels import checked_channels, to_colour, to_grey, with_channels

PHOTO = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def test_grey_levels_weigh_red_green_and_blue_as_in_bt_601():
    expected = (PHOTO * [0.299, 0.587, 0.114]).sum(axis=2)
    np.testing.assert_allclose(to_grey(PHOTO), expected, atol=0.51)
    np.testing.assert_array_equal(with_channels(PHOTO, 1), to_grey(PHOTO))
    assert with_channels(PHOTO, 3) is PHOTO


def test_a_grey_image_in_colour_is_grey():
    grey = to_grey(PHOTO)
    assert to_grey(grey) is grey
    np.testing.assert_array_equal(to_grey(to_colour(grey)), grey)


@pytest.mark.parametrize("value", [2, 0, "3", None])
def test_a_file_states_one_or_three_channels(value):
    assert checked_channels(3) == 3
    with pytest.raises(ValueError, match="only 1 and 3 are possible"):
        checked_channels(value)
