"""menpo's LJSON: its three versions, groups, points without a label, and the error of every fault."""

from __future__ import annotations

import json

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.label_file import defaults_of, open_label_file, recognise
from facekp.data.readers.base import READERS
from facekp.data.readers.ljson import point_names
from tests.data.label_readers import read_labels
from tests.data.photo_folder import write_one_photo

POINTS = [(30, 20), (10.5, 20), (20, 30), (28, 40), (12, 40)]
IN_FILE = [[y, x] for x, y in POINTS]
LABELS = [{"label": "eyes", "mask": [0, 1]}, {"label": "mouth", "mask": [3, 4]}]
V2 = {"version": 2, "labels": LABELS, "landmarks": {"points": IN_FILE, "connectivity": [[0, 1], [3, 4]]}}
V1 = {
    "version": 1,
    "groups": [
        {"label": "eyes", "landmarks": [{"point": point} for point in IN_FILE[:2]], "connectivity": [[0, 1]]},
        {"label": "rest", "landmarks": [{"point": point} for point in IN_FILE[2:]]},
    ],
}
V3 = {"version": 3, "groups": {"PTS": {"labels": LABELS, "landmarks": V2["landmarks"]}}}
TWO = {"version": 3, "groups": {**V3["groups"], "box": {"landmarks": {"points": IN_FILE[:4]}}}}


def write(folder, content):
    (folder / "photos" / "a.ljson").write_text(content if isinstance(content, str) else json.dumps(content))


def read(folder, *more):
    return read_labels("ljson", f"data.images={folder}/photos", *more)


@pytest.fixture
def folder(tmp_path):
    write_one_photo(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("content", "settings"), [(V1, ()), (V2, ()), (V3, ()), (TWO, ("data.group=PTS",))])
def test_every_version_has_y_before_x_counted_from_0(folder, content, settings):
    write(folder, content)
    table = read(folder, *settings)
    assert table.name.tolist() == ["a.png"]
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-4)
    assert recognise(folder / "photos") == "ljson"
    chosen = READERS.parse({**defaults_of("ljson"), "images": "x", "group": "PTS"})
    assert point_names(folder / "photos", chosen) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("missing", [[None, None], None])
def test_a_point_of_null_has_no_label(folder, missing):
    write(folder, {"version": 2, "landmarks": {"points": [missing, *IN_FILE[1:]]}})
    assert read(folder).mask[0].tolist() == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"version": 2, "landmarks": {"points": IN_FILE[:4]}},
            "a.ljson: has 4 points, but keypoints five has 5; choose",
        ),
        (
            {"version": 2, "landmarks": {"points": [[1, "x"], *IN_FILE[1:]]}},
            r"point 0: \[1, 'x'\] is not \[y, x\] in pix",
        ),
        ({"version": 2, "landmarks": {"points": [[1, 2, 3], *IN_FILE[1:]]}}, r"point 0: \[1, 2, 3\] is not \[y, x\]"),
        ({"version": 2, "landmarks": {"points": [[1, None], *IN_FILE[1:]]}}, r"point 0: \[1, None\] is not \[y, x\]"),
        ({"version": 2, "landmarks": {"points": []}}, "a.ljson: has 0 points; give an LJSON file of menpo with 1 to"),
        ({"version": 2, "landmarks": {"points": 3}}, "a.ljson: version 2 has no list of points where LJSON has it"),
        ({"version": 3, "groups": [V2]}, "a.ljson: version 3 has no list of points where LJSON has it"),
        ({"version": 1, "groups": [3, {"landmarks": 4}]}, "a.ljson: has 0 points"),
        ({"version": 3, "groups": {}}, "a.ljson: has the groups of no name; choose one with data.group=NAME"),
        (TWO, "a.ljson: has the groups PTS, box; choose one with data.group=NAME"),
        ([V2], "a.ljson: version None has no list of points"),
        ("{", "a.ljson: not valid JSON .*; give an LJSON file of menpo"),
    ],
)
def test_every_fault_is_refused_with_its_position(folder, content, message):
    write(folder, content)
    with pytest.raises(UserError, match=message):
        read(folder)


def test_a_group_that_is_not_there_is_refused_with_those_that_are(folder):
    write(folder, TWO)
    with pytest.raises(
        UserError, match=r"has the groups PTS, box; there is no 'bx'; did you mean box\? with data.group"
    ):
        read(folder, "data.group=bx")


def test_a_file_of_68_points_is_recognised_with_its_scheme(folder):
    points = [[20, x] for x in np.linspace(1, 58, 68)]
    write(folder, {"version": 2, "labels": [], "landmarks": {"points": points}})
    file = open_label_file(folder / "photos", None, None, None)
    assert (file.settings.name, file.keypoints.name, file.has_photos) == ("ljson", "ibug68", True)
