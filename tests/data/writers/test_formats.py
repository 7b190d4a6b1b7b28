"""What is in the files of each format, calculated by hand; other programs read it so."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from facekp.core.errors import UserError
from tests.data.writers.samples import INSIDE, label_file, one_face_per_photo, read_again, with_faces, write


def test_labelme_counts_from_the_edge_and_names_the_photo_from_its_file(tmp_path):
    write(tmp_path, "labelme", label_file(tmp_path))
    path = tmp_path / "out" / "-1.json"
    content = json.loads(path.read_text())
    assert (content["imageWidth"], content["imageHeight"], content["imageData"]) == (60, 50, None)
    assert (path.parent / content["imagePath"]).samefile(tmp_path / "images" / "-1.png")
    shapes = [(s["label"], s["points"], s["group_id"], s["shape_type"]) for s in content["shapes"]]
    assert shapes == [
        ("face", [[10, 5], [50, 40]], 1, "rectangle"),
        ("L_eye", [[40.75, 20.5]], 1, "point"),
        ("R_eye", [[20.5, 21.5]], 1, "point"),
        ("L_eye", [[10.5, 5.5]], 2, "point"),
        ("R_eye", [[5.5, 5.5]], 2, "point"),
        ("nose", [[7.5, 9.5]], 2, "point"),
    ]
    assert [s["flags"] for s in content["shapes"]] == [{}, {}, {"occluded": True}, {}, {"occluded": True}, {}]
    assert content["shapes"][-1]["attributes"] == {"pose": "large"}


def with_empty_face(file):
    """The file with a face that is not written, as it has neither a point nor a box."""
    empty = replace(file.faces[0], points=np.full_like(file.faces[0].points, np.nan), box=None)
    return replace(file, faces=[*file.faces, empty])


def test_labelme_marks_no_points_as_hidden_by_an_attribute_of_the_face(tmp_path, caplog):
    file = one_face_per_photo(label_file(tmp_path))
    file = with_faces(file, visible=None, attributes={"occluded": "1", "state": "hidden", "pose": "large"})
    file = with_empty_face(file)
    one, other = read_again(write(tmp_path, "labelme", file), file).faces
    assert (one.visible, other.visible) == (None, None)
    assert (one.box, one.attributes) == (None, {"pose": "large"})
    assert other.attributes == {"occluded": "1", "state": "hidden", "pose": "large"}  # of the box
    assert "2 attributes left out, which would mark all points of a face as hidden" in caplog.messages


def test_label_files_are_in_the_subfolders_of_their_photos(tmp_path):
    file = with_faces(one_face_per_photo(label_file(tmp_path)), name="party/b.png", size=(60, 50))
    file = replace(file, faces=file.faces[:1])
    write(tmp_path, "labelme", file)
    content = json.loads((tmp_path / "out" / "party" / "b.json").read_text())
    assert content["imagePath"] == "../../images/party/b.png"


def test_pts_counts_from_one(tmp_path):
    write(
        tmp_path, "pts", one_face_per_photo(label_file(tmp_path, [INSIDE[1], {**INSIDE[0], "image_id": 2}, INSIDE[0]]))
    )
    lines = (tmp_path / "out" / "b.pts").read_text().splitlines()
    assert lines == ["version: 1", "n_points: 3", "{", "41.250 21.000", "21.000 22.000", "nan nan", "}"]


def test_pts_has_one_face_per_photo(tmp_path):
    with pytest.raises(UserError, match=r"id 12: -1.png has 2 faces, but a .pts file is of one; choose another format"):
        write(tmp_path, "pts", label_file(tmp_path))


def test_imglab_has_whole_pixels_and_a_box_for_every_face(tmp_path, caplog):
    file = with_faces(label_file(tmp_path), attributes={"label": "cat", "gender": "female", "pose": "large"})
    write(tmp_path, "imglab", with_empty_face(file))
    root = ElementTree.parse(tmp_path / "out" / "labels.xml").getroot()
    boxes = [{key: box.get(key) for key in ("left", "top", "width", "height", "gender")} for box in root.iter("box")]
    sides = [("10", "5", "40", "35"), ("5", "5", "6", "5"), ("20", "2", "30", "40")]
    assert boxes == [dict(zip(boxes[0], (*side, "female"), strict=True)) for side in sides]
    assert {box.findtext("label") for box in root.iter("box")} == {"cat"}
    assert [tuple(part.attrib.values()) for part in root.iter("part")][:2] == [("0", "40", "20"), ("1", "20", "21")]
    assert {"1 face has no box: the smallest around the points is written"} <= set(caplog.messages)


def test_imglab_numbers_sort_like_the_scheme(tmp_path):
    file = label_file(tmp_path, [{"id": 1, "image_id": 2, "keypoints": 12 * [7, 8, 2]}], 12)
    write(tmp_path, "imglab", file)
    text = (tmp_path / "out" / "labels.xml").read_text()
    assert 'name="00"' in text
    assert 'name="11"' in text


def test_cvat_has_a_skeleton_and_a_box_of_a_group(tmp_path):
    write(tmp_path, "cvat", label_file(tmp_path))
    root = ElementTree.parse(tmp_path / "out" / "annotations.xml").getroot()
    first, second = root.findall("image")
    assert (first.attrib, second.get("name")) == ({"id": "0", "name": "-1.png", "width": "60", "height": "50"}, "b.png")
    points = [(p.get("label"), p.get("outside"), p.get("occluded"), p.get("points")) for p in first[0].iter("points")]
    assert points == [
        ("L_eye", "0", "0", "40.750,20.500"),
        ("R_eye", "0", "1", "20.500,21.500"),
        ("nose", "1", "0", "0.00,0.00"),
    ]
    box = first.find("box")
    assert [box.get(key) for key in ("xtl", "ytl", "xbr", "ybr")] == ["10.000", "5.000", "50.000", "40.000"]
    assert first[0].get("group_id") == box.get("group_id")
    without_box = first.findall("skeleton")[1]
    assert (without_box.get("group_id"), without_box.findtext("attribute[@name='pose']")) == (None, "large")


@pytest.mark.parametrize("form", ["cvat", "labelme"])
def test_a_face_without_a_box_does_not_get_that_of_another_face_around_it(tmp_path, form):
    file = label_file(tmp_path, [{**INSIDE[0], "bbox": [0, 0, 60, 50]}, INSIDE[1]])
    again = read_again(write(tmp_path, form, file), file)
    assert [face.box for face in again.faces] == [(0, 0, 60, 50), None]


def test_cvat_gets_labels_that_draw_the_skeleton(tmp_path):
    file = label_file(tmp_path)
    file = replace(file, keypoints=replace(file.keypoints, lines=(("L_eye", "nose", "R_eye"),)))
    write(tmp_path, "cvat", file)
    skeleton, box = json.loads((tmp_path / "out" / "cvat_labels.json").read_text())
    assert [label["name"] for label in skeleton["sublabels"]] == ["L_eye", "R_eye", "nose"]
    assert [(a["name"], a["values"]) for a in skeleton["attributes"]] == [("pose", ["large"])]
    drawing = ElementTree.fromstring(f"<svg>{skeleton['svg']}</svg>")
    edges = [(line.get("data-node-from"), line.get("data-node-to")) for line in drawing.iter("line")]
    assert edges == [("1", "3"), ("3", "2")]
    centres = {c.get("data-label-name"): (float(c.get("cx")), float(c.get("cy"))) for c in drawing.iter("circle")}
    assert centres == {"L_eye": (90, 10), "R_eye": (10, 10), "nose": (42, 74)}  # the second face, 10 to 90 wide
    assert (box["name"], box["type"]) == ("face_box", "rectangle")


def test_labelstudio_has_per_cent_from_the_edge(tmp_path):
    write(tmp_path, "labelstudio", label_file(tmp_path))
    first, _ = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert first["data"] == {"image": "/data/local-files/?d=images/-1.png"}
    (annotation,) = first["annotations"]
    rectangle, eye, *_ = annotation["result"]
    assert (rectangle["type"], rectangle["original_width"], rectangle["original_height"]) == ("rectanglelabels", 60, 50)
    sides = [rectangle["value"][key] for key in ("x", "y", "width", "height")]
    np.testing.assert_allclose(sides, [100 / 6, 10, 400 / 6, 70])
    assert eye["value"]["keypointlabels"] == ["L_eye"]
    np.testing.assert_allclose([eye["value"]["x"], eye["value"]["y"]], [40.75 / 0.6, 41])
    assert eye["parentID"] == rectangle["id"]
    hidden = [item for item in annotation["result"] if item["value"].get("choices") == ["occluded"]]
    assert [item["id"] for item in hidden] == ["face1-2", "face2-2"]


def test_labelstudio_s_interface_has_all_names_that_the_tasks_use(tmp_path):
    write(tmp_path, "labelstudio", label_file(tmp_path))
    text = (tmp_path / "out" / "labeling_config.xml").read_text()
    assert not text.startswith("<?xml")  # which Label Studio refuses
    view = ElementTree.fromstring(text)
    controls = {tag.get("name"): [child.get("value") for child in tag] for tag in view}
    used: dict[str, set[str]] = {}
    for task in json.loads((tmp_path / "out" / "tasks.json").read_text()):
        for item in task["annotations"][0]["result"]:
            key = "choices" if item["type"] == "choices" else item["type"]
            used.setdefault(item["from_name"], set()).update(item["value"][key])
            assert item["to_name"] == "image"
    assert used == {
        "face_box": {"face"},
        "face_points": {"L_eye", "R_eye", "nose"},
        "visibility": {"occluded"},
        "pose": {"large"},
    }
    assert all(values <= set(controls[name]) for name, values in used.items())


def test_labelstudio_s_addresses_lead_to_photos_of_any_name(tmp_path):
    file = one_face_per_photo(label_file(tmp_path))
    names = ["a b#1%20&d=é?.png", "x\udce9.png"]  # the second is not in UTF-8
    faces = [replace(face, name=name, size=(60, 50)) for face, name in zip(file.faces, names, strict=True)]
    again = read_again(write(tmp_path, "labelstudio", replace(file, faces=faces)), file)
    assert [face.name for face in again.faces] == names


def test_labelstudio_leaves_out_a_rectangle_that_says_nothing(tmp_path, caplog):
    file = with_faces(one_face_per_photo(label_file(tmp_path)), box=None, attributes={})
    again = read_again(write(tmp_path, "labelstudio", file), file)
    assert [face.box for face in again.faces] == [None, None]
    assert not caplog.messages


@pytest.mark.parametrize("form", ["labelstudio", "yolo"])
def test_points_outside_the_photo_are_left_out_and_counted(tmp_path, caplog, form):
    far = {**INSIDE[2], "keypoints": [45, 11, 2, 30, 12, 2, 37, 99, 2], "bbox": [20, 2, 50, 40]}
    file = label_file(tmp_path, [*INSIDE[:2], far])
    *_, face = read_again(write(tmp_path, form, file), file).faces
    np.testing.assert_allclose(face.points, [[45, 11], [30, 12], [np.nan, np.nan]], atol=0.001)
    np.testing.assert_allclose(face.box, (20, 2, 60, 42), atol=1e-6)
    assert "1 point is outside the photos, left out" in caplog.messages


def test_yolo_has_fractions_from_the_edge_and_copies_of_the_photos(tmp_path):
    write(tmp_path, "yolo", label_file(tmp_path))
    out = tmp_path / "out"
    lines = [np.array(line.split(), float) for line in (out / "labels" / "train" / "-1.txt").read_text().splitlines()]
    first = [0, 30 / 60, 22.5 / 50, 40 / 60, 35 / 50, 40.75 / 60, 20.5 / 50, 2, 20.5 / 60, 21.5 / 50, 1, 0, 0, 0]
    np.testing.assert_allclose(lines[0], first, atol=1e-6)
    np.testing.assert_allclose(lines[1][:5], [0, 8 / 60, 7.5 / 50, 6 / 60, 5 / 50], atol=1e-6)  # around the points
    copy, photo = out / "images" / "val" / "b.png", tmp_path / "images" / "b.png"
    assert copy.read_bytes() == photo.read_bytes()
    assert yaml.safe_load((out / "data.yaml").read_text()) == {
        "train": "images/train",
        "val": "images/val",
        "kpt_shape": [3, 3],
        "flip_idx": [1, 0, 2],
        "names": {0: "face"},
        "kpt_names": {0: ["L_eye", "R_eye", "nose"]},
    }


@pytest.mark.parametrize(
    ("splits", "folders"),
    [(["test", None], {"b.png": "train", "-1.png": "test"}), ([None, None], {"-1.png": "train", "b.png": "val"})],
)
def test_yolo_takes_the_stated_split_or_the_last_fifth(tmp_path, caplog, splits, folders):
    file = one_face_per_photo(label_file(tmp_path))
    attributes = [{} if split is None else {"split": split} for split in splits]
    faces = [replace(face, attributes=one) for face, one in zip(file.faces, attributes, strict=True)]
    again = read_again(write(tmp_path, "yolo", replace(file, faces=faces)), file)
    assert {face.name: face.attributes["split"] for face in again.faces} == {
        f"images/{split}/{name}": split for name, split in folders.items()
    }
    assert ("no photo has a split: the last 1 of 2 photos by name are val" in caplog.messages) == (splits[0] is None)


def test_yolo_finds_the_labels_of_photos_in_folders_called_images(tmp_path):
    file = with_faces(one_face_per_photo(label_file(tmp_path)), size=(60, 50))
    (tmp_path / "images" / "images" / "labels").mkdir(parents=True)
    for face in file.faces:
        (tmp_path / "images" / face.name).rename(tmp_path / "images" / "images" / "labels" / face.name)
    faces = [replace(face, name=f"images/labels/{face.name}") for face in file.faces]
    again = read_again(write(tmp_path, "yolo", replace(file, faces=faces)), file)
    assert sorted(face.name for face in again.faces) == ["images/train/-1.png", "images/val/b.png"]


def test_yolo_needs_the_photos(tmp_path):
    file = with_faces(label_file(tmp_path), size=(60, 50))
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(
        UserError, match=r"id 7: .*b.png: can't be copied \(No such file or directory\); name the folder"
    ):
        write(tmp_path, "yolo", file)
