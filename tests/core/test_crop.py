"""Crops: the way from a photo to the network's image and back is exact."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facekp.core.crop import Crop, rotation

SIZE = (96, 96)


def test_a_crop_of_the_networks_size_is_the_image_itself(faces):
    crop = Crop.of_box(np.array([-0.5, -0.5, 95.5, 95.5]), 1.0, SIZE)
    assert (crop.left, crop.top, crop.width, crop.height) == (0, 0, 96, 96)
    assert np.array_equal(crop.cut(faces.images[0]), faces.images[0])
    points = np.array([[3.25, 90.0]])
    assert np.array_equal(crop.to_photo(points), points)
    other = Crop(-7, 30, 200, 120, (50, 96))
    np.testing.assert_allclose(other.photo_matrix @ [3.25, 90.0, 1], other.to_photo(points)[0])


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


def test_the_crop_of_a_box_is_the_smallest_of_its_aspect_ratio_that_holds_it():
    wide, tall = np.array([10.0, 20.0, 130.0, 60.0]), np.array([10.0, 20.0, 50.0, 140.0])
    for box, width, height in ((wide, 120, 80), (tall, 180, 120)):
        crop = Crop.of_box(box, 1.0, (64, 96))
        assert (crop.width, crop.height) == (width, height)
        np.testing.assert_allclose(crop.centre, (box[:2] + box[2:]) / 2, atol=0.5)
    grown = Crop.of_box(wide, 1.5, (64, 96))
    assert (grown.width, grown.height) == (180, 120)
    point = Crop.of_box(np.array([10.0, 20.0, 10.0, 20.0]), 1.5, SIZE)
    assert (point.width, point.height) == (1, 1)


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


@pytest.mark.parametrize("scale", [0.3, 0.8, 1.25, 3.5])
def test_points_of_another_size_in_the_same_place_give_a_crop_of_their_size(faces, scale):
    mean = np.nanmean(faces.points[faces.source == 0], axis=0)
    crop, centre = Crop(100, 50, 300, 300, SIZE), mean.mean(axis=0)
    better = crop.refined((mean - centre) * scale + centre, mean)
    assert better.width == pytest.approx(300 * scale, abs=1)


@pytest.mark.parametrize("scale", [0.2, 5.0])
def test_points_of_a_size_that_no_face_has_do_not_change_the_crop(faces, scale):
    mean = np.nanmean(faces.points[faces.source == 0], axis=0)
    crop = Crop(100, 50, 300, 300, SIZE)
    assert crop.refined((mean - 48) * scale + 48, mean) is crop


@pytest.mark.parametrize("angle", [0, 50])
def test_a_mean_face_beside_the_middle_stays_there(faces, angle):
    mean = np.nanmean(faces.points[faces.source == 0], axis=0) + np.array([14, -11])
    crop = Crop(100, 50, 300, 300, SIZE)
    points = (mean - 48) @ rotation(angle).T * 0.6 + (55, 40)
    assert np.allclose(crop.refined(points, mean).to_crop(crop.to_photo(points)), mean, atol=0.4)


def blob(x, y, shape=(220, 220), sigma=4.0):
    """A photo with one bright spot."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))).astype(np.uint8)


def middle_of(shown):
    """Where the bright spot is."""
    weight = np.where(shown > 20, shown, 0).astype(float)
    return np.array(
        [(weight * axis).sum() / weight.sum() for axis in np.mgrid[: shown.shape[0], : shown.shape[1]][::-1]]
    )


@given(st.floats(-180, 180), st.floats(70, 150), st.floats(70, 150), st.floats(0.6, 2.5))
def test_a_mark_is_found_where_a_turned_crop_shows_it(angle, x, y, scale):
    crop = Crop.around(np.array([110.0, 108.0]), scale, SIZE).turned(angle)
    inside = crop.to_crop(np.array([x, y]))
    np.testing.assert_allclose(crop.to_photo(inside), (x, y), atol=1e-9)
    np.testing.assert_allclose(crop.photo_matrix @ [*inside, 1], (x, y), atol=1e-9)
    if inside.min() > 16 and inside.max() < 79:
        assert np.allclose(crop.to_photo(middle_of(crop.cut(blob(x, y)))), (x, y), atol=0.25 * max(scale, 1))


@pytest.mark.parametrize("height", [96, 97])  # turned around its centre, a crop of 96 x 97 pixels halves the outermost
@pytest.mark.parametrize("angle", [90, 180, -90])
def test_a_mark_is_found_where_a_crop_of_a_quarter_turn_shows_it(angle, height):
    crop = Crop(60, 50, 96, height, SIZE).turned(angle)
    np.testing.assert_allclose(crop.to_photo(middle_of(crop.cut(blob(95, 120)))), (95, 120), atol=0.05)


def test_the_angle_of_a_crop_is_that_of_the_face_in_the_photo():
    """A mark to the right of the middle is above it in a crop that is turned clockwise by 90 degrees."""
    crop = Crop.around(np.array([100.0, 100.0]), 1, SIZE).turned(90)
    np.testing.assert_allclose(crop.to_crop(np.array([130.0, 99.5])), [47.5, 17.5], atol=1)


def test_quarter_turns_show_the_turned_photo_to_the_bit(faces):
    photo = np.hstack([np.pad(image, ((20, 34), (0, 0))) for image in faces.images[:3]])
    for quarters in (1, 2, 3, -1):
        upright = Crop(10, 7, 130, 120, (50, 60))
        turned = np.rot90(photo, quarters)
        crop = upright.to_turned_photo(-quarters, turned.shape)
        assert crop.angle == (90 * quarters + 180) % 360 - 180
        assert np.array_equal(crop.cut(photo), upright.cut(turned))
        assert crop.to_turned_photo(quarters, photo.shape) == upright


def test_a_turned_crop_is_as_sharp_as_an_upright_one(faces):
    """A photo is turned by 30 degrees at 8 times its size, and cropped back."""
    image = cv2.resize(faces.images[0], None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    around = cv2.copyMakeBorder(image, 300, 300, 300, 300, cv2.BORDER_REPLICATE)
    middle = (around.shape[0] - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), -30, 1)  # clockwise
    photo = cv2.warpAffine(around, turn, around.shape[::-1], flags=cv2.INTER_CUBIC)
    upright = Crop(300, 300, 768, 768, SIZE)
    difference = upright.turned(30).cut(photo).astype(int) - upright.cut(around)
    assert np.abs(difference[20:-20, 20:-20]).max() <= 12
    assert np.abs(difference[20:-20, 20:-20]).mean() < 1


def test_colours_are_cut_as_grey_levels_are(faces):
    photo = np.stack([faces.images[0], faces.images[1], faces.images[2]], axis=-1)
    for crop in (Crop(-5, 4, 70, 66, SIZE), Crop(-5, 4, 70, 66, SIZE).turned(33)):
        grey = np.stack([crop.cut(photo[..., c]) for c in range(3)], axis=-1)
        assert np.abs(crop.cut(photo).astype(int) - grey).max() <= 1  # OpenCV rounds otherwise


def test_a_turned_crop_beyond_the_photo_repeats_its_edge():
    assert (Crop(-400, -300, 1000, 1000, SIZE).turned(45).cut(np.full((30, 40), 77, np.uint8)) == 77).all()


@pytest.mark.parametrize("angle", [-150, -60, -25, 25, 45, 60, 120])
def test_a_turned_face_gets_a_crop_that_levels_it(faces, angle):
    mean = np.nanmean(faces.points[faces.source == 0], axis=0)
    crop = Crop(100, 50, 300, 300, SIZE)
    points = (mean - 48) @ rotation(angle).T * 0.8 + (50, 44)
    better = crop.refined(points, mean)
    assert np.isclose(better.angle, angle, atol=1e-3)
    assert np.allclose(better.to_crop(crop.to_photo(points)), mean, atol=0.4)
    assert better.refined(better.to_crop(crop.to_photo(points)), mean) is better


def test_a_face_that_is_turned_in_its_place_is_levelled(faces):
    mean = np.nanmean(faces.points[faces.source == 0], axis=0)
    centre = mean.mean(axis=0)
    crop = Crop(100, 50, 300, 300, SIZE)
    assert np.isclose(crop.refined((mean - centre) @ rotation(-30).T + centre, mean).angle, -30, atol=1e-3)


def test_a_turned_crop_is_turned_further(faces):
    mean = np.nanmean(faces.points[faces.source == 0], axis=0)
    crop = Crop(100, 50, 300, 300, SIZE).turned(40)
    points = (mean - 48) @ rotation(35).T * 0.8 + (50, 44)
    better = crop.refined(points, mean)
    assert np.isclose(better.angle, 75, atol=1e-3)
    assert np.allclose(better.to_crop(crop.to_photo(points)), mean, atol=0.4)


def test_a_face_that_is_turned_little_is_not_levelled(faces):
    mean = np.nanmean(faces.points[faces.source == 0], axis=0)
    points = (mean - 48) @ rotation(8).T * 0.7 + (55, 40)
    assert Crop(100, 50, 300, 300, SIZE).refined(points, mean).angle == 0


def test_a_box_found_in_a_turned_crop_gives_its_crop_in_the_photo():
    outer = Crop(40, 60, 200, 200, (100, 100)).turned(30)
    inner = outer.crop_of_box(np.array([19.5, 29.5, 59.5, 69.5]), 1.5, SIZE)
    assert (inner.width, inner.height, inner.angle) == (120, 120, 30)
    np.testing.assert_allclose(inner.centre, outer.to_photo(np.array([39.5, 49.5])), atol=0.5)


def test_corners_follow_the_turn():
    crop = Crop(10, 20, 40, 40, SIZE)
    assert crop.corners.tolist() == [[9.5, 19.5], [49.5, 19.5], [49.5, 59.5], [9.5, 59.5]]
    np.testing.assert_allclose(crop.turned(90).corners[0], [49.5, 19.5])
    np.testing.assert_allclose(crop.turned(33).corners[0], crop.turned(33).to_photo(np.array([-0.5, -0.5])))
