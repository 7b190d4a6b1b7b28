"""Label files that are written hold the same faces as the file that was read, as far as their format can."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.core.registry import Registry
from facekp.data import convert
from facekp.data.writers import base
from facekp.data.writers.base import WRITERS, Written, box_around, cut_to_photo, left_out, photo_size, visibility
from tests.data.writers.samples import (
    assert_same,
    label_file,
    one_face_per_photo,
    read_again,
    with_faces,
    write,
)

BUILT_IN = ["coco", "csv", "cvat", "imglab", "labelme", "labelstudio", "pts", "yolo"]


def test_all_formats_are_known():
    assert sorted(WRITERS) == BUILT_IN


@pytest.mark.parametrize("form", BUILT_IN)
def test_what_was_written_reads_as_what_was_given(tmp_path, form):
    file = label_file(tmp_path)
    if form == "pts":
        file = one_face_per_photo(file)
    written = write(tmp_path, form, file)
    again = read_again(written, file)
    assert_same(again, file, digits=0 if form == "imglab" else 3, names=form != "yolo")
    for one, other in zip(again.faces, file.faces, strict=True):
        if written.keeps_hidden:
            np.testing.assert_array_equal(visibility(one), visibility(other))
        if written.keeps_boxes and other.box is not None:
            np.testing.assert_allclose(one.box, other.box, atol=1e-6)
        holds_all = written.kept_attributes is None
        kept = {name: text for name, text in other.attributes.items() if holds_all or name in written.kept_attributes}
        assert {name: text for name, text in one.attributes.items() if name != "split"} == kept
    lost = {"imglab": ["marks of 2 hidden points", "attribute pose"], "yolo": ["attribute pose"]}
    lost["pts"] = ["1 box", "mark of 1 hidden point", "attribute pose"]
    assert list(left_out(file, written)) == lost.get(form, [])


@pytest.mark.parametrize("form", ["csv", "coco", "cvat", "labelme"])
def test_faces_that_only_have_points_get_no_more(tmp_path, form):
    file = with_faces(label_file(tmp_path), box=None, visible=None, attributes={})
    again = read_again(write(tmp_path, form, file), file)
    assert [(face.box, face.attributes) for face in again.faces] == 3 * [(None, {})]
    if form == "csv":
        first = (tmp_path / "out" / "labels.csv").read_text().splitlines()[0]
        assert first == "name,L_eye_x,L_eye_y,R_eye_x,R_eye_y,nose_x,nose_y"


@pytest.mark.parametrize("form", ["csv", "coco"])
def test_labelling_conventions_and_long_subsets_are_kept(tmp_path, form):
    file = label_file(tmp_path)
    names = file.keypoints.names
    scheme = replace(file.keypoints, sources={"one": names, "two": names[:2]})
    faces = [replace(face, source=i % 2, attributes={"note": 80 * "x"}) for i, face in enumerate(file.faces)]
    file = replace(file, faces=faces, keypoints=scheme)
    again = read_again(write(tmp_path, form, file), file)
    kept = {(face.row, face.source, *face.attributes.items()) for face in again.faces}
    rows = [face.row for face in faces] if form == "coco" else [1, 2, 3]
    assert kept == {(row, i % 2, ("note", 80 * "x")) for i, row in enumerate(rows)}


def test_labelling_conventions_that_a_format_lacks_are_reported(tmp_path):
    file = label_file(tmp_path)
    names = file.keypoints.names
    scheme = replace(file.keypoints, sources={"one": names, "two": names[:2]})
    file = replace(file, faces=[replace(face, source=1) for face in file.faces], keypoints=scheme)
    assert list(left_out(file, Written(tmp_path, "labelme"))) == ["labelling conventions"]


@pytest.mark.parametrize("form", BUILT_IN)
def test_faces_without_points_are_no_obstacle(tmp_path, form):
    file = one_face_per_photo(label_file(tmp_path))
    nothing = np.full((3, 2), np.nan)
    faces = [replace(file.faces[0], name="b.png", points=nothing, box=None), *file.faces[:1]]
    file = replace(file, faces=faces if form != "pts" else faces[1:])
    again = read_again(write(tmp_path, form, file), file)
    np.testing.assert_allclose(again.faces[-1].points, file.faces[-1].points, atol=0.001)


@pytest.mark.parametrize("form", ["labelme", "pts", "yolo"])
def test_photos_that_differ_only_in_their_ending_are_refused(tmp_path, form):
    file = one_face_per_photo(label_file(tmp_path))
    one, other = file.faces
    file = replace(file, faces=[replace(one, name="b.jpg", size=(60, 50)), other])
    with pytest.raises(UserError, match=r"b.jpg and b.png: both would have the labels b\.\w+; rename one of them"):
        write(tmp_path, form, file)


@pytest.mark.parametrize("form", ["labelme", "pts", "yolo"])
@pytest.mark.parametrize("name", ["../b.png", "/b.png"])
def test_nothing_is_written_outside_the_new_folder(tmp_path, form, name):
    file = replace(label_file(tmp_path), faces=[replace(label_file(tmp_path).faces[2], name=name, size=(60, 50))])
    with pytest.raises(UserError, match=rf"{name}: is outside the photos' folder"):
        write(tmp_path, form, file)


def test_no_photo_outside_the_folder_is_opened(tmp_path):
    file = label_file(tmp_path)
    (tmp_path / "images" / "b.png").rename(tmp_path / "b.png")
    face = replace(file.faces[2], name="../b.png")
    assert photo_size(file, face) is None
    assert photo_size(replace(file, settings=file.settings.replaced(anywhere=True)), face) == (60, 50)


@pytest.mark.parametrize("form", ["cvat", "labelstudio", "yolo"])
def test_the_size_of_a_photo_is_needed(tmp_path, form):
    file = one_face_per_photo(label_file(tmp_path))
    (tmp_path / "images" / "b.png").write_bytes(b"no photo")
    message = r"id 7: the size of b.png is not known, as it can't be read in .*images; name the folder"
    with pytest.raises(UserError, match=message):
        write(tmp_path, form, file)


@pytest.mark.parametrize("form", ["cvat", "imglab", "labelstudio"])
def test_text_that_xml_can_t_hold_is_refused(tmp_path, form):
    file = with_faces(label_file(tmp_path), attributes={"label": "a\x01b"})
    with pytest.raises(UserError, match=r"can't hold 'a\\x01b', as XML has no such character; rename it"):
        write(tmp_path, form, file)


def test_a_box_is_the_face_s_or_around_the_pixels_of_its_points(tmp_path):
    one, two, _ = label_file(tmp_path).faces
    assert box_around(one) == (10, 5, 50, 40)
    assert box_around(two) == (5, 5, 11, 10)


def test_faces_are_cut_to_their_photo(tmp_path):
    faces = label_file(tmp_path).faces
    outside = [replace(face, points=face.points + np.array([0, 60])) for face in faces]
    assert cut_to_photo(outside, (60, 50)) == []
    shifted = replace(
        faces[2], points=faces[2].points + np.array([14.5, 0]), box=(34.5, -3, 64.5, 40)
    )  # 59.5 is the edge
    (cut,) = cut_to_photo([shifted], (60, 50))
    np.testing.assert_array_equal(cut.points, [[59.5, 11], [44.5, 12], [51.5, 30.5]])
    assert cut.box == (34.5, 0, 60, 40)
    (cut,) = cut_to_photo([replace(shifted, points=shifted.points + 0.01, box=(70, 0, 80, 9))], (60, 50))
    np.testing.assert_array_equal(np.isnan(cut.points[:, 0]), [True, False, False])
    assert cut.box is None


def test_a_plug_in_s_format_is_written(tmp_path, run_here, monkeypatch, caplog):
    registry: Registry = Registry("label writer", "format", base.WriterSettings, "facekp.tests", inputs=2)
    monkeypatch.setattr("facekp.data.label_commands.WRITERS", registry)
    monkeypatch.setattr(base, "WRITERS", registry)

    @registry.register("names")
    def write_names(folder, file):
        (folder / "names.txt").write_text(" ".join(face.name for face in file.faces))
        return Written(folder / "names.txt", "names", keeps_boxes=False)

    label_file(tmp_path)
    code, _ = run_here("convert", partial(convert.main, names=["labels.json"]), "out=new", "format=names")
    assert code == 0
    assert (tmp_path / "new" / "names.txt").read_text() == "-1.png -1.png b.png"
    assert "format=names can't hold, left out: 2 boxes, labelling conventions" not in caplog.text
    assert "format=names can't hold, left out: 2 boxes" in caplog.text
