"""The length that errors of a face are divided by: points, groups of points, box and diagonal."""

from dataclasses import replace

import numpy as np
import pytest

from facekp.core.keypoints import Keypoints
from facekp.functional.normalisers import normalising_lengths

NAN = np.nan
GROUPS = {"points": ["a", "b"], "groups": [["a", "b"], ["c", "d"]]}
RAW = {"name": "four", "names": ["a", "b", "c", "d"], "normaliser": GROUPS}
FACES = np.array(
    [
        [[0, 0], [6, 8], [13, 4], [13, 4]],
        [[0, 0], [6, 8], [NAN, NAN], [30, 4]],
        [[5, 5], [5, 5], [5, 9], [5, 7]],
        [[NAN, NAN]] * 4,
    ]
)


@pytest.fixture(scope="module")
def four():
    return Keypoints.from_dict(RAW)


def test_points_and_groups_and_the_smallest_box(four):
    lengths = normalising_lengths(FACES, four, None)
    assert list(lengths) == ["points", "groups", "box", "diagonal"]
    np.testing.assert_allclose(lengths["points"], [10, 10, NAN, NAN])  # two points in one place have no distance
    np.testing.assert_allclose(lengths["groups"], [10, NAN, 3, NAN])  # a group with an unlabelled point has no mean
    np.testing.assert_allclose(lengths["box"], [np.sqrt(13 * 8), np.sqrt(30 * 8), NAN, NAN])  # no width, no area
    np.testing.assert_allclose(lengths["diagonal"], [np.hypot(13, 8), np.hypot(30, 8), 4, NAN])


def test_the_label_file_s_box_counts_where_a_face_has_one(four):
    box = np.array([[10, 10, 50, 100], [NAN] * 4, [0, 0, 8, 2], [0, 0, 3, 4]], np.float32)
    lengths = normalising_lengths(FACES, four, box)
    np.testing.assert_allclose(lengths["box"], [60, np.sqrt(30 * 8), 4, np.sqrt(12)])
    np.testing.assert_allclose(lengths["diagonal"], [np.hypot(40, 90), np.hypot(30, 8), np.hypot(8, 2), 5], rtol=1e-6)


def test_a_box_without_a_width_or_height_does_not_count(four):
    box = np.array([[10, 10, 10, 100], [0, 50, 9, 50], [0, 0, 8, 2], [5, 5, 1, 9]], np.float32)
    lengths = normalising_lengths(FACES, four, box)
    np.testing.assert_allclose(lengths["diagonal"], [np.hypot(13, 8), np.hypot(30, 8), np.hypot(8, 2), NAN])


def test_without_a_normaliser_only_the_box_is_left(four):
    assert list(normalising_lengths(FACES, replace(four, normaliser=None), None)) == ["box", "diagonal"]
    assert list(normalising_lengths(FACES, replace(four, normaliser=("a", "b")), None)) == ["", "box", "diagonal"]
