"""What label files say beside the points is in the table: subsets, hidden points, boxes in pixels of the crops."""

from __future__ import annotations

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.crops import read_crops
from facekp.data.labels.face import LabelledFace
from tests.data.photo_folder import folder_settings, write_one_photo
from tests.drawn_photos import five

POINTS = np.array([[30, 20], [12, 20], [20, 30], [28, 40], [14, 40]], float)


def face(row, **more):
    return LabelledFace("a.png", POINTS, more.pop("box", None), 0, row, f"row {row}", **more)


@pytest.fixture
def read(tmp_path):
    write_one_photo(tmp_path)
    return lambda faces, *overrides: read_crops(faces, folder_settings(tmp_path, *overrides), five())


def test_subsets_and_hidden_points_are_in_the_table_and_the_cache(read):
    seen = np.array([2, 1, 2, 1, 0], np.uint8)
    faces = [face(1, attributes={"pose": "large"}, visible=seen), face(2, attributes={"blur": "1"})]
    for _ in range(2):
        table = read(faces)
        assert {name: values.tolist() for name, values in table.attributes.items()} == {
            "pose": ["large", ""],
            "blur": ["", "1"],
        }
        assert table.visible.tolist() == [[2, 1, 2, 1, 0], [2, 2, 2, 2, 2]]
    again = read([face(1, attributes={"pose": "small"}, visible=2 - seen), face(2)])
    assert again.attributes["pose"].tolist() == ["small", ""]
    assert again.visible[0].tolist() == [0, 1, 0, 1, 2]


def test_a_point_outside_the_crop_is_not_visible(read):
    table = read([face(1, visible=np.full(5, 2, np.uint8), box=(5, 7, 37, 39))], "data.size=32")
    assert table.mask[0].tolist() == [True, True, True, False, False]
    assert table.visible.tolist() == [[2, 2, 2, 0, 0]]


def test_boxes_are_in_pixels_of_the_crops(read):
    faces = [face(1, box=(5, 7, 37, 39)), face(2)]
    table = read(faces, "data.size=64")
    assert table.box[0].tolist() == [0, 0, 64, 64]
    assert np.isnan(table.box[1]).all()
    around_points = read(faces, "data.size=64", "data.boxes=points")
    assert (around_points.images[0] == around_points.images[1]).all()
    corners = around_points.to_photo(around_points.box.reshape(2, 2, 2) - 0.5)[0] + 0.5
    np.testing.assert_allclose(corners.ravel(), (5, 7, 37, 39), atol=1e-4)
    assert read([face(1)]).box is None


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"note": "x" * 101}, "row 2: attribute 'note' has more than 100 characters"),
        (
            {str(i): "1" for i in range(101)},
            "row 1: the faces of its file have 101 different attributes, such as '100'",
        ),
    ],
)
def test_attributes_that_would_fill_the_memory_are_refused(read, attributes, message):
    with pytest.raises(UserError, match=message):
        read([face(1), face(2, attributes=attributes)])
