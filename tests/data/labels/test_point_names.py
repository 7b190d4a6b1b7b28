"""Point names of a label file against those of the scheme: by name, by number, or a line that lists what differs."""

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.labels.point_names import PointLabel, in_order, index_by_name, place_points, stated_visibility

SCHEME = Keypoints.from_dict({"name": "three", "names": ["a", "b", "c"]})


@pytest.mark.parametrize(
    ("names", "complete", "expected"),
    [
        (["c", "a", "b"], True, [2, 0, 1]),
        (["c"], False, [2]),
        (["0", "1", "2"], True, [0, 1, 2]),
        (["01", "02", "03"], True, [0, 1, 2]),
        (["2", "0"], False, [2, 0]),
        (["3", "1"], False, [2, 0]),
    ],
)
def test_names_and_numbers_give_the_index_in_the_scheme(names, complete, expected):
    assert index_by_name(names, SCHEME, "f", complete) == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize(
    ("names", "complete", "message"),
    [
        (["a", "b", "nose"], True, "f: its 3 points are not the 3 of keypoints three: nose only in the file, c"),
        (["a"], True, r"b, c only in the scheme; choose keypoints=NAME \(with ckpt=.*\) of a scheme with names: \[a\]"),
        (["a", "x"], False, "x only in the file, b, c only in the scheme"),
        (["0", "1", "2", "3"], True, "its 4 points are not the 3"),
        (["0", "1"], True, "its 2 points are not the 3"),
        (["1", "01", "2"], True, "its 3 points are not the 3"),
        ([f"p{i}" for i in range(98)], True, "p0, p1, p2, p3, p4, p5 and 92 more only in the file"),
    ],
)
def test_other_names_are_refused_with_what_differs(names, complete, message):
    with pytest.raises(UserError, match=message):
        index_by_name(names, SCHEME, "f", complete)


def test_an_accent_may_be_a_character_of_its_own():
    composed, apart = "\u00e9", "e\u0301"
    scheme = Keypoints.from_dict({"name": "two", "names": [composed, "b"]})
    assert index_by_name([apart, "b"], scheme, "f") == {apart: 0, "b": 1}
    with pytest.raises(UserError, match="its 3 points are not the 2"):
        index_by_name([apart, composed, "b"], scheme, "f")


def test_names_of_single_faces_can_be_passed_over():
    assert index_by_name(["b", "x"], SCHEME, "f", complete=False, skip_unknown=True) == {"b": 1}
    assert index_by_name(["x", "0", "2"], SCHEME, "f", complete=False, skip_unknown=True) == {"0": 0, "2": 2}
    assert index_by_name(["x", "2", "3"], SCHEME, "f", complete=False, skip_unknown=True) == {"2": 1, "3": 2}
    with pytest.raises(UserError, match="x, y only in the file"):
        index_by_name(["x", "y"], SCHEME, "f", complete=False, skip_unknown=True)


def test_points_are_placed_in_the_order_of_the_scheme():
    labels = [PointLabel("c", 1, 2, "line 3"), PointLabel("a", 3, 4, "line 4")]
    index = {"a": 0, "b": 1, "c": 2}
    np.testing.assert_array_equal(place_points(labels, index, SCHEME), [(3, 4), (np.nan, np.nan), (1, 2)])
    with pytest.raises(UserError, match="line 3: point 'c' is duplicated in its face; keep one"):
        place_points([*labels, labels[0]], index, SCHEME)
    with pytest.raises(UserError, match="line 3: 'c' is not a point of keypoints three; correct or remove it"):
        place_points(labels, {"a": 0}, SCHEME)


def test_numbers_that_may_count_from_0_or_from_1_are_refused():
    with pytest.raises(UserError, match="f: its points are numbers, but neither 0 nor 3 occurs, so they may count"):
        index_by_name(["1", "2"], SCHEME, "f", complete=False)
    named = Keypoints.from_dict({"name": "numbers", "names": ["1", "2", "3"]})
    assert index_by_name(["1", "2"], named, "f", complete=False) == {"1": 0, "2": 1}


def test_numbers_without_end_are_names():
    assert in_order(["2", 5000 * "1", "10"]) == ["2", 5000 * "1", "10"]


def test_a_hidden_point_without_a_label_is_not_labelled():
    points = np.array([[1.0, 2], [np.nan, np.nan], [3, 4]])
    assert stated_visibility(points, [1, 2]).tolist() == [2, 0, 1]
    assert stated_visibility(points, []) is None
