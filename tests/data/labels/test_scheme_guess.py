"""New schemes from the names of points: pairs by left and right, eyes as the normaliser, a file that can be read."""

import numpy as np
import pytest
import yaml

from facekp.core.keypoints import Keypoints
from facekp.data.labels.scheme_guess import guess_scheme, scheme_yaml, shipped_schemes


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["left_ear", "right_ear", "tail"], [("left_ear", "right_ear")]),
        (["RightPaw", "LeftPaw"], [("LeftPaw", "RightPaw")]),
        (["l_hip", "r_hip", "knee_l", "knee_r"], [("l_hip", "r_hip"), ("knee_l", "knee_r")]),
        (["earL", "earR", "LEye", "REye"], [("earL", "earR"), ("LEye", "REye")]),
        (["left", "tail", "lip", "Lip", "tool"], []),
        (["1", "2", "3"], []),
        (["1", 5000 * "2"], []),
    ],
)
def test_names_that_differ_by_the_side_are_pairs(names, pairs):
    assert list(guess_scheme("x", names).pairs) == pairs


@pytest.mark.parametrize(
    ("names", "normaliser"),
    [
        (["left_brow", "right_brow", "left_eye", "right_eye"], ("left_eye", "right_eye")),
        (["left_eyebrow", "right_eyebrow"], None),
        (["pupil_r", "pupil_l"], ("pupil_l", "pupil_r")),
    ],
)
def test_the_first_pair_of_eyes_normalises_errors(names, normaliser):
    assert guess_scheme("x", names).normaliser == normaliser


def test_a_scheme_survives_its_file():
    for scheme in (*shipped_schemes(), guess_scheme("Überall: 5 ", ["left eye", "right eye", "null", "5", "a: b"])):
        assert Keypoints.from_dict(yaml.safe_load(scheme_yaml(scheme))) == scheme
    assert scheme.name == "Überall_5_"


def test_kaggle15_and_the_public_sets_are_shipped():
    points = {scheme.name: len(scheme.names) for scheme in shipped_schemes()}
    assert points == {
        "aflw19": 19, "celeba5": 5, "cofw29": 29, "ibug68": 68, "kaggle15": 15, "lapa106": 106, "wflw98": 98,
    }  # fmt: skip
    assert np.unique(list(points.values())).size == len(points)  # so a number of points names one scheme


def test_names_with_two_sides_are_paired_by_both():
    corners = ["LeftEyeLeftCorner", "LeftEyeRightCorner", "RightEyeLeftCorner", "RightEyeRightCorner"]
    assert guess_scheme("aflw", corners).pairs == ((corners[0], corners[3]), (corners[1], corners[2]))


def test_mirror_points_are_pairs_whose_names_tell_the_left_one():
    names = ["R_eye", "L_eye", "tip", "one", "two"]
    assert guess_scheme("x", names, [1, 0, 2, 4, 3]).pairs == (("L_eye", "R_eye"), ("one", "two"))
    assert guess_scheme("x", names, [0, 1, 2, 4, 3]).pairs == (("one", "two"),)
