"""WFLW's list: points, box and flags of each line, lists without box and flags, and the error of every fault."""

from __future__ import annotations

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.label_file import recognise
from facekp.data.readers.wflw import point_names
from tests.data.label_readers import read_labels
from tests.data.photo_folder import write_one_photo

POINTS = "30 20 10.5 20 20 30 28 40 12 40"
LINE = f"{POINTS} 5 10 45 48 1 0 0 0 1 0 a.png"


def read(folder, *more):
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/list.txt")
    return read_labels("wflw", *paths, *more)


@pytest.fixture
def folder(tmp_path):
    write_one_photo(tmp_path)
    (tmp_path / "list.txt").write_text(f"{LINE}\n\n{LINE.replace('1 0 0 0 1 0', '0 1 1 1 0 1')}\n")
    return tmp_path


def test_a_line_is_points_box_flags_and_name(folder):
    table = read(folder)
    assert table.row.tolist() == [1, 3]
    np.testing.assert_allclose(table.to_photo(table.points)[0].ravel(), [float(x) for x in POINTS.split()], atol=1e-4)
    left, top, side = table.photo_matrix[0, 0, 2], table.photo_matrix[0, 1, 2], table.photo_matrix[0, 0, 0] * 96
    np.testing.assert_allclose([left, top, side], [5, 9, 40], atol=0.5)  # the square around 40 x 38 pixels
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "pose": ["large", "normal"],
        "expression": ["normal", "exaggerated"],
        "illumination": ["normal", "extreme"],
        "make-up": ["no", "yes"],
        "occlusion": ["yes", "no"],
        "blur": ["no", "yes"],
    }
    assert point_names(folder / "list.txt") == ["0", "1", "2", "3", "4"]


def test_a_list_without_boxes_and_flags_is_read(folder):
    (folder / "list.txt").write_text(f"{POINTS} a.png\n")
    assert read(folder).mask.all()
    assert read(folder).attributes == {}
    assert point_names(folder / "list.txt") == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE.replace("30 20", "30"), "line 1: 20 fields, but keypoints five has 10 coordinates: give 11, or 21 with"),
        (LINE.replace("10.5", "x"), "line 1: 'x' is not a finite number"),
        (LINE.replace("10.5", "nan"), "line 1: 'nan' is not a finite number"),
        (LINE.replace("1 0 a", "2 0 a"), "line 1, occlusion: '2' is not a flag; write 0 or 1"),
    ],
)
def test_every_fault_is_refused_with_its_position(folder, line, message, caplog):
    (folder / "list.txt").write_text(f"{line}\n{LINE}\n")
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.skip_broken=true").row.tolist() == [2]
    assert "1 face with errors left out" in caplog.text


def test_the_name_of_a_photo_may_hold_blanks(tmp_path):
    write_one_photo(tmp_path)
    (tmp_path / "photos" / "a.png").rename(tmp_path / "photos" / "a b.png")
    points = "30 20 10 20 20 30 28 40 12 40"
    for rest in ("", " 5 10 45 48 0 0 0 0 0 0"):
        (tmp_path / "list.txt").write_text(f"{points}{rest} a b.png\n")
        assert recognise(tmp_path / "list.txt") == "wflw"
        table = read(tmp_path)
        assert table.name.tolist() == ["a b.png"]
        assert table.mask.all()
