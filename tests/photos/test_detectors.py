"""Face detectors: what they find, their settings, and detectors from plug-ins."""

from concurrent.futures import ThreadPoolExecutor
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
    WholePhotoDetector,
    build_face_detector,
    default_detector,
    find_boxes,
)
from tests.conftest import config_of
from tests.photos.conftest import colour

YUNET, HAAR = (config_of(f"detector={name}", name="predict")["detector"] for name in ("yunet", "haar"))


def parse(**changes):
    return FACE_DETECTORS.parse({**HAAR, **changes})


def haar(**changes):
    return build_face_detector(parse(**changes))


def yunet(**changes):
    return build_face_detector(FACE_DETECTORS.parse({**YUNET, **changes}))


def scenes_of(faces, scale=2.0):
    """Photos in colour, each with one drawn face, and where it is."""
    pasted = [paste(image, scale, np.random.default_rng(i)) for i, image in enumerate(faces.images[:20])]
    return [(colour(scene), true) for scene, true in pasted]


def is_at(box, true):
    middle = (box[:2] + box[2:]) / 2 - (true.left, true.top)
    return np.abs(middle / true.width - 0.5).max() < 0.25


@pytest.mark.parametrize(("name", "least"), [("yunet", 18), ("haar", 8)])  # of drawn faces; both are made for photos
def test_drawn_faces_are_found_where_they_were_pasted(faces, name, least):
    detector = default_detector(name)
    assert sum(any(is_at(box, true) for box in detector.find(scene)) for scene, true in scenes_of(faces)) >= least


@pytest.mark.parametrize("make", [haar, yunet])
def test_boxes_of_a_shrunk_photo_are_in_the_photo_s_pixels(faces, make):
    scene = next(scene for scene, _ in scenes_of(faces) if len(make().find(scene)) == 1)
    large = cv2.resize(scene, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    (small_box,), (box,) = make().find(scene), make(longest=max(scene.shape)).find(large)
    assert np.allclose(box, 6 * (small_box + 0.5) - 0.5, atol=40)


@pytest.mark.parametrize("make", [haar, yunet])
def test_no_face_and_too_small_a_photo_give_no_box(make):
    for shape in ((1, 1), (10, 300), (30000, 1), (200, 200)):
        assert make().find(colour(np.full(shape, 90, np.uint8))).shape == (0, 4)


@pytest.mark.parametrize(("make", "least"), [(haar, 8), (yunet, 18)])
def test_a_face_that_fills_the_photo_is_found(faces, make, least):
    """The competition's images show no hair and no chin."""
    tight = [colour(cv2.resize(image, (288, 288), interpolation=cv2.INTER_CUBIC)) for image in faces.images[:20]]
    found = [make().find(photo) for photo in tight]
    assert sum(len(boxes) == 1 for boxes in found) >= least
    centres = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in found])
    assert np.abs(np.median(centres, axis=0) - 143.5).max() < 20  # the border does not move boxes


def test_faces_smaller_than_the_smallest_are_dropped(faces):
    scene = scenes_of(faces)[0][0]
    (box,) = yunet().find(scene)
    side = int(box[2] - box[0])
    assert len(yunet(smallest=side - 5).find(scene)) == 1
    assert len(yunet(smallest=side + 5).find(scene)) == 0


def test_a_score_that_is_too_low_drops_a_face(faces):
    scenes = scenes_of(faces)
    counts = [sum(len(yunet(score=score).find(scene)) for scene, _ in scenes) for score in (0.3, 0.6, 0.99)]
    assert counts[0] >= counts[1] > counts[2]


def test_threads_can_share_a_detector(faces):
    photos = [cv2.resize(scene, (200 + 30 * i, 180 + 20 * i)) for i, (scene, _) in enumerate(scenes_of(faces)[:8])]
    for detector in (default_detector("yunet"), default_detector("haar")):
        alone = [detector.find(photo) for photo in photos]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(detector.find, photos * 3))
        assert all(np.array_equal(boxes, alone[i % len(photos)]) for i, boxes in enumerate(together))


def test_overlapping_boxes_are_one_face():
    hits = np.array([[45, 45, 100, 100], [55, 55, 100, 100], [245, 45, 50, 50]])  # left, top, width, height
    scores = np.array([1.0, 2.0, 0.5])
    detector = haar()
    detector.__dict__["_cascade"] = type("Cascade", (), {"detectMultiScale3": lambda *_, **__: (hits, None, scores)})()
    boxes = detector.find(np.zeros((300, 300, 3), np.uint8))  # with a border of 45 pixels
    assert boxes.tolist() == [[9.5, 9.5, 109.5, 109.5], [199.5, -0.5, 249.5, 49.5]]  # the most certain of two


def test_a_missing_cascade_file_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    with pytest.raises(UserError, match=r"has no file haarcascade_frontalface_alt\.xml; pip install"):
        haar().find(np.zeros((50, 50, 3), np.uint8))


def test_the_whole_photo_is_one_box():
    detector = build_face_detector(FACE_DETECTORS.parse({"name": "none"}))
    assert isinstance(detector, WholePhotoDetector)
    assert detector.find(np.zeros((40, 60, 3), np.uint8)).tolist() == [[-0.5, -0.5, 59.5, 39.5]]


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
        (
            {"name": "har"},
            "detector: there is no face detector 'har'; choose one of haar, none, yunet; did you mean haar?",
        ),
        ({"turns": [45]}, "detector.turns.0=45: choose one of 90, 180, 270"),
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


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [("margin", 0, "margin is 0; give a number above 0"), ("turns", (45,), r"turns are \(45,\); give multiples of 90")],
)
def test_margin_and_turns_of_a_detector_are_checked(registered, attribute, value, message):
    made = type("Odd", (), {"margin": 1.0, "find": lambda self, image: [], attribute: value})
    registered("odd")(made)
    with pytest.raises(UserError, match=f"face detector odd: {message}"):
        build_face_detector(FACE_DETECTORS.parse({"name": "odd"}))


class Returns:
    """Any object with ``find`` and ``margin``."""

    margin = 1.0

    def __init__(self, boxes):
        self.boxes = boxes

    def find(self, image):
        return self.boxes


def test_boxes_of_any_object_are_checked():
    photo = np.zeros((9, 9, 3), np.uint8)
    assert find_boxes(Returns([]), photo).shape == (0, 4)
    assert find_boxes(Returns([(0, 1, 5, 6)]), photo).tolist() == [[0, 1, 5, 6]]
    with pytest.raises(UserError, match=r"face detector Returns: find returned an array of shape \(1, 5\)"):
        find_boxes(Returns(np.ones((1, 5))), photo)
    for found in (["left"], [{"left": 0}], [[0, 1, 5, 6], [0, 1]], iter([(0, 1, 5, 6)])):
        with pytest.raises(UserError, match=r"find returned a \w+ that is not an array of numbers; return \(M, 4\)"):
            find_boxes(Returns(found), photo)
    for box in ([5, 1, 0, 6], [0, 1, 5, np.nan], [0, 1, 0, 6]):
        with pytest.raises(UserError, match="find returned a box without an area"):
            find_boxes(Returns([box]), photo)
    with pytest.raises(UserError, match=r"a box far outside the photo, \[0\.0, 0\.0, 1000000000\.0, 5\.0\]"):
        find_boxes(Returns([(0, 1, 5, 6), (0, 0, 1e9, 5)]), photo)


def test_a_detector_made_for_grey_photos_is_told_what_has_changed():
    class Grey(Returns):
        def find(self, image):
            return self.boxes if len(image.shape) == 2 else image.reshape(image.shape[0], image.shape[1])

    with pytest.raises(UserError) as error:
        find_boxes(Grey([]), np.zeros((9, 9, 3), np.uint8))
    assert "\n" not in str(error.value)
    assert "face detector Grey: find is made for grey photos" in str(error.value)
    assert "cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)" in str(error.value)

    class Broken(Returns):
        def find(self, image):
            raise KeyError("no weights")

    with pytest.raises(KeyError, match="no weights"):
        find_boxes(Broken([]), np.zeros((9, 9, 3), np.uint8))


def test_yunet_sees_colours(faces):
    """Red and blue are not exchanged: a scene in other colours gives other scores."""
    seen = []
    detector = yunet()
    detector._network = type(
        "N", (), {"setInputSize": lambda *_: None, "detect": lambda _, i: (seen.append(i), None)}
    )()
    photo = np.zeros((100, 100, 3), np.uint8)
    photo[..., 0] = 200  # red
    assert detector.find(photo).shape == (0, 4)
    assert seen[0][50, 50].tolist() == [0, 0, 200]  # OpenCV wants blue, green, red


def test_faces_in_tiny_photos_are_found(faces):
    scenes = scenes_of(faces, 0.5)
    assert max(scenes[0][0].shape) == 96
    assert sum(any(is_at(box, true) for box in yunet().find(scene)) for scene, true in scenes) >= 18
