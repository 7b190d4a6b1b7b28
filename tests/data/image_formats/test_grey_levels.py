"""Grey levels of more than 8 bits: the scale is that of the depth in use."""

import numpy as np
import pytest

from facekp.data.image_formats.grey_levels import Extent, Scales, common_scales, extent_of, is_dark, scale_of, to_8_bits

GREY = np.arange(40, 201, dtype=np.uint8)  # what the photos of these tests show


def stored(low, high, dtype):
    """The photo with its levels 0..255 mapped to low..high."""
    return (low + GREY / 255 * (high - low)).astype(dtype)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16, 24])
def test_integers_are_scaled_by_the_depth_that_they_use(bits):
    levels = np.rint(GREY / 255.0 * (2**bits - 1)).astype(np.int32)
    assert np.abs(to_8_bits(levels).astype(int) - GREY).max() <= 1


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255), (0, 4095), (0, 65535)])
def test_floating_point_levels_are_recognised_by_their_extent(low, high):
    assert np.abs(to_8_bits(stored(low, high, np.float32)).astype(int) - GREY).max() <= 1


def test_levels_slightly_outside_their_scale_are_clipped():
    levels = np.array([-0.03, 0.0, 0.5, 1.0, 1.04], np.float32)
    assert to_8_bits(levels).tolist() == [0, 0, 128, 255, 255]
    assert scale_of(Extent(-3, 258, whole=False)).white == 255


def test_nan_and_infinities_are_black_and_white_and_do_not_change_the_scale():
    levels = np.array([np.nan, -np.inf, 0.5, 1.0, np.inf], np.float32)
    assert to_8_bits(levels).tolist() == [0, 0, 128, 255, 255]
    with pytest.raises(ValueError, match="every grey level is NaN or infinite"):
        extent_of(np.full((2, 2), np.nan))


@pytest.mark.parametrize(
    "extent", [Extent(-2.1, 2.6, whole=False), Extent(-128, 127, whole=False), Extent(-5, 900, whole=True)]
)
def test_levels_of_no_known_scale_are_refused(extent):
    with pytest.raises(ValueError, match=rf"grey levels from {extent.low:g} to {extent.high:g} are of no known scale"):
        scale_of(extent)


def test_photos_that_belong_together_share_the_largest_scale():
    bright, dim = Extent(0, 4000, whole=True), Extent(0, 900, whole=True)
    scales = common_scales([dim, bright, Extent(0, 0.9, whole=False), Extent(-0.5, 0.9, whole=False)])
    assert scales == Scales(whole=(0, 4095), fractional=(-1, 1))
    assert to_8_bits(np.array([900]), scales).tolist() == [56]
    assert to_8_bits(np.array([900])).tolist() == [224]
    assert common_scales([]) == Scales()


def test_a_photo_that_uses_little_of_the_scale_is_dark():
    scales = common_scales([Extent(0, 255, whole=True), Extent(0, 60000, whole=True)])
    assert is_dark(Extent(0, 255, whole=True), scales)
    assert not is_dark(Extent(0, 60000, whole=True), scales)
    assert is_dark(Extent(0, 1.2, whole=False), Scales())
    assert not is_dark(Extent(0, 1.0, whole=False), Scales())
    assert is_dark(Extent(60000, 65535, whole=True, is_negative=True), Scales())
    assert not is_dark(Extent(0, 255, whole=True, is_negative=True), scales)


def test_in_a_negative_the_lowest_level_is_white_and_nan_is_black():
    levels = np.array([0, 0.5, 1, np.nan], np.float32)
    assert to_8_bits(levels, is_negative=True).tolist() == [255, 127, 0, 0]
