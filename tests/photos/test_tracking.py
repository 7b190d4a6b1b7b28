"""Following faces: they keep their numbers, the detector runs seldom, and a face ends where it is not seen any more."""

import math
from dataclasses import replace

import numpy as np
import pytest

from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.models.prediction import Prediction
from facekp.photos.smoothing import SmoothingSettings
from facekp.photos.tracking import CUT, FaceTracker, difference, frame_rate, overlap
from tests.photos.moving_squares import SIDE, SquareDetector, SquarePredictor, frame, scene


@pytest.fixture
def detector():
    return SquareDetector()


def tracker_of(detector, detect_every=5, smooth=None, min_confidence=0.5):
    return FaceTracker(SquarePredictor(), detector, detect_every, smooth, False, min_confidence)


def numbers(tracker, frames):
    """The numbers of the faces in each frame."""
    return [[face.track for face in tracker.update(photo)] for photo in frames]


def test_moving_faces_keep_their_numbers_and_are_where_they_are(detector):
    tracker = tracker_of(detector)
    paths = [[(60 + 6 * t, 60), (250 - 6 * t, 160)] for t in range(30)]  # x changes places, y does not
    for t, centres in enumerate(paths):
        faces = tracker.update(frame(t, scene(*centres)))
        assert [face.track for face in faces] == [0, 1]
        found = np.array([face.points.mean(axis=0) for face in faces])
        assert np.abs(found - (np.array(centres) - 0.5)).max() < 1
    assert detector.calls == 6


@pytest.mark.parametrize(("every", "searches"), [(1, 20), (4, 5), (100, 1)])
def test_the_detector_runs_on_every_nth_frame(detector, every, searches):
    assert numbers(tracker_of(detector, every), [frame(t, scene((100, 100))) for t in range(20)]) == [[0]] * 20
    assert detector.calls == searches


def test_a_new_face_is_found_by_the_next_search(detector):
    centres = [[(60, 60)] if t < 7 else [(60, 60), (200, 100)] for t in range(12)]
    found = numbers(tracker_of(detector), [frame(t, scene(*c)) for t, c in enumerate(centres)])
    assert found == [[0]] * 10 + [[0, 1]] * 2


def test_a_lost_face_is_searched_at_once_and_gets_its_number_back(detector):
    tracker = tracker_of(detector, 5)
    assert numbers(tracker, [frame(t, scene((100, 100))) for t in range(3)]) == [[0]] * 3
    assert numbers(tracker, [frame(3, scene())]) == [[]]
    assert detector.calls == 2  # frames 0 and 3
    assert numbers(tracker, [frame(t, scene((110, 100))) for t in range(4, 10)]) == [[]] * 4 + [[0]] * 2
    assert numbers(tracker, [frame(t, scene()) for t in range(10, 36)]) == [[]] * 26  # longer than a second
    assert numbers(tracker, [frame(t, scene((110, 100))) for t in range(36, 42)])[-1] == [1]


def test_a_lost_face_that_appears_elsewhere_at_once_is_another_one(detector):
    jump = [frame(0, scene((60, 60))), frame(1, scene((220, 160)))]
    assert numbers(tracker_of(detector), jump) == [[0], [1]]


def test_a_face_ends_where_it_leaves_the_picture(detector):
    tracker = tracker_of(detector)
    centres = [(280 + 4 * t, 100) for t in range(20)]
    found = numbers(tracker, [frame(t, scene(c)) for t, c in enumerate(centres)])
    assert found[:8] == [[0]] * 8
    assert found[-4:] == [[]] * 4


def test_a_cut_ends_a_face_even_if_another_one_is_at_its_place(detector):
    frames = [frame(t, scene((100, 100), ground=t // 3)) for t in range(9)]
    assert numbers(tracker_of(detector, 100), frames) == [[0]] * 3 + [[1]] * 3 + [[2]] * 3
    assert detector.calls == 3


def test_after_lost_frames_the_detector_looks_again(detector):
    tracker = tracker_of(detector, 100)
    found = numbers(tracker, [frame(0, scene((100, 100))), frame(8, scene((110, 100), (220, 160)))])
    assert found == [[0], [0, 1]]
    assert numbers(tracker, [frame(40, scene((110, 100)))]) == [[2]]  # more than a second later


def test_each_video_counts_its_faces_from_0(detector):
    tracker = tracker_of(detector)
    for file in ("a.mp4", "b.mp4", "b.mp4"):
        assert numbers(tracker, [frame(t, scene((60, 60), (200, 160)), file) for t in range(3)]) == [[0, 1]] * 3


@pytest.mark.parametrize(("file", "number"), [("b.mp4", 1), ("a.mp4", 0)])
def test_a_frame_of_another_file_or_one_that_is_not_later_begins_another_video(detector, file, number):
    tracker = tracker_of(detector)
    assert numbers(tracker, [frame(0, scene((60, 60), (200, 160)), "a.mp4")]) == [[0, 1]]
    assert numbers(tracker, [frame(number, scene((200, 160)), file)]) == [[0]]


def test_a_lost_face_is_forgotten_after_a_second_of_its_video(detector):
    seen, nothing = scene((100, 100)), scene()
    for frames_lost, number in ((4, 0), (10, 1)):
        images = [seen, *[nothing] * frames_lost, seen]
        frames = [replace(frame(t, image), rate=5.0) for t, image in enumerate(images)]
        assert numbers(tracker_of(SquareDetector(), 1), frames)[-1] == [number]


def test_two_lost_faces_get_back_their_own_numbers(detector):
    both = scene((60, 60), (220, 160))
    frames = [frame(t, image) for t, image in enumerate([both, scene(), both])]
    assert numbers(tracker_of(detector, 1), frames) == [[0, 1], [], [0, 1]]


def test_a_face_that_the_detector_finds_twice_is_one():
    class Twice(SquareDetector):
        def find(self, image):
            return np.concatenate([super().find(image), super().find(image) + 2])

    assert numbers(tracker_of(Twice(), 1), [frame(t, scene((100, 100))) for t in range(2)]) == [[0], [0]]


class Sure(SquarePredictor):
    """As sure of a crop without a square; its points can be shifted."""

    shift = 0

    def predict(self, images):
        points, confidence, *_ = super().predict(images)
        return Prediction(points + np.float32([self.shift, 0]), np.ones_like(confidence), None, None)


def test_a_sure_face_beyond_the_picture_is_not_taken_from_the_detector():
    class Beyond(SquareDetector):
        def find(self, image):
            return np.array([[330, 80, 330 + SIDE, 80 + SIDE]])  # the picture ends at 320

    assert numbers(FaceTracker(Sure(), Beyond(), 1, None, False, 0.5), [frame(0, scene())]) == [[]]


def test_a_sure_face_is_not_followed_beyond_the_picture(detector):
    predictor = Sure()
    tracker = FaceTracker(predictor, detector, 100, None, False, 0.5)
    assert numbers(tracker, [frame(0, scene((290, 100)))]) == [[0]]
    predictor.shift = 48  # half a crop
    assert numbers(tracker, [frame(1, scene())]) == [[]]


def unsearched(refine):
    """A tracker of the same box of every frame, as detector=none has it."""

    class Whole(SquareDetector):
        searches = False

        def find(self, image):
            return np.array([[79.5, 79.5, 119.5, 119.5]])

    return FaceTracker(SquarePredictor(), Whole(), 100, None, refine, 0.5)


def test_what_is_not_searched_for_has_no_floor_and_moves_only_if_faces_are_predicted_again():
    assert numbers(unsearched(False), [frame(t, scene()) for t in range(2)]) == [[0], [0]]
    moving = [frame(t, scene((100 + 6 * t, 100))) for t in range(4)]
    for refine, moved in ((True, 12), (False, 0)):
        tracker = unsearched(refine)
        crops = [tracker.update(photo)[0].crop for photo in moving]
        assert crops[-1].left - crops[0].left == pytest.approx(moved, abs=8 * refine)
        assert (crops[-1].left > crops[0].left) == refine


def test_the_floor_drops_false_boxes_and_null_keeps_them():
    class SeesOne(SquareDetector):
        def find(self, image):
            return np.array([[20, 20, 60, 60]])

    empty = [frame(t, scene()) for t in range(2)]
    strict, lax = (tracker_of(SeesOne(), 1, min_confidence=floor) for floor in (0.5, None))
    assert (numbers(strict, empty), strict.dropped.boxes) == ([[], []], 2)
    assert (numbers(lax, empty), lax.dropped.boxes) == ([[0], [0]], 0)


def test_two_tracks_that_reach_the_same_face_become_one(detector):
    tracker = tracker_of(detector, 100)
    apart = [frame(0, scene((100, 100), (150, 100)))]
    assert numbers(tracker, apart) == [[0, 1]]
    assert numbers(tracker, [frame(1, scene((125, 100)))]) == [[0]]


def test_smoothing_counts_lost_frames_and_leaves_confidence(detector):
    settings = SmoothingSettings(min_cutoff=1.0, beta=0.0, d_cutoff=1.0)
    for gap in (1, 4):
        tracker = tracker_of(SquareDetector(), smooth=settings)
        tracker.update(frame(0, scene((100, 100))))
        (face,) = tracker.update(frame(gap, scene((104, 100))))
        turned = 2 * np.pi * gap / 25
        moved = 4 * turned / (1 + turned)
        assert face.points.mean(axis=0)[0] == pytest.approx(99.5 + moved, abs=0.5)
        assert face.confidence.tolist() == [1.0] * 4


def test_smoothing_counts_the_video_s_seconds_and_sides_of_the_crop():
    settings = SmoothingSettings(min_cutoff=1.0, beta=20.0, d_cutoff=1.0)
    for rate in (25.0, 50.0):
        tracker = tracker_of(SquareDetector(), smooth=settings)
        tracker.update(replace(frame(0, scene((100, 100))), rate=rate))
        (face,) = tracker.update(replace(frame(1, scene((108, 100))), rate=rate))
        turned = 2 * np.pi / rate
        speed = 8 * rate * turned / (1 + turned) / (2 * SIDE)  # sides of the crop per second
        turned = 2 * np.pi * (1 + 20 * speed) / rate
        assert face.points.mean(axis=0)[0] == pytest.approx(99.5 + 8 * turned / (1 + turned), abs=0.5)


def test_a_face_that_is_found_again_is_not_smoothed_from_where_it_was_lost(detector):
    tracker = tracker_of(detector, 1, SmoothingSettings(min_cutoff=0.1, beta=0.0, d_cutoff=1.0))
    images = [scene((100, 100)), scene((100, 100)), scene(), scene((110, 100))]
    *_, (face,) = [tracker.update(frame(t, image)) for t, image in enumerate(images)]
    assert face.track == 0
    assert face.points.mean(axis=0)[0] == pytest.approx(109.5, abs=0.5)


@pytest.mark.parametrize("number", [None, -1])
def test_a_photo_without_a_number_is_refused(detector, number):
    with pytest.raises(UserError, match=rf"^clip.mp4: frame={number}; give the number of the frame"):
        tracker_of(detector).update(frame(number, scene()))


def test_frames_without_a_rate_are_those_of_a_usual_video(detector):
    tracker = tracker_of(detector, smooth=SmoothingSettings(min_cutoff=1.0, beta=0.0, d_cutoff=1.0))
    bare = [replace(frame(t, scene((100, 100))), rate=0.0) for t in (0, 1, 2, 25, 52)]  # the last gap is too long
    assert numbers(tracker, bare) == [[0]] * 4 + [[1]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"min_confidence": 50}, "min_confidence=50: must be at most 1"),
        ({"detector": SquareDetector}, r"detector: SquareDetector is a class; give an object of it"),
    ],
)
def test_mistakes_in_the_arguments_are_named(detector, changed, message):
    with pytest.raises(UserError, match=f"^{message}"):
        tracker_of(**{"detector": detector, **changed})


def test_overlap_is_a_fraction_of_the_smaller_crop():
    small, large = Crop(10, 10, SIDE, SIDE, (96, 96)), Crop(20, 0, 100, 100, (96, 96))
    assert overlap(small, large) == overlap(large, small) == 0.75
    assert overlap(small, Crop(200, 0, 10, 10, (96, 96))) == 0


def test_brightness_is_no_cut():
    image = scene((100, 100)).astype(np.float32)
    assert difference(image, image + 50) == pytest.approx(0, abs=1e-5)
    assert difference(image, scene((100, 100), ground=1).astype(np.float32)) > CUT
    assert difference(np.zeros((24, 32)), np.full((24, 32), 9.0)) == 0  # from black to grey


def test_faces_are_followed_at_less_than_a_frame_per_second(detector):
    slow = [replace(frame(t, scene((100, 100))), rate=0.4) for t in range(4)]
    assert numbers(tracker_of(detector, 10), slow) == [[0]] * 4


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_that_can_t_be_true_is_that_of_a_usual_video(rate):
    assert frame_rate(replace(frame(0, scene()), rate=rate)) == 25.0
