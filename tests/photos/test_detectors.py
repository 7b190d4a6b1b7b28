"""Face detectors: what they find, their settings, and detectors from plug-ins."""

from typing import Annotated

import cv2
import numpy as np
import pytest
from pydantic import Field

from facekp.core.errors import UserError
from facekp.photos.detection_benchmark import paste
from facekp.photos.detectors import (
    FACE_DETECTORS,
    FaceDetector,
    HaarDetector,
    WholePhotoDetector,
    build_face_detector,
    find_boxes,
)
from tests.conftest import config_of

HAAR = config_of(name="predict")["detector"]


def parse(**changes):
    return FACE_DETECTORS.parse({**HAAR, **changes})


def haar(longest=1600):
    return HaarDetector(step=1.1, neighbours=3, smallest=24, longest=longest)


def test_the_cascade_finds_drawn_faces_where_they_were_pasted(faces):
    detector = build_face_detector(parse())
    found = 0
    for i, image in enumerate(faces.images[:20]):
        scene, true = paste(image, 2.0, np.random.default_rng(i))
        middles = [(box[:2] + box[2:]) / 2 - (true.left, true.top) for box in detector.find(scene)]
        found += any(np.abs(middle / true.width - 0.5).max() < 0.25 for middle in middles)
    assert found >= 8  # the cascade is made for photos


def test_boxes_of_a_shrunk_photo_are_in_the_photo_s_pixels(faces):
    scenes = [paste(image, 2.0, np.random.default_rng(i))[0] for i, image in enumerate(faces.images[:20])]
    scene = next(scene for scene in scenes if len(haar().find(scene)) == 1)
    large = cv2.resize(scene, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    (small_box,), (box,) = haar().find(scene), haar(longest=max(scene.shape)).find(large)
    assert np.allclose(box, 6 * (small_box + 0.5) - 0.5, atol=40)


def test_no_face_and_too_small_a_photo_give_no_box():
    for shape in ((1, 1), (10, 300), (200, 200)):
        assert haar().find(np.full(shape, 90, np.uint8)).shape == (0, 4)


def test_overlapping_boxes_are_one_face(monkeypatch):
    hits = np.array([[0, 0, 100, 100], [10, 10, 100, 100], [200, 0, 50, 50]])  # left, top, width, height
    scores = np.array([1.0, 2.0, 0.5])
    detector = haar()
    detector.__dict__["_cascade"] = type("Cascade", (), {"detectMultiScale3": lambda *_, **__: (hits, None, scores)})()
    boxes = detector.find(np.zeros((300, 300), np.uint8))
    assert boxes.tolist() == [[9.5, 9.5, 109.5, 109.5], [199.5, -0.5, 249.5, 49.5]]  # the most certain of two


def test_a_missing_cascade_file_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    with pytest.raises(UserError, match=r"has no file haarcascade_frontalface_alt\.xml; pip install"):
        haar().find(np.zeros((50, 50), np.uint8))


def test_the_whole_photo_is_one_box():
    detector = build_face_detector(FACE_DETECTORS.parse({"name": "none"}))
    assert isinstance(detector, WholePhotoDetector)
    assert detector.find(np.zeros((40, 60), np.uint8)).tolist() == [[-0.5, -0.5, 59.5, 39.5]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 1.0}, "detector.step=1.0: must be at least 1.01"),
        ({"step": 2.5}, "detector.step=2.5: must be at most 2"),
        ({"neighbours": -1}, "detector.neighbours=-1: must be at least 0"),
        ({"smallest": 23}, "detector.smallest=23: must be at least 24"),
        ({"smallest": 24.0}, "detector.smallest=24.0: must be a whole number"),
        ({"longest": 95}, "detector.longest=95: must be at least 96"),
        ({"largest": 95}, "detector.largest: unknown key; did you mean longest?"),
        ({"name": "har"}, "detector: there is no face detector 'har'; choose one of haar, none; did you mean haar?"),
        ({"name": "none"}, "detector.step: unknown key"),
    ],
)
def test_a_wrong_setting_is_named(changes, message):
    with pytest.raises(UserError) as error:
        parse(**changes)
    assert str(error.value).startswith(message)


@pytest.fixture
def registered():
    """Remove the plug-ins of a test afterwards."""
    before = dict(FACE_DETECTORS.entries)
    yield FACE_DETECTORS.register
    FACE_DETECTORS.entries = before
    FACE_DETECTORS.own_settings = {name: kind for name, kind in FACE_DETECTORS.own_settings.items() if name in before}


def test_a_plug_in_s_constructor_arguments_are_its_settings(registered):
    @registered("corner")
    class Corner(FaceDetector):
        margin = 1.5

        def __init__(self, side: Annotated[int, Field(ge=1)] = 10) -> None:
            self.side = side

        def find(self, image):
            return np.array([[-0.5, -0.5, self.side - 0.5, self.side - 0.5]])

    detector = build_face_detector(FACE_DETECTORS.parse({"name": "corner", "side": 20}))
    assert (detector.margin, detector.find(None)[0, 2]) == (1.5, 19.5)
    with pytest.raises(UserError, match=r"detector\.side=0: must be at least 1"):
        FACE_DETECTORS.parse({"name": "corner", "side": 0})
    assert FACE_DETECTORS.plugin_names() == ["corner"]


def test_a_class_that_is_no_detector_is_refused(registered):
    registered("empty")(type("Empty", (), {}))
    with pytest.raises(UserError, match=r"face detector empty: Empty needs a method find and a number margin"):
        build_face_detector(FACE_DETECTORS.parse({"name": "empty"}))
    with pytest.raises(TypeError, match="abstract"):
        type("NoFind", (FaceDetector,), {})()


class Returns:
    """Any object with ``find`` and ``margin``."""

    margin = 1.0

    def __init__(self, boxes):
        self.boxes = boxes

    def find(self, image):
        return self.boxes


def test_boxes_of_any_object_are_checked():
    photo = np.zeros((9, 9), np.uint8)
    assert find_boxes(Returns([]), photo).shape == (0, 4)
    assert find_boxes(Returns([(0, 1, 5, 6)]), photo).tolist() == [[0, 1, 5, 6]]
    with pytest.raises(UserError, match=r"face detector Returns: find returned an array of shape \(1, 5\)"):
        find_boxes(Returns(np.ones((1, 5))), photo)
    for box in ([5, 1, 0, 6], [0, 1, 5, np.nan], [0, 1, 0, 6]):
        with pytest.raises(UserError, match="find returned a box without an area"):
            find_boxes(Returns([box]), photo)
