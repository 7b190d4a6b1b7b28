"""Drawing: points, lines and crops appear where they are, in their colours."""

import numpy as np
import pytest

from facekp.core.crop import Crop
from facekp.core.keypoints import Keypoints
from facekp.photos.drawing import BOX, LINE, POINT, draw
from facekp.photos.pipeline import Face
from facekp.photos.reading import Photo

SCHEME = Keypoints.from_dict({"name": "two", "names": ["a", "b"], "lines": [["a", "b"]]})


def test_points_lines_and_crops_are_drawn_on_a_copy():
    photo = Photo("a", np.full((200, 200, 3), 90, np.uint8))
    face = Face(Crop(40, 50, 120, 100, (96, 96)), np.array([[60.0, 100.0], [140.0, 100.0]]), np.ones(2), None)
    drawn = draw(photo, [face], SCHEME)
    assert (photo.image == 90).all()
    assert (tuple(drawn[100, 60]), tuple(drawn[100, 140])) == (POINT, POINT)  # [y, x]
    assert np.abs(drawn[100, 100].astype(int) - LINE).max() < 30  # antialiased
    assert tuple(drawn[50, 100]) != (90, 90, 90)  # the upper edge of the crop, 49.5, lies between two rows
    assert np.abs(drawn[50, 100].astype(int) - BOX).max() < 130
    assert (drawn[:45] == 90).all()


def test_faces_beyond_the_edge_and_no_faces_are_fine():
    photo = Photo("a", np.full((50, 50, 3), 90, np.uint8))
    far = Face(Crop(-900, 40, 1000, 1000, (96, 96)), np.array([[-1e9, 20.0], [1e9, 1e9]]), np.ones(2), None)
    assert draw(photo, [far], SCHEME).shape == (50, 50, 3)
    assert (draw(photo, [], SCHEME) == 90).all()


def test_strokes_grow_with_the_face():
    photo = Photo("a", np.full((900, 900, 3), 90, np.uint8))
    points = np.array([[300.0, 450.0], [600.0, 450.0]])
    small, large = (Face(Crop(0, 0, side, side, (96, 96)), points, np.ones(2), None) for side in (90, 900))
    areas = [(draw(photo, [face], SCHEME) == POINT).all(axis=2).sum() for face in (small, large)]
    assert areas[1] > 20 * areas[0]


def test_a_turned_crop_is_a_turned_rectangle():
    photo = Photo("a", np.full((200, 200, 3), 90, np.uint8))
    face = Face(Crop(50, 50, 100, 100, (96, 96)).turned(45), np.full((2, 2), 100.0), np.ones(2), None)
    drawn = draw(photo, [face], SCHEME)
    for x, y in (
        (99, 29),
        (170, 99),
        (99, 170),
        (29, 99),
    ):  # its corners
        assert (drawn[y - 2 : y + 3, x - 2 : x + 3] != 90).any()
    assert (drawn[48:53, 48:53] == 90).all()  # where a corner of the upright one would be


def test_circles_have_expected_errors_as_radius_and_points_are_smaller(scheme):
    crop = Crop(left=20, top=20, width=300, height=300, size=(96, 96))
    points = np.full((15, 2), np.nan)
    points[3], points[7] = (100.0, 150.0), (250.0, 150.0)
    errors = np.full(15, 12.0)
    errors[7] = np.nan
    photo = Photo("a", np.zeros((400, 400, 3), np.uint8))
    face = Face(crop, points, np.ones(15), errors)
    plain, drawn = (draw(photo, [face], scheme, errors=wanted).astype(int) for wanted in (False, True))
    white = drawn.min(axis=2) > 150
    y, x = np.nonzero(white)
    assert np.hypot(x - 100, y - 150) == pytest.approx(np.full(len(x), 12), abs=1.2)
    assert len(x) > 60  # the whole circle; none around the point whose error is not known
    red = [
        ((picture[..., 0] > 200) & (picture[..., 2] < 100) & (picture[..., 1] < 100)).sum()
        for picture in (plain, drawn)
    ]
    assert red[1] < red[0] / 4
    unknown = draw(photo, [Face(crop, points, np.ones(15), None)], scheme, errors=True)
    assert np.array_equal(unknown, plain)
