"""Crops: the way from a photo to the network's image and back is exact."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facekp.core.crop import Crop

SIZE = (96, 96)


def test_a_crop_of_the_networks_size_is_the_image_itself(faces):
    crop = Crop.of_box(np.array([-0.5, -0.5, 95.5, 95.5]), 1.0, SIZE)
    assert (crop.left, crop.top, crop.width, crop.height) == (0, 0, 96, 96)
    assert np.array_equal(crop.cut(faces.images[0]), faces.images[0])
    points = np.array([[3.25, 90.0]])
    assert np.array_equal(crop.to_photo(points), points)
    other = Crop(-7, 30, 200, 120, (50, 96))
    np.testing.assert_allclose(other.to_source @ [3.25, 90.0, 1], other.to_photo(points)[0])


@given(st.floats(45, 175), st.floats(45, 175), st.floats(0.4, 3.5))
def test_a_mark_in_the_photo_is_found_where_the_crop_shows_it(x, y, scale):
    crop = Crop.around(np.array([110.0, 110.0]), scale, SIZE)
    rows, columns = np.mgrid[:220, :220]
    photo = (250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (3 * max(scale, 1)) ** 2))).astype(np.uint8)
    shown = crop.cut(photo).astype(float)
    inside = crop.to_crop(np.array([x, y]))
    if not (inside.min() > 12 and inside.max() < 83):
        return
    weight = np.where(shown > 20, shown, 0)
    where = np.array([(weight * axis).sum() / weight.sum() for axis in np.mgrid[:96, :96][::-1]])
    assert np.allclose(crop.to_photo(where), (x, y), atol=0.25 * max(scale, 1))


def test_a_crop_that_reaches_beyond_the_photo_repeats_its_edge():
    photo = np.tile(np.arange(50, 100, dtype=np.uint8), (50, 1))
    shown = Crop(-100, -30, 200, 200, SIZE).cut(photo)
    assert (shown[:, :40] == 50).all()
    assert (shown[:, -20:] == 99).all()
    assert Crop(-10, 200, 100, 100, SIZE).cut(photo).shape == SIZE


def test_shrinking_averages_instead_of_picking():
    photo = np.indices((960, 960)).sum(axis=0) % 2 * 255
    assert np.abs(Crop(0, 0, 960, 960, SIZE).cut(photo.astype(np.uint8)).astype(int) - 128).max() <= 1


def test_the_refined_crop_shows_the_points_as_the_mean_face(faces):
    mean = np.nanmean(faces.points[faces.source == 0], axis=0)
    crop = Crop(100, 50, 300, 300, SIZE)
    points = (mean - 48) * 0.7 + (55, 40)
    better = crop.refined(points, mean)
    assert np.allclose(better.to_crop(crop.to_photo(points)), mean, atol=0.4)
    assert crop.refined((mean - 48) * 1.04 + 51, mean) is crop  # hardly another
    assert crop.refined(points * 0 + 5, mean) is crop
    assert crop.refined(points, mean * 0) is crop  # a checkpoint without a mean face
