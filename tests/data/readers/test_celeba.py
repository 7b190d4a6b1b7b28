"""CelebA's lists: whose left is meant, copies as CSV, boxes, attributes and partition, and the error of every fault."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.label_file import defaults_of, open_label_file, recognise
from facekp.data.readers.base import READERS
from facekp.data.readers.celeba import is_celeba, point_names
from tests.data.label_readers import read_labels, shipped

HEADER = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
FACES = ["10  20   30   21   20   30   12   40    28   41 ", " 9  19   31   21   20   30   12   40   28.5   41"]
IN_FACEKP = {  # by the person's side, of the first face; the person's right is on the left of the image
    "right_eye_center": (10, 20),
    "left_eye_center": (30, 21),
    "nose_tip": (20, 30),
    "mouth_right_corner": (12, 40),
    "mouth_left_corner": (28, 41),
}
LIST = f"3\n{HEADER} \n" + "".join(f"{name}.png  {FACES[i]}\n" for name, i in (("a", 0), ("b", 1), ("c", 0)))
BOXES = "3\nimage_id x_1 y_1 width height\n" + "".join(f"{name}.png    5  10  40  38\n" for name in "abc")
ATTRIBUTES = "3\nSmiling No_Beard \na.png -1  1\nb.png  1 -1\nc.png  1 -1\n"
PARTITION = "a.png 0\nb.png 1\nc.png 2\n"


def read(folder, *more):
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/list_landmarks_celeba.txt")
    return read_labels("celeba", *paths, *more, scheme=shipped("celeba5"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for seed, name in enumerate("abc"):
        noise = np.random.default_rng(seed).integers(0, 256, (50, 60), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "list_landmarks_celeba.txt").write_text(LIST)
    (tmp_path / "boxes.txt").write_text(BOXES)
    (tmp_path / "attributes.txt").write_text(ATTRIBUTES)
    (tmp_path / "partition.txt").write_text(PARTITION)
    return tmp_path


def test_left_in_the_list_is_the_left_of_the_image_which_is_the_person_s_right(folder):
    table = read(folder)
    assert table.name.tolist() == ["a.png", "b.png", "c.png"]
    assert table.row.tolist() == [3, 4, 5]
    points = dict(zip(table.keypoints.names, table.to_photo(table.points)[0].round(4).tolist(), strict=True))
    assert {name: tuple(point) for name, point in points.items()} == IN_FACEKP
    assert table.attributes == {}


def test_the_scheme_s_order_of_points_does_not_matter(folder):
    names = sorted(IN_FACEKP)
    scheme = Keypoints.from_dict({"name": "sorted", "names": names})
    paths = {"images": str(folder / "photos"), "labels": str(folder / "list_landmarks_celeba.txt"), "cache": None}
    faces = READERS["celeba"](READERS.parse({**defaults_of("celeba"), **paths}), scheme)
    assert isinstance(faces, list)
    assert faces[0].points.tolist() == [list(IN_FACEKP[name]) for name in names]


def test_copies_as_csv_are_read_in_any_order_of_columns(folder):
    columns = HEADER.split()[::-1]
    for separator in ",;":
        lines = [separator.join(["image_id", *columns])]
        lines += [separator.join([f"{name}.png", *FACES[0].split()[::-1]]) for name in "abc"]
        (folder / "list.csv").write_text("\r\n".join(lines), encoding="utf-8-sig")
        assert recognise(folder / "list.csv") == "celeba"
        table = read(folder, f"data.labels={folder}/list.csv")
        assert table.row.tolist() == [2, 3, 4]
        np.testing.assert_allclose(table.to_photo(table.points)[2], list(IN_FACEKP.values()), atol=1e-4)


def test_boxes_attributes_and_the_partition_are_in_lists_of_their_own(folder):
    (folder / "boxes.txt").write_text(BOXES.replace("b.png    5  10  40  38", "b.png   30  25   0   0"))
    lists = [f"data.{key}_list={folder}/{file}.txt" for key, file in
             (("box", "boxes"), ("attribute", "attributes"), ("partition", "partition"))]  # fmt: skip
    table = read(folder, *lists)
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "split": ["train", "val", "test"],
        "Smiling": ["0", "1", "1"],
        "No_Beard": ["1", "0", "0"],
    }
    left, top, side = table.photo_matrix[0, 0, 2], table.photo_matrix[0, 1, 2], table.photo_matrix[0, 0, 0] * 96
    np.testing.assert_allclose([left, top, side], [5, 9, 40], atol=0.5)  # the square around 40 x 38 pixels
    assert np.isnan(table.box[1]).all()  # CelebA has a box without width and height
    assert not np.isnan(table.box[[0, 2]]).any()


def test_other_lists_may_be_csv_too(folder):
    (folder / "attributes.txt").write_text("image_id,Smiling\nc.png,0\na.png,1\nb.png,-1\n")
    (folder / "partition.txt").write_text("image_id,partition\nc.png,0\na.png,1\nb.png,2\n")
    lists = (f"data.attribute_list={folder}/attributes.txt", f"data.partition_list={folder}/partition.txt")
    table = read(folder, *lists)
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "split": ["val", "test", "train"],
        "Smiling": ["1", "0", "0"],
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png 1 2 3", "txt: line 3: 3 fields after the name, but the list has 10 columns; give one field for each"),
        ("a.png", "txt: line 3: 0 fields after the name"),
        ("a.png " + FACES[0].replace("30", "x", 1), "line 3, righteye_x: 'x' is not a finite number; give pixels"),
        ("a.png " + FACES[0].replace("41", "nan"), "line 3, righteye_y|rightmouth_y: 'nan' is not a finite number"),
        ("a.png " + FACES[0].replace("10", "1e999"), "line 3, lefteye_x: '1e999' is not a finite number"),
        ("b.png " + FACES[0], "line 4: b.png is on line 3 already; keep one of the two lines"),
    ],
)
def test_every_fault_of_a_line_is_refused_with_its_position(folder, line, message, caplog):
    lines = LIST.split("\n")
    (folder / "list_landmarks_celeba.txt").write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(UserError, match=message):
        read(folder)
    assert len(read(folder, "data.skip_broken=true")) == 2
    assert "1 face with errors left out" in caplog.text


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("box", BOXES.replace("38", "x", 1), "t.txt: line 3, height: 'x' is not a finite number"),
        ("box", BOXES.replace("a.png", "d.png"), "celeba.txt: line 3: a.png is not in .*t.txt; add it there, or set da"
         "ta.box_list=null"),
        ("attribute", ATTRIBUTES.replace("-1  1", " 2  1"), "t.txt: line 3, Smiling: '2' is not an attribute; write 1"),
        ("attribute", ATTRIBUTES.replace("-1  1", "1"), "t.txt: line 3: 1 fields after the name, but the list has 2"),
        ("partition", PARTITION.replace("0", "3"), r"t.txt: line 1: '3' is not a part; write 0 \(train\), 1 \(val\)"),
    ],
)  # fmt: skip
def test_every_fault_of_another_list_is_refused_with_its_position(folder, key, text, message):
    (folder / "t.txt").write_text(text)
    given = f"data.{key}_list={folder}/t.txt"
    with pytest.raises(UserError, match=message):
        read(folder, given)
    assert read(folder, given, "data.skip_broken=true").name.tolist() == ["b.png", "c.png"]


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("box", "", "data.box_list=.*t.txt: is empty; give CelebA's list"),
        ("box", LIST, "data.box_list=.*t.txt: line 2: its columns are lefteye_x .*; give CelebA's list with the "
         "columns x_1 y_1 width height"),
        ("attribute", PARTITION, "data.attribute_list=.*t.txt: line 1: names no columns; give CelebA's list with its"),
        ("attribute", "Smiling Smiling\na.png 1 1", "data.attribute_list=.*: line 1: a column is duplicated"),
        ("partition", PARTITION * 2, "data.partition_list=.*t.txt: line 4: a.png is on line 1 already; keep one"),
        ("partition", "image_id,part\na.png,0\n", "data.partition_list=.*: line 1: its columns are part; give"),
    ],
)  # fmt: skip
def test_a_list_of_another_kind_is_refused(folder, key, text, message):
    (folder / "t.txt").write_text(text)
    for skip in ("false", "true"):
        with pytest.raises(UserError, match=message):
            read(folder, f"data.{key}_list={folder}/t.txt", f"data.skip_broken={skip}")


def test_a_list_that_is_missing_is_named_by_its_setting(folder):
    with pytest.raises(UserError, match=r"^data.box_list=.*nowhere: can't be read \(No such file"):
        read(folder, f"data.box_list={folder}/nowhere")
    with pytest.raises(UserError, match=r"^data.labels=.*nowhere: can't be read \(No such file"):
        read(folder, f"data.labels={folder}/nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data.labels=.*: is empty; give CelebA's list"),
        ("3\n", "data.labels=.*: is empty; give CelebA's list"),
        (ATTRIBUTES, "line 2: its columns are Smiling No_Beard; give CelebA's list with the columns lefteye_x lefteye"),
        (f"{HEADER}\n", "has no face with a labelled point"),
    ],
)
def test_a_label_file_of_another_kind_is_refused(folder, text, message):
    (folder / "list_landmarks_celeba.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read(folder)


def test_a_list_with_the_person_s_left_is_refused(folder):
    names = {"lefteye": "righteye", "righteye": "lefteye", "leftmouth": "rightmouth", "rightmouth": "leftmouth"}
    header = " ".join(f"{names.get(name, name)}_{axis}" for name, axis in (n.split("_") for n in HEADER.split()))
    (folder / "list_landmarks_celeba.txt").write_text(LIST.replace(HEADER, header))
    with pytest.raises(UserError, match="lefteye is to the right of righteye in 3 of 3 faces, but CelebA's left is the "
                                        "left of the image; exchange the names"):  # fmt: skip
        read(folder)


def test_a_few_faces_upside_down_are_fine(folder):
    turned = "30 20 10 21 20 30 28 40 12 41"
    (folder / "list_landmarks_celeba.txt").write_text(LIST.replace(FACES[1], turned))
    table = read(folder)
    assert table.to_photo(table.points)[1, 0].round(4).tolist() == [30, 20]


def test_a_list_that_was_cut_off_is_warned_of(folder, caplog):
    read(folder)
    assert "states" not in caplog.text
    (folder / "list_landmarks_celeba.txt").write_text(LIST.replace("3\n", "202599\n", 1))
    assert len(read(folder)) == 3
    assert "states 202599 lines, but has 3; if it was cut off, download it again" in caplog.text


def test_the_list_of_aligned_photos_is_for_photos_of_their_size(folder):
    aligned = folder / "list_landmarks_align_celeba.txt.gz"
    aligned.write_bytes(gzip.compress(LIST.encode()))
    with pytest.raises(UserError, match=r"a.png: its labels are for 178 x 218 pixels, but a viewer shows 60 x 50"):
        read(folder, f"data.labels={aligned}")
    for name in "abc":
        with Image.open(folder / "photos" / f"{name}.png") as photo:
            photo.resize((178, 218)).save(folder / "photos" / f"{name}.png")
    assert len(read(folder, f"data.labels={aligned}")) == 3
    with pytest.raises(UserError, match=r"box_list=.*: has boxes in the photos that are not aligned, but .*gz is of t"):
        read(folder, f"data.labels={aligned}", f"data.box_list={folder}/boxes.txt")


def test_a_list_is_recognised_with_its_scheme_and_photos(folder):
    path = folder / "list_landmarks_celeba.txt"
    assert recognise(path) == "celeba"
    assert point_names(path) == list(IN_FACEKP)
    file = open_label_file(path, None, None, None)
    assert (file.keypoints, file.has_photos) == (shipped("celeba5"), True)


@pytest.mark.parametrize("text", [ATTRIBUTES, BOXES, PARTITION, LIST.replace(HEADER, ""), HEADER.replace("nose", "n")])
def test_other_lists_are_not_taken_for_landmarks(folder, text):
    assert not is_celeba(folder, text)
