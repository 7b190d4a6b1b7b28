"""Contact sheets: small pictures of all photos on pages of bounded size."""

import numpy as np
import pytest

from facekp.core.crop import Crop
from facekp.core.keypoints import Keypoints
from facekp.photos.contact_sheet import CAPTION, COLUMNS, GAP, PAPER, ROWS, SIDE, ContactSheets
from facekp.photos.drawing import POINT
from facekp.photos.face import Face
from facekp.photos.reading import Photo

SCHEME = Keypoints.from_dict({"name": "two", "names": ["a", "b"], "lines": [["a", "b"]]})
FACE = Face(Crop(400, 200, 600, 600, (96, 96)), np.array([[600.0, 400.0], [800.0, 600.0]]), np.ones(2), None)


def grey(level, width=1280, height=960):
    return np.full((height, width, 3), level, np.uint8)


@pytest.fixture
def pages():
    return {}


@pytest.fixture
def sheets(pages):
    return ContactSheets(SCHEME, pages.__setitem__)


def cell(page, number, height):
    """The part of a page that a picture has, in rows of equal height."""
    left, top = GAP + number % COLUMNS * (SIDE + GAP), GAP + number // COLUMNS * (height + CAPTION + GAP)
    return page[top : top + height, left : left + SIDE]


def test_photos_are_shown_small_with_their_points(sheets, pages):
    sheets.add(Photo("a.png", grey(90)), [FACE])
    sheets.add(Photo("b.png", grey(150, 960, 1280)), [])
    sheets.close()
    assert list(pages) == [1]
    page = pages[1]
    assert page.shape == (SIDE + CAPTION + 2 * GAP, 2 * (SIDE + GAP) + GAP, 3)
    first = cell(page, 0, SIDE)  # 320 x 240 at the bottom of its cell
    assert (first[: SIDE - 240] == PAPER).all()
    assert tuple(first[SIDE - 240 + 5, 5]) == (90, 90, 90)
    assert tuple(first[SIDE - 240 + 100, 150]) == POINT  # (600, 400) at a quarter of the size
    second = cell(page, 1, SIDE)
    assert tuple(second[5, 160]) == (150, 150, 150)
    assert (page[GAP + SIDE + 2 : GAP + SIDE + CAPTION] != 255).any()  # captions


def test_a_small_photo_is_not_enlarged(sheets, pages):
    for name in "ab":
        sheets.add(Photo(name, grey(90, 40, 30)), [])
    sheets.close()
    shown = (cell(pages[1], 0, 40) == 90).all(axis=2)
    assert shown.sum() == 40 * 30


def test_many_photos_make_several_pages_of_bounded_size(sheets, pages):
    for number in range(COLUMNS * ROWS + 2):
        sheets.add(Photo(f"{number}.png", grey(number, 64, 48)), [])
    assert list(pages) == [1]  # written as soon as the next one has begun
    sheets.close()
    assert list(pages) == [1, 2]
    assert pages[1].shape == (ROWS * (48 + CAPTION + GAP) + GAP, COLUMNS * (SIDE + GAP) + GAP, 3)
    assert cell(pages[2], 1, 48)[-1, SIDE // 2].tolist() == [COLUMNS * ROWS + 1] * 3


def test_a_single_photo_has_no_page(sheets, pages):
    sheets.add(Photo("a.png", grey(90)), [FACE])
    sheets.close()
    assert pages == {}


def test_a_video_shows_a_frame_of_each_quarter_with_a_face_if_there_is_one(sheets, pages):
    for number in range(100):
        found = [FACE] if number >= 60 or number == 10 else []
        sheets.add(Photo("clip.mp4", grey(number), number, 25.0, (number + 1) / 100), found)
    sheets.close()
    levels = [int(cell(pages[1], i, 240)[-1, SIDE // 2, 0]) for i in range(4)]
    assert levels == [10, 24, 60, 74]


def test_long_and_odd_names_fit(sheets, pages):
    for name in ("x" * 255 + ".png", "\udcff\u4e16 [red].png"):
        sheets.add(Photo(name, grey(90)), [])
    sheets.close()
    gap = pages[1][:, GAP + SIDE : GAP + SIDE + GAP]
    assert (gap == 255).all()
