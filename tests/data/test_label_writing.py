"""Label files that are written hold the same faces as the file that was read: points, boxes, subsets, hidden points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facekp.data.label_file import open_label_file
from facekp.data.label_writing import WRITERS
from tests.data.label_samples import write_coco


@pytest.mark.parametrize(("form", "reader"), [("csv", "folder"), ("coco", "coco")])
def test_what_was_written_reads_as_what_was_given(tmp_path, form, reader):
    given = open_label_file(write_coco(tmp_path), None, None, None)
    name, write = WRITERS[form]
    (tmp_path / "out").mkdir()
    write(tmp_path / "out" / name, given)
    again = open_label_file(tmp_path / "out" / name, None, tmp_path / "images", None)
    assert (again.settings.name, again.keypoints.names) == (reader, given.keypoints.names)
    for one, other in zip(given.faces, again.faces, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.visible, other.visible)
        assert (one.name, one.box, one.attributes) == (other.name, other.box, other.attributes)


@pytest.mark.parametrize("form", WRITERS)
def test_faces_that_only_have_points_get_no_more(tmp_path, form):
    given = open_label_file(write_coco(tmp_path), None, None, None)
    faces = [replace(face, box=None, visible=None, attributes={}) for face in given.faces]
    name, write = WRITERS[form]
    path = tmp_path / f"plain_{name}"
    write(path, replace(given, faces=faces))
    again = open_label_file(path, None, tmp_path / "images", None)
    assert [(face.box, face.attributes) for face in again.faces] == 3 * [(None, {})]
    if form == "csv":
        assert path.read_text().splitlines()[0] == "name,L_eye_x,L_eye_y,R_eye_x,R_eye_y,nose_x,nose_y"
