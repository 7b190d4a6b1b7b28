"""The second look: another crop is taken only where the network is surer in it."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from facekp.core.crop import Crop, rotation
from facekp.models.prediction import Prediction
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import WholePhotoDetector
from facekp.photos.face import predict_crops
from facekp.photos.pipeline import predict_photos
from facekp.photos.reading import Photo
from facekp.photos.second_look import UNSURE, _closer_crops, second_look
from tests.photos.conftest import as_photos, colour

MEAN_FACE = np.array([[30.0, 36.0], [66.0, 36.0], [48.0, 72.0]])


class Turning:
    """Sees the mean face turned by 40 degrees in the first crops, and upright in the second ones.

    The confidence is that of ``sure`` in the order of the calls.
    """

    size, channels, mean_face, keypoints = (96, 96), 1, MEAN_FACE, SimpleNamespace(names=("a", "b", "c"))

    def __init__(self, *sure):
        self.sure, self.calls = iter(sure), 0

    def predict(self, images):
        angle = 40 if self.calls == 0 else 0
        self.calls += 1
        points = (MEAN_FACE - 47.5) @ rotation(angle).T + 47.5
        return Prediction(np.stack([points] * len(images)), np.full((len(images), 3), next(self.sure)), None, None)

    def is_mean_face(self, points):
        return np.zeros(points.shape[:-1], bool)


def look(predictor):
    photo = Photo("a", np.full((96, 96, 3), 90, np.uint8))
    first = predict_crops([Crop(0, 0, 96, 96, (96, 96))], [photo], predictor)
    return first, second_look(first, [photo], predictor)


def test_a_turned_face_is_taken_from_the_levelled_crop_if_that_is_surer():
    _, (face,) = look(Turning(0.75, 0.8))
    assert face.crop.angle == pytest.approx(40)
    assert face.mean_confidence == pytest.approx(0.8)
    np.testing.assert_allclose(face.points, (MEAN_FACE - 47.5) @ rotation(40).T + 47.5, atol=1)


@pytest.mark.parametrize("second", [0.75, 0.74, np.nan])
def test_the_first_prediction_stays_if_the_levelled_crop_is_not_surer(second):
    first, (face,) = look(Turning(0.75, second))
    assert face is first[0]


def test_no_face_gives_none():
    assert second_look([], [], Turning()) == []


def turned(image, angle):
    """A face image as part of a larger photo, turned clockwise around its centre and cut out again."""
    around = cv2.copyMakeBorder(image, 48, 48, 48, 48, cv2.BORDER_REPLICATE)
    turn = cv2.getRotationMatrix2D((95.5, 95.5), -angle, 1)
    return cv2.warpAffine(around, turn, (192, 192), flags=cv2.INTER_CUBIC)[48:144, 48:144]


@pytest.fixture(scope="module")
def predictor():
    return KeypointPredictor.from_checkpoint("shipped", decoder={"shift": 0, "scale": 0})


def errors(faces, predictor, angle, refine):
    """Median distance of the points from the labels of drawn faces that are turned."""
    dense = faces.take(np.flatnonzero(faces.source == 0)[:8])
    photos = as_photos(np.stack([turned(image, angle) for image in dense.images]))
    found = [face for _, (face,) in predict_photos(photos, predictor, WholePhotoDetector(), refine)]
    labels = (dense.points - 47.5) @ rotation(angle).T + 47.5
    return np.nanmedian(np.linalg.norm(np.stack([face.points for face in found]) - labels, axis=-1))


@pytest.mark.parametrize("angle", [60, 90, 180])
def test_drawn_faces_at_any_angle_are_predicted_better(faces, predictor, angle):
    upright = errors(faces, predictor, 0, True)
    once, twice = (errors(faces, predictor, angle, refine) for refine in (False, True))
    assert twice < once
    assert twice < 1.3 * upright + 0.2


def test_a_small_face_in_a_large_photo_is_looked_at_closely(faces, predictor):
    """detector=none takes the whole photo for the face; the detector finds it inside."""
    dense = faces.take(np.flatnonzero(faces.source == 0)[:4])
    before, after = [], []
    for image, points in zip(dense.images, dense.points, strict=True):
        photo = Photo("a", colour(cv2.copyMakeBorder(image, 150, 90, 100, 140, cv2.BORDER_REPLICATE)))
        for refine, distances in ((False, before), (True, after)):
            ((_, (face,)),) = predict_photos([photo], predictor, WholePhotoDetector(), refine)
            distances.append(np.nanmedian(np.linalg.norm(face.points - points - (100, 150), axis=-1)))
    assert np.median(before) > 2 > np.median(after)


def test_only_unsure_faces_are_searched(monkeypatch):
    searched = []
    monkeypatch.setattr("facekp.photos.second_look._closer_crops", lambda crop, *_: searched.append(crop) or [])
    look(Turning(UNSURE + 0.1, 0.1))
    assert searched == []
    look(Turning(UNSURE - 0.1, 0.1))
    assert len(searched) == 1


def test_a_long_thin_photo_is_not_looked_at_again():
    """Its crop is a square of its length; cropping that 8 times more takes minutes."""
    photo, predictor = Photo("row", np.zeros((1, 3000, 3), np.uint8)), Turning(0.1)
    first = predict_crops([Crop(0, -1500, 3000, 3000, (96, 96))], [photo], predictor)
    assert second_look(first, [photo], predictor) == first


def test_an_unsure_face_is_searched_around_its_crop_at_four_angles_and_turned_with_it():
    class FindsTwo:
        margin = 1.5

        def find(self, image):
            assert image.shape == (256, 256, 3)
            return [[0, 0, 20, 20], [63.5, 63.5, 191.5, 191.5]]  # the larger one in the middle

    crop = Crop(150, 120, 96, 96, (96, 96)).turned(30)
    crops = _closer_crops(crop, Photo("a", np.zeros((400, 400, 3), np.uint8)), FindsTwo())
    assert [round(each.angle) for each in crops] == [30, 120, 120, -150, -150, -60, -60]
    around = 1.5 * 96 / 256  # pixels of the photo in one of the square
    found = round(1.5 * 128 * around)
    assert [each.width for each in crops] == [found, found, 96, found, 96, found, 96]
    for each in crops:
        np.testing.assert_allclose(each.centre, crop.centre, atol=1)
