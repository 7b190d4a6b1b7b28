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


@pytest.mark.parametrize("form", WRITERS)
def test_labelling_conventions_and_long_subsets_are_kept(tmp_path, form):
    given = open_label_file(write_coco(tmp_path), None, None, None)
    names = given.keypoints.names
    scheme = replace(given.keypoints, sources={"one": names, "two": names[:2]})
    faces = [replace(face, source=i % 2, attributes={"note": 80 * "x"}) for i, face in enumerate(given.faces)]
    name, write = WRITERS[form]
    write(tmp_path / name, replace(given, faces=faces, keypoints=scheme))
    again = open_label_file(tmp_path / name, None, tmp_path / "images", scheme)
    kept = {(face.row, face.source, *face.attributes.items()) for face in again.faces}
    rows = [face.row for face in faces] if form == "coco" else [1, 2, 3]
    assert kept == {(row, i % 2, ("note", 80 * "x")) for i, row in enumerate(rows)}
