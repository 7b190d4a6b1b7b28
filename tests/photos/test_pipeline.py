"""From photos to faces: batches, refined crops, memory."""

import weakref
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from facekp.core.crop import Crop, rotation
from facekp.core.errors import UserError
from facekp.models.prediction import Prediction
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import WholePhotoDetector
from facekp.photos.pipeline import (
    MAX_WAITING,
    MIN_CONFIDENCE,
    Dropped,
    Face,
    find_crops,
    predict_photos,
    without_repeated,
)
from facekp.photos.reading import Photo, read_photos
from facekp.photos.tracking import FaceTracker
from tests.conftest import config_of
from tests.photos.conftest import as_photos, write_video

MEAN_FACE = np.array([[30.0, 36.0], [66.0, 36.0], [48.0, 72.0]])


class Blind:
    """Finds no face."""

    margin = 1.0

    def find(self, image):
        return np.empty((0, 4))


class FakePredictor:
    """Bright photos show the mean face, dark ones a smaller face at first; each call is surer than the one before."""

    size, channels, mean_face, keypoints = (96, 96), 1, MEAN_FACE, SimpleNamespace(names=("a", "b", "c"))

    def __init__(self, expected_error=None):
        self.calls, self.expected_error = [], expected_error

    def predict(self, images):
        self.calls.append([int(image.mean()) for image in images])
        fits = [image.mean() > 99 or len(self.calls) % 2 == 0 for image in images]
        points = np.stack([MEAN_FACE if fit else 0.6 * MEAN_FACE + 20 for fit in fits])
        errors = None if self.expected_error is None else np.full((len(images), 3), self.expected_error)
        return Prediction(points, np.full((len(images), 3), 0.8 + 0.01 * len(self.calls)), None, errors)

    def is_mean_face(self, points):
        return (points == MEAN_FACE).all(axis=-1)


def levels(*grey):
    return [Photo(f"{level}.png", np.full((192, 192, 3), level, np.uint8)) for level in grey]


def test_batch_size_and_order_do_not_change_the_points(faces, small_predictor):
    photos = as_photos(faces.images[:5])
    single, batched = (
        list(predict_photos(photos, small_predictor, WholePhotoDetector(), batch=batch)) for batch in (1, 3)
    )
    assert [photo.file for photo, _ in batched] == list("01234")
    for (_, a), (_, b) in zip(single, batched, strict=True):
        assert isinstance(a[0], Face)
        assert np.allclose(a[0].points, b[0].points, atol=1e-3)


def test_only_a_face_whose_box_is_far_off_is_predicted_again():
    predictor = FakePredictor()
    good, off, _ = (faces[0] for _, faces in predict_photos(levels(200, 40, 210), predictor, WholePhotoDetector()))
    assert predictor.calls == [[200, 40, 210], [40]]
    assert good.crop.width == 192
    assert off.crop.width == 115
    once = list(predict_photos(levels(200, 40), predictor, WholePhotoDetector(), refine=False))
    assert once[1][1][0].crop.width == 192
    assert predictor.calls[2:] == [[200, 40]]


def test_points_and_expected_errors_are_in_pixels_of_the_photo():
    ((_, (face,)),) = predict_photos(levels(200), FakePredictor(0.5), WholePhotoDetector())
    assert np.allclose(face.points, 2 * (MEAN_FACE + 0.5) - 0.5)
    assert face.expected_error.tolist() == [1.0, 1.0, 1.0]
    assert face.box == (-0.5, -0.5, 191.5, 191.5)


def test_photos_without_a_face_keep_their_position():
    class SeesBright(WholePhotoDetector):
        def find(self, image):
            return super().find(image) if image.mean() > 99 else np.empty((0, 4))

    found = list(predict_photos(levels(40, 200, 50, 210, 60), FakePredictor(), SeesBright(), batch=2))
    assert [photo.file for photo, _ in found] == ["40.png", "200.png", "50.png", "210.png", "60.png"]
    assert [len(faces) for _, faces in found] == [0, 1, 0, 1, 0]


def test_the_margin_of_the_detector_enlarges_the_crop():
    class Wide:
        margin = 1.5

        def find(self, image):
            return [[50, 50, 100, 100]]  # centre 75, side 50

    ((_, (face,)),) = predict_photos(levels(200), FakePredictor(), Wide())
    assert (face.crop.left, face.crop.width) == (75 - 37, 75)


def test_a_detector_that_returns_no_boxes_is_named():
    class Wrong(Blind):
        def find(self, image):
            return np.ones((3, 2))

    with pytest.raises(UserError, match=r"face detector Wrong: find returned an array of shape \(3, 2\)"):
        list(predict_photos(levels(200), FakePredictor(), Wrong()))


@pytest.mark.parametrize(
    ("image", "changed", "message"),
    [
        (np.zeros((9, 9, 3)), {}, r"a\.png: the image is an array float64 \(9, 9, 3\); give uint8"),
        (np.zeros((9, 9), np.uint8), {}, r"a\.png: the image is an array uint8 \(9, 9\); give uint8"),
        (np.zeros((0, 9, 3), np.uint8), {}, r"a\.png: the image is an array uint8 \(0, 9, 3\); give uint8"),
        ("a.png", {}, r"a\.png: the image is a str; give an array"),
        (np.zeros((9, 9, 3), np.uint8), {"min_confidence": -3}, "min_confidence=-3: must be at least 0"),
        (np.zeros((9, 9, 3), np.uint8), {"detector": object()}, "detector: object needs a method find"),
    ],
)
def test_mistakes_in_the_arguments_are_named(image, changed, message):
    given = {"detector": Blind(), **changed}
    with pytest.raises(UserError, match=f"^{message}"):
        list(predict_photos([Photo("a.png", image)], FakePredictor(), **given))


@pytest.mark.parametrize("given", ["shipped", None])
def test_what_is_no_predictor_is_refused(given):
    for use in (lambda: list(predict_photos([], given, Blind())), lambda: FaceTracker(given, Blind())):
        with pytest.raises(UserError, match=rf"^predictor={given!r}: is not a predictor; give KeypointPredictor\."):
            use()


@pytest.mark.parametrize("given", ["a.png", np.zeros((9, 9, 3), np.uint8), None])
def test_what_is_no_photo_is_refused(given):
    tracker = FaceTracker(FakePredictor(), Blind())
    for use in (lambda: list(predict_photos([given], FakePredictor(), Blind())), lambda: tracker.update(given)):
        with pytest.raises(UserError, match=rf"^photos: one is a {type(given).__name__}; give facekp\.photos\.reading"):
            use()


def test_a_detector_that_draws_on_the_photo_changes_nothing():
    class Drawing(Blind):
        def find(self, image):
            image[:] = 0
            return [[50, 50, 100, 100]]

    photo = Photo("a.png", np.full((200, 200, 3), 90, np.uint8))
    list(predict_photos([photo], FakePredictor(), Drawing()))
    assert (photo.image == 90).all()


def test_faces_can_be_compared_and_kept_in_sets():
    ((_, (face,)),) = predict_photos(levels(200), FakePredictor(), WholePhotoDetector())
    ((_, (other,)),) = predict_photos(levels(200), FakePredictor(), WholePhotoDetector())
    assert face in [other, face]
    assert face != other
    assert len({face, other, face}) == 2


def test_a_long_video_takes_no_more_memory_than_a_short_one(tmp_path):
    """Counts the frames that exist at once: a batch never takes more bytes than allowed."""
    write_video(tmp_path / "long.mp4", np.full((480, 640), 90, np.uint8), 300)
    frames, most = [], 0

    def watched():
        nonlocal most
        for photo in read_photos(str(tmp_path / "long.mp4")):
            frames.append(weakref.ref(photo))
            most = max(most, sum(frame() is not None for frame in frames))
            yield photo

    assert sum(1 for _ in predict_photos(watched(), FakePredictor(), Blind())) == 300
    assert most < MAX_WAITING / (640 * 480 * 3) + 3


def turned_photos(faces, quarters):
    """Drawn faces in larger photos, which are turned anticlockwise by quarters."""
    images = [cv2.resize(np.pad(image, 48, mode="edge"), (288, 288)) for image in faces.images[:6]]
    return as_photos(np.stack([np.rot90(image, quarters) for image in images]))


def test_faces_of_photos_lying_on_their_side_or_upside_down_have_the_points_of_the_upright_ones(faces):
    """Where nothing is found upright, the photo is searched at the detector's other angles."""
    predictor = KeypointPredictor.from_checkpoint("shipped", decoder={"shift": 0, "scale": 0})

    class Upright:
        """Finds the face in the middle if its forehead is at the top, as the photos' names say."""

        margin, turns = 1.0, (90, 180, 270)

        def __init__(self, images):
            self.images = images

        def find(self, image):
            known = any(np.array_equal(image, other) for other in self.images)
            return [[71.5, 71.5, 215.5, 215.5]] if known else []

    upright = turned_photos(faces, 0)
    detector = Upright([photo.image for photo in upright])
    expected = [face.points for _, (face,) in predict_photos(upright, predictor, detector, False)]
    for quarters, angle in ((1, -90), (2, -180), (3, 90)):
        found = [face for _, (face,) in predict_photos(turned_photos(faces, quarters), predictor, detector, False)]
        assert {face.crop.angle for face in found} == {angle}
        for face, points in zip(found, expected, strict=True):
            there = (points - 143.5) @ rotation(angle).T + 143.5
            np.testing.assert_allclose(face.points, there, atol=1e-3)


def test_boxes_with_unsure_points_are_dropped_and_counted():
    class Detector(WholePhotoDetector):
        searches = True

    class Unsure(FakePredictor):
        def predict(self, images):
            sure = np.array([[image.mean() / 250] * 3 for image in images])
            return super().predict(images)._replace(confidence=sure)

    def kept(detector, floor):
        dropped = Dropped()
        found = predict_photos(levels(200, 110, 240), Unsure(), detector, False, 64, floor, dropped)
        return [len(faces) for _, faces in found], dropped.boxes

    assert kept(Detector(), 0.5) == ([1, 0, 1], 1)
    assert kept(Detector(), 0.9) == ([0, 0, 1], 2)
    assert kept(Detector(), None) == ([1, 1, 1], 0)
    assert kept(WholePhotoDetector(), 0.9) == ([1, 1, 1], 0)  # detector=none finds nothing that could be false


def test_the_default_floor_of_python_is_that_of_the_commands():
    assert config_of(name="predict")["min_confidence"] == MIN_CONFIDENCE
    assert config_of(name="app")["min_confidence"] == MIN_CONFIDENCE


class SureOfLying(FakePredictor):
    """Is sure of crops whose upper edge is bright."""

    def predict(self, images):
        sure = np.array([[0.9 if image[:20].mean() > 99 else 0.1] * 3 for image in images])
        return super().predict(images)._replace(confidence=sure)


def lying_face():
    image = np.full((192, 192, 3), 20, np.uint8)
    image[:, 120:] = 200  # bright at the right, where the forehead is
    return Photo("a", image)


def test_a_photo_whose_boxes_are_all_dropped_is_searched_at_other_angles():
    class Lying:
        """Finds a box at every angle; the face is turned by 90 degrees."""

        margin, turns = 1.0, (90, 180)

        def find(self, image):
            return [[-0.5, -0.5, 191.5, 191.5]]

    dropped = Dropped()
    ((_, faces),) = predict_photos([lying_face()], SureOfLying(), Lying(), False, 64, 0.5, dropped)
    assert [face.crop.angle for face in faces] == [90]
    assert dropped.boxes == 1


def test_two_boxes_that_end_at_the_same_points_are_one_face():
    class Twice(WholePhotoDetector):
        def find(self, image):
            return [[-0.5, -0.5, 191.5, 191.5], [2.5, 2.5, 194.5, 194.5], [95.5, 95.5, 191.5, 191.5]]

    ((_, faces),) = predict_photos(levels(200), FakePredictor(), Twice(), refine=False)
    assert [face.crop.left for face in faces] == [0, 96]


def test_a_box_that_is_found_twice_is_not_counted_as_dropped():
    class Twice:
        margin = 1.0

        def find(self, image):
            return [[-0.5, -0.5, 191.5, 191.5]] * 2

    dropped = Dropped()
    ((_, faces),) = predict_photos(levels(200), FakePredictor(), Twice(), False, 64, 0.5, dropped)
    assert (len(faces), dropped.boxes) == (1, 0)


@pytest.mark.parametrize(("angle", "centre"), [(90, (89.5, 19.5)), (180, (99.5, 49.5)), (270, (29.5, 59.5))])
def test_a_box_of_a_turned_photo_is_at_its_place_in_the_photo_whatever_its_shape(angle, centre):
    """The box around (19.5, 29.5) of the turned photo; the photo is 120 pixels wide and 80 high."""

    class AtOneAngle:
        margin, turns = 1.0, (90, 180, 270)

        def find(self, image):
            return [[9.5, 19.5, 29.5, 39.5]] if image.tobytes() == np.rot90(photo, angle // 90).tobytes() else []

    photo = np.random.default_rng(0).integers(0, 255, (80, 120, 3), dtype=np.uint8)
    (crop,) = find_crops(Photo("a", photo), AtOneAngle(), (96, 96))
    assert tuple(crop.centre) == centre
    assert crop.angle % 360 == angle


def test_a_photo_is_searched_on_until_an_angle_at_which_faces_are_sure():
    class LyingTwice:
        margin, turns = 1.0, (180, 90)

        def find(self, image):
            return [[-0.5, -0.5, 191.5, 191.5]] * 2

    ((_, faces),) = predict_photos([lying_face()], SureOfLying(), LyingTwice(), False, 64, 0.5)
    assert [face.crop.angle for face in faces] == [90]


def test_of_faces_with_the_same_points_the_surest_is_kept_in_the_order_of_the_boxes():
    def face(left, sure, width=100):
        return Face(Crop(left, 0, width, width, (96, 96)), MEAN_FACE + left, np.full(3, sure), None)

    unsure, surer, other = face(0, 0.6), face(2, 0.7), face(300, 0.9)
    assert without_repeated([unsure, other, surer]) == [other, surer]
    assert without_repeated([surer, unsure, other]) == [surer, other]
    small, large = face(0, 0.6, width=20), face(10, 0.7, width=200)  # 10 pixels are half the small one's side
    assert without_repeated([small, large]) == [small, large]
