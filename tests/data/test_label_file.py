"""Label files of any format: the reader that recognises them, the scheme of their points, the photos beside them."""

from __future__ import annotations

import json

import pytest

from facekp.core.errors import UserError
from facekp.data.label_file import open_label_file, recognise
from facekp.data.readers.base import MIRROR_POINTS, POINT_NAMES, READERS, RECOGNISERS
from tests.data.label_samples import FACES, write_coco

TEXTS = {
    "coco": json.dumps({"images": [], "annotations": []}),
    "wflw": "1 2 3.5 4 a.jpg\n",
    "celeba": "1\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x "
    "rightmouth_y\n000001.jpg  69  109  106  113   77  142   73  152  108  154\n",
    "mtfl": "lfw\\a.jpg 107.25 147 126 106 140 108 113 143 158 162 1 2 2 3\n",
    "imglab": "<?xml version='1.0'?><dataset><images><image file='a.jpg'><box top='1'/></image></images></dataset>",
    "cvat": "<?xml version='1.0'?><annotations><image id='0' name='a.jpg'><points label='nose'/></image></annotations>",
    "labelstudio": json.dumps(
        [{"annotations": [{"result": [{"type": "keypointlabels"}]}], "data": {"image": "a.jpg"}}]
    ),
    "labelme": json.dumps(
        {"shapes": [{"label": "nose", "points": [[1, 2]], "shape_type": "point"}], "imagePath": "a.jpg"}
    ),
    "via": json.dumps({"a.jpg7": {"filename": "a.jpg", "regions": [{"shape_attributes": {"name": "point"}}]}}),
    "dlc": "scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\na.png,1,2\n",
    "yolo": "train: images/train\nkpt_shape: [5, 3]\nnames: {0: face}\n",
    "folder": "name;nose_x;nose_y\na.jpg;1;2\n",
}


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        *TEXTS.items(),
        ("yolo", "0 0.5 0.5 0.1 0.1 0.5 0.5\n"),  # a single label file, for the error that names its dataset
        ("yolo", "nc: 1\ntrain: images/train\n"),  # without points, for the error that says so
    ],
)
def test_a_file_is_recognised_by_its_text_by_one_reader_only(tmp_path, reader, text):
    path = tmp_path / "labels"
    path.write_text(text)
    assert recognise(path) == reader  # imports the readers
    assert [name for name, is_format in RECOGNISERS.items() if is_format(path, text)] == [reader]


@pytest.mark.parametrize(
    ("reader", "name", "text"),
    [
        ("pts", "sub/a.PTS", ""),
        ("dlc", "CollectedData_me.csv", ""),
        ("txt", "landmarks/a.txt", "2\n1 2\n3 4\n"),
        ("txt", "annotation/1.txt", "1003_1\n1 , 2\n3 , 4\n"),
        ("ljson", "sub/a.ljson", "{}"),
        ("yolo", "labels/a.txt", "0 0.5 0.5 0.1 0.1 0.5 0.5"),
        ("labelme", "sub/a.json", TEXTS["labelme"]),
    ],
)
def test_a_folder_is_recognised_by_its_files(tmp_path, reader, name, text):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    (tmp_path / "README.txt").write_text("made by hand\n")
    (tmp_path / "a.json").write_text(TEXTS["coco"])
    (tmp_path / "b.json").write_bytes(b"\xff")
    assert recognise(tmp_path) == reader
    assert [name for name, is_format in RECOGNISERS.items() if is_format(tmp_path, "")] == [reader]


@pytest.mark.parametrize(
    ("reader", "name", "start"),
    [("sleap", "a.slp", b"\x89HDF"), ("cofw", "COFW_train.mat", b"\x89HDF"), ("aflw", "a.sqlite", b"SQLite format 3")],
)
def test_a_binary_file_is_recognised_by_its_ending(tmp_path, reader, name, start):
    path = tmp_path / name
    path.write_bytes(start + b"\0\xff")
    assert recognise(path) == reader
    assert [name for name, is_format in RECOGNISERS.items() if is_format(path, "")] == [reader]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,age\na.jpg,7\n", "no reader recognises it; name one with data=NAME, one of .*folder"),
        ("left_eye_center_x,Image\n1,2\n", "is the competition's file; train on it with data=kaggle data.dir="),
        ("", "no reader recognises it"),
    ],
)
def test_a_file_that_no_reader_recognises_is_refused(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        recognise(path)
    with pytest.raises(UserError, match="nowhere: does not exist"):
        open_label_file(tmp_path / "nowhere", None, None, None)


def test_a_reader_of_a_plug_in_that_recognises_no_file_is_offered(tmp_path, monkeypatch):
    monkeypatch.setattr(READERS, "plugin_names", lambda: ["mine"])
    (tmp_path / "labels.txt").write_text("?")
    with pytest.raises(UserError, match=r"no reader recognises it; .* one of .*, mine, or write one"):
        recognise(tmp_path / "labels.txt")


def test_the_scheme_is_made_of_the_file_s_names_and_the_photos_are_found_beside_it(tmp_path):
    file = open_label_file(write_coco(tmp_path), None, None, None)
    assert (file.settings.name, file.settings.images) == ("coco", str(tmp_path / "images"))
    assert (file.has_photos, file.is_shipped) == (True, False)
    assert file.keypoints.pairs == (("L_eye", "R_eye"),)
    assert sorted(face.row for face in file.faces) == [7, 11, 12]


def test_points_without_names_are_those_of_the_shipped_scheme_with_their_number(tmp_path):
    faces = [{**face, "keypoints": face["keypoints"][:3] * 98} for face in FACES]
    file = open_label_file(write_coco(tmp_path, faces, []), None, None, None)
    assert (file.keypoints.name, file.is_shipped) == ("wflw98", True)
    named = [{**face, "keypoints": face["keypoints"][:3] * 5} for face in FACES]
    five = ["nose_tip", "left_eye_center", "right_eye_center", "mouth_left_corner", "mouth_right_corner"]
    assert open_label_file(write_coco(tmp_path, named, five), None, None, None).keypoints.name == "celeba5"


def test_photos_that_are_not_beside_the_file_are_named(tmp_path):
    path = write_coco(tmp_path)
    (tmp_path / "images").rename(tmp_path / "elsewhere-deep")
    moved = path.rename(tmp_path / "elsewhere-deep" / "labels.json")
    (tmp_path / "other").mkdir()
    moved = moved.rename(tmp_path / "other" / "labels.json")
    assert not open_label_file(moved, None, None, None).has_photos
    file = open_label_file(moved, None, tmp_path / "elsewhere-deep", None)
    assert (file.has_photos, file.settings.images) == (True, str(tmp_path / "elsewhere-deep"))


def test_faults_of_faces_are_counted(tmp_path):
    file = open_label_file(write_coco(tmp_path, [*FACES, {**FACES[0], "id": 13, "image_id": 99}]), None, None, None)
    assert len(file.faces) == 3
    (warning,) = file.warnings
    assert "1 face with errors left out" in warning


def test_the_reader_s_settings_choose_the_points_of_a_new_scheme(tmp_path):
    path = write_coco(tmp_path)
    content = json.loads(path.read_text())
    hand = {"id": 9, "name": "hand", "keypoints": ["thumb", "wrist"]}
    path.write_text(json.dumps({**content, "categories": [*content["categories"], hand]}))
    of_face = open_label_file(path, {"category": content["categories"][0]["name"]}, None, None)
    assert of_face.keypoints.names == tuple(content["categories"][0]["keypoints"])
    with pytest.raises(UserError, match=r"categories with keypoints: .*hand; choose one with data.category=NAME"):
        open_label_file(path, None, None, None)


def test_names_that_another_system_wrote_find_their_photos(tmp_path):
    (tmp_path / "images" / "P").mkdir(parents=True)
    (tmp_path / "images" / "P" / "a.png").touch()
    (tmp_path / "labels.csv").write_text("name,nose_x,nose_y\nP\\A.png,1,2\n")
    for images in (None, tmp_path / "images"):
        file = open_label_file(tmp_path / "labels.csv", None, images, None)
        found = images is not None  # a folder that is not named is not searched without regard to case
        assert (file.has_photos, file.faces[0].name) == (found, "P/a.png" if found else "P\\A.png")


@pytest.mark.parametrize(
    ("reader", "content"),
    [
        ("folder", b'"name","nose_x","nose_y"\r\n"a.jpg",1,2\r\n'),
        ("celeba", TEXTS["celeba"].replace("1\n", "image_id ", 1).replace(" ", ",").encode("utf-16")),
        ("folder", b"sep=;\nname;nose_x;nose_y\na.jpg;1;2\n"),
        ("dlc", b'"scorer","me","me"\n"bodyparts","nose","nose"\n"coords","x","y"\n"a.png",1,2\n'),
        (
            "via",
            b"#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes",
        ),
        ("via", b'\xef\xbb\xbf{"_via_img_metadata": {"a": {"regions": {"0": {"shape_attributes": {}}}}}}'),
        ("imglab", TEXTS["imglab"].replace("a.jpg", "\xe9.jpg").encode("latin-1")),
    ],
)
def test_a_file_is_recognised_in_other_spellings(tmp_path, reader, content):
    path = tmp_path / "labels"
    path.write_bytes(content)
    assert recognise(path) == reader


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (iter(()), "data=coco: the reader returned tuple_iterator, not a list of LabelledFace"),
        ([{"name": "a.png"}], "data=coco: the reader returned a list with dict, not LabelledFace"),
        ([], r"labels\.json: the reader coco found no face in it"),
    ],
)
def test_what_a_plug_in_s_reader_returned_is_checked(tmp_path, monkeypatch, returned, message):
    READERS.names()
    monkeypatch.setitem(READERS.entries, "coco", lambda settings, keypoints: returned)
    with pytest.raises(UserError, match=message):
        open_label_file(write_coco(tmp_path), None, None, None)


@pytest.mark.parametrize(
    ("names", "mirror", "message"),
    [
        (["a", 3], None, r"data=coco: its names_points returned \['a', 3\]; it returns the names of the points"),
        (["a", "b"], [1, 2], r"data=coco: its mirrors_points returned \[1, 2\] for 2 points; .* 0 to 1, of each"),
        (["a", "b"], [1], r"data=coco: its mirrors_points returned \[1\] for 2 points"),
    ],
)
def test_what_a_plug_in_says_about_points_is_checked(tmp_path, monkeypatch, names, mirror, message):
    READERS.names()
    monkeypatch.setitem(POINT_NAMES, "coco", lambda path, settings: iter(names))
    monkeypatch.setitem(MIRROR_POINTS, "coco", lambda path: mirror)
    with pytest.raises(UserError, match=message):
        open_label_file(write_coco(tmp_path), None, None, None)
