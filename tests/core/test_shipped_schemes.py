"""Schemes of public data sets: counts, mirror pairs and sides as the public index tables have them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import yaml

from facekp.config.location import CONF_DIR
from facekp.core.keypoints import Keypoints

BROWS = [(33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47)]
JAW = [(i, 32 - i) for i in range(16)]

# Which points mirroring exchanges, counted from 0; the first of a pair is on the left of the image. WFLW, COFW and AFLW
# as https://github.com/HRNet/HRNet-Facial-Landmark-Detection has them, LaPa as https://github.com/open-mmlab/mmpose.
SWAPPED = {
    "wflw98": [
        *JAW, *BROWS, (55, 59), (56, 58), (60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75),
        (66, 74), (67, 73), (76, 82), (77, 81), (78, 80), (87, 83), (86, 84), (88, 92), (89, 91), (95, 93), (96, 97),
    ],
    "cofw29": [
        (0, 1), (4, 6), (2, 3), (5, 7), (8, 9), (10, 11), (12, 14), (16, 17), (13, 15), (18, 19), (22, 23),
    ],
    "aflw19": [(0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 14), (15, 17)],
    "lapa106": [
        *JAW, *BROWS, (55, 65), (56, 64), (57, 63), (58, 62), (59, 61), (66, 79), (67, 78), (68, 77), (69, 76),
        (70, 75), (71, 82), (72, 81), (73, 80), (74, 83), (84, 90), (85, 89), (86, 88), (95, 91), (94, 92), (96, 100),
        (97, 99), (103, 101), (104, 105),
    ],
    "celeba5": [(0, 1), (3, 4)],
}  # fmt: skip
OUTER_CORNERS = {
    "wflw98": (72, 60),
    "cofw29": (9, 8),
    "aflw19": (11, 6),
    "lapa106": (79, 66),
}  # the person's left first
PUPILS = {"wflw98": (97, 96), "cofw29": (17, 16), "aflw19": (10, 7), "lapa106": (105, 104)}


def scheme(name):
    return Keypoints.from_dict(yaml.safe_load((CONF_DIR / "keypoints" / f"{name}.yaml").read_text()))


@pytest.mark.parametrize(
    ("name", "points"), [("wflw98", 98), ("cofw29", 29), ("aflw19", 19), ("lapa106", 106), ("celeba5", 5)]
)
def test_a_scheme_mirrors_as_its_public_table(name, points):
    keypoints = scheme(name)
    assert (keypoints.name, len(keypoints.names)) == (name, points)
    expected = np.arange(points)
    for one, other in SWAPPED[name]:
        expected[[one, other]] = other, one
    order = keypoints.flip_order()
    assert order.tolist() == expected.tolist()
    assert order[order].tolist() == list(range(points))


@pytest.mark.parametrize("name", SWAPPED)
def test_the_right_side_of_the_person_is_on_the_left_of_the_image(name):
    keypoints = scheme(name)
    for on_the_left, on_the_right in SWAPPED[name]:
        assert (keypoints.names[on_the_right], keypoints.names[on_the_left]) in keypoints.pairs
        assert "left" not in keypoints.names[on_the_left]
        assert "right" not in keypoints.names[on_the_right]
    swapped = {index for pair in SWAPPED[name] for index in pair}
    for index in set(range(len(keypoints.names))) - swapped:
        assert not {"left", "right"} & set(keypoints.names[index].split("_"))


@pytest.mark.parametrize("name", OUTER_CORNERS)
def test_errors_are_divided_by_the_distance_of_the_outer_eye_corners_or_of_the_pupils(name):
    keypoints = scheme(name)
    ends = {
        key: tuple(keypoints.names.index(point) for (point,) in groups) for key, groups in keypoints.normalisers.items()
    }
    assert ends == {"ocular": OUTER_CORNERS[name], "pupil": PUPILS[name]}
    assert next(iter(ends)) == "ocular"


@pytest.mark.parametrize("name", SWAPPED)
def test_lines_of_a_mirrored_face_are_the_same_lines(name):
    keypoints = scheme(name)
    other = dict(zip(keypoints.names, np.array(keypoints.names)[keypoints.flip_order()].tolist(), strict=True))
    strokes = {frozenset(pair) for line in keypoints.lines for pair in pairwise(line)}
    assert {frozenset(map(other.get, stroke)) for stroke in strokes} == strokes


def test_numbered_points_have_their_index_and_five_points_the_names_of_kaggle15():
    for name in ("wflw98", "lapa106"):
        assert [int(point.rsplit("_", 1)[1]) for point in scheme(name).names] == list(range(len(scheme(name).names)))
    kaggle = set(scheme("kaggle15").names)
    assert set(scheme("celeba5").names) <= kaggle
    assert len(set(scheme("cofw29").names) & kaggle) == 15
    assert len(set(scheme("aflw19").names) & kaggle) == 13
