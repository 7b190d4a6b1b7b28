"""Finding and cropping: boxes become crops whose way to the network and back is exact."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.photos.detection_benchmark import paste
from facekp.photos.detectors import HaarDetector, build_face_detector
from tests.conftest import config_of

HAAR = config_of(name="predict")["detector"]
SIZE = (96, 96)


def test_the_cascade_finds_drawn_faces_where_they_were_pasted(faces):
    detector = build_face_detector(HAAR)
    found = 0
    for i, image in enumerate(faces.images[:20]):
        scene, true = paste(image, 2.0, np.random.default_rng(i))
        middles = [(box[:2] + box[2:]) / 2 - (true.left, true.top) for box in detector.find(scene)]
        found += any(np.abs(middle / true.width - 0.5).max() < 0.25 for middle in middles)
    assert found >= 8  # it is made for photos


def test_a_large_photo_is_searched_shrunk_and_its_boxes_are_its_own(faces):
    scenes = [paste(image, 2.0, np.random.default_rng(i))[0] for i, image in enumerate(faces.images[:20])]
    scene = next(scene for scene in scenes if len(HaarDetector(1.1, 3, 24, 1600).find(scene)) == 1)
    large = cv2.resize(scene, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    (small_box,), (box,) = (
        HaarDetector(1.1, 3, 24, 1600).find(scene),
        HaarDetector(1.1, 3, 24, max(scene.shape)).find(large),
    )
    assert np.allclose(box, 6 * (small_box + 0.5) - 0.5, atol=40)


def test_no_face_and_too_small_a_photo_give_no_box():
    for shape in ((1, 1), (10, 300), (200, 200)):
        assert HaarDetector(1.1, 3, 24, 1600).find(np.full(shape, 90, np.uint8)).shape == (0, 4)


def test_whole_takes_the_image_and_an_unknown_name_is_told():
    box = build_face_detector({"name": "none"}).find(np.zeros((40, 60), np.uint8))
    assert box.tolist() == [[-0.5, -0.5, 59.5, 39.5]]
    with pytest.raises(UserError, match=r"detector.name: 'x' is unknown; choose one of haar, none"):
        build_face_detector({"name": "x"})


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
