"""YOLO pose datasets: fractions, visibility, folders, classes, mirror points, and the error of every fault."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data.label_file import defaults_of, open_label_file, recognise
from facekp.data.readers.yolo import YoloSettings, point_names
from tests.data.label_readers import read_labels
from tests.drawn_photos import DRAWN

POINTS = np.array([(30, 20), (10, 20), (20, 30), (28, 40), (12, 40)], float)
ASIDE = np.array([12, 5])  # from a face to another one beside it
SIZE = np.array([60, 50])
BOX = (5, 10, 45, 48)  # left, top, right, bottom edge
DATASET = {"path": "/home/someone/faces", "train": "images/train", "val": "images/val", "kpt_shape": [5, 3], "nc": 1}
FLIP = [1, 0, 2, 4, 3]  # of the scheme five


def line(points=POINTS, v=(2, 2, 1, 2, 2), number=0, box=BOX):
    """A line with x, y, v for each point; without v for None."""
    left, top, right, bottom = box
    centre = [(left + right) / 2 / 60, (top + bottom) / 2 / 50, (right - left) / 60, (bottom - top) / 50]
    fractions = (np.asarray(points) + 0.5) / SIZE  # from the photo's edge
    rows = fractions if v is None else np.column_stack((fractions, v))
    return " ".join([str(number), *(f"{value:g}" if value in (0, 1, 2) else f"{value:.7f}" for value in
                                    [*centre, *rows.ravel()])])  # fmt: skip


LINE = line()


def write_photo(path, turned=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (60, 50) if turned else (50, 60), np.uint8)
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6  # a viewer turns it to 60 x 50
    Image.fromarray(noise).save(path, exif=exif)


def write(folder, labels, dataset=DATASET, ending="png"):
    """Write label files, their photos and data.yaml. Return the YAML; without one, return the folder."""
    for name, text in labels.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        write_photo((folder / name.replace("labels/", "images/")).with_suffix(f".{ending}"))
    if dataset is None:
        return folder
    (folder / "data.yaml").write_text(yaml.safe_dump(dataset))
    return folder / "data.yaml"


def read(path, *more, images=None):
    folder = images or (path if path.is_dir() else path.parent)
    return read_labels("yolo", f"data.images={folder}", f"data.labels={path}", *more)


def names_of(path, **settings):
    values = {**defaults_of("yolo"), "images": str(path), "labels": str(path), **settings}
    return point_names(path, parse(YoloSettings, values))


@pytest.mark.parametrize("turned", [False, True])
def test_fractions_count_from_the_edge_of_the_photo_as_a_viewer_shows_it(tmp_path, turned):
    path = write(tmp_path, {"labels/train/a.txt": f"{LINE}\n"}, ending="jpg")
    write_photo(tmp_path / "images/train/a.jpg", turned)
    table = read(path)
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-4)
    left, top, side = table.photo_matrix[0, 0, 2], table.photo_matrix[0, 1, 2], table.photo_matrix[0, 0, 0] * 96
    np.testing.assert_allclose([left, top, side], [5, 9, 40], atol=0.5)  # the square around 40 x 38 pixels
    assert table.name.tolist() == ["images/train/a.jpg"]
    assert table.visible.tolist() == [[2, 2, 1, 2, 2]]
    assert {name: values.tolist() for name, values in table.attributes.items()} == {"split": ["train"]}


def test_rows_count_the_lines_of_all_files(tmp_path):
    other = line(POINTS + ASIDE, box=(20, 15, 58, 50))
    path = write(tmp_path, {"labels/train/b.txt": f"\n{LINE}\n\n{other}\n", "labels/train/a.txt": "\n"})
    (tmp_path / "labels" / "train" / "c.txt").write_text(f"{LINE}\n")
    write_photo(tmp_path / "images" / "train" / "c.png")
    table = read(path)
    assert (table.row.tolist(), table.name.tolist()) == (
        [1, 2, 3],
        ["images/train/b.png", "images/train/b.png", "images/train/c.png"],
    )


def test_v_0_is_no_label_and_visibility_is_unknown_without_v_2(tmp_path):
    points = POINTS.copy()
    points[1] = -0.5  # written as 0
    path = write(tmp_path, {"labels/train/a.txt": line(points, (2, 0, 1, 2, 0))})
    table = read(path)
    assert table.mask.tolist() == [[True, False, True, True, False]]
    assert table.visible.tolist() == [[2, 0, 1, 2, 0]]
    assert read(write(tmp_path, {"labels/train/a.txt": line(v=(1, 1, 1, 1, 0))})).visible is None


def test_without_v_points_at_zero_and_negative_ones_have_no_label(tmp_path, caplog):
    points = POINTS.copy()
    points[1], points[4] = -0.5, (-60.5, -50.5)  # written as 0 0 and -1 -1
    table = read(write(tmp_path, {"labels/train/a.txt": line(points, None)}, {**DATASET, "kpt_shape": [5, 2]}))
    assert table.mask.tolist() == [[True, False, True, True, False]]
    assert table.visible is None
    assert "taken as missing" not in caplog.text


def test_a_point_at_zero_that_v_calls_labelled_is_missing_and_counted(tmp_path, caplog):
    points = POINTS.copy()
    points[1] = -0.5
    assert read(write(tmp_path, {"labels/train/a.txt": line(points)})).mask.sum() == 4
    assert "1 point at exactly (0, 0) taken as missing" in caplog.text


def test_a_box_without_area_is_no_box_and_a_line_without_points_is_left_out(tmp_path):
    lines = [line(box=(0, 0, 0, 0)), line(v=(0, 0, 0, 0, 0))]
    table = read(write(tmp_path, {"labels/train/a.txt": "\n".join(lines)}))
    assert (len(table), table.box) == (1, None)


@pytest.mark.parametrize(
    ("dataset", "labels", "splits"),
    [
        (DATASET, ["labels/train/a.txt", "labels/val/a.txt"], ["train", "val"]),
        (
            {"train": "../train/images", "val": "../valid/images", "kpt_shape": [5, 3]},  # Roboflow's
            ["train/labels/a.txt", "valid/labels/a.txt"],
            ["train", "val"],
        ),
        ({"path": "./", "train": "train.txt", "kpt_shape": [5, 3]}, ["labels/train/a.txt"], ["train"]),  # CVAT's
        (
            {**DATASET, "path": r"C:\data", "train": [r"images\day1", "images/day2"], "val": "images/day3"},
            ["labels/day1/a.txt", "labels/day2/sub/a.txt", "labels/day3/a.txt"],
            ["train", "train", "val"],
        ),
        ({**DATASET, "train": "images", "val": "images"}, ["labels/a.txt"], None),
        ({"validation": "images/b", "kpt_shape": [5, 3]}, ["labels/b/a.txt"], ["val"]),
        ({**DATASET, "train": "images"}, ["labels/val/a.txt", "labels/x/a.txt"], ["train", "val"]),
        (
            {"path": "faces", "train": "images/train", "kpt_shape": [5, 3]},
            ["faces/labels/train/a.txt"],
            ["train"],
        ),
        ({"train": ".", "kpt_shape": [5, 3]}, ["a.txt"], ["train"]),
        (None, ["labels/train2017/a.txt", "labels/validation/a.txt", "labels/mine/a.txt"], ["", "train", "val"]),
    ],
)  # fmt: skip
def test_the_split_is_that_of_the_folder(tmp_path, dataset, labels, splits):
    path = write(tmp_path, dict.fromkeys(labels, LINE), dataset)
    table = read(path)
    expected = sorted(name.replace("labels/", "images/").replace(".txt", ".png") for name in labels)
    assert sorted(table.name) == expected
    assert (sorted(table.attributes["split"]) if "split" in table.attributes else None) == splits


@pytest.mark.parametrize("above", ["./", "", "../faces/", "/home/someone/faces/", "C:\\data\\faces\\"])
def test_a_list_of_photos_gives_them_their_split(tmp_path, caplog, above):
    labels = dict.fromkeys(["labels/a.b.txt", "labels/c.txt", "labels/d.txt", "labels/val/a.b.txt"], LINE)
    path = write(tmp_path, labels, {"train": ["lists/train.txt"], "val": "images/val", "kpt_shape": [5, 3]})
    (tmp_path / "lists").mkdir()
    lines = [f"{above}images/a.b.png\r", "", ".", 300_000 * "x/", f"{above}images/c.png"]
    (tmp_path / "lists" / "train.txt").write_text("\n".join(lines))
    table = read(path)
    assert dict(zip(table.name.tolist(), table.attributes["split"].tolist(), strict=True)) == {
        "images/a.b.png": "train",
        "images/c.png": "train",
        "images/val/a.b.png": "val",
    }
    assert "1 label file left out, such as labels/d.txt, because train, val and test of" in caplog.text


def test_lists_beside_the_labels_are_no_labels(tmp_path):
    dataset = {"train": "train.txt", "val": "val.txt", "kpt_shape": [5, 3]}
    path = write(tmp_path, {"a.txt": LINE, "b.txt": LINE}, dataset)
    (tmp_path / "train.txt").write_text("a.png\nb.png\n")
    (tmp_path / "val.txt").write_text("b.png\n")
    assert read(path).attributes["split"].tolist() == ["train", ""]


def test_folders_that_the_yaml_does_not_name_are_left_out(tmp_path, caplog):
    labels = {"labels/train/a.txt": LINE, "old/labels/train/b.txt": "0 1 2\n"}
    assert read(write(tmp_path, labels)).name.tolist() == ["images/train/a.png"]
    assert "1 label file left out, such as old/labels/train/b.txt, because train, val and test of" in caplog.text
    with pytest.raises(UserError, match=r"all 2 label files are left out, such as labels/train/a.txt, because train"):
        read(write(tmp_path, labels, {"train": "photos/train", "kpt_shape": [5, 3]}))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("", "labels"),
        ("", "labels/train"),
        ("images", "data.yaml"),
        ("images", "labels"),
        ("images", "labels/train"),
        ("images/train", "labels/train"),
        ("images/train", "data.yaml"),
        ("", ""),
    ],
)
def test_photos_are_found_from_any_folder_of_the_dataset(tmp_path, images, labels):
    write(tmp_path, {"labels/train/a.b.txt": LINE, "labels/classes.txt": "face"})
    (tmp_path / "README.roboflow.txt").write_text("exported from ...")
    table = read(tmp_path / labels, images=tmp_path / images)
    (name,) = table.name
    assert (tmp_path / images / name) == tmp_path / "images" / "train" / "a.b.png"


def test_labels_may_lie_beside_their_photos(tmp_path):
    write(tmp_path, {"a.txt": LINE}, None)
    for name in ("README.txt", "classes.txt"):
        (tmp_path / name).write_text("face")
    assert read(tmp_path).name.tolist() == ["a.png"]


def test_photos_may_be_kept_elsewhere_in_the_same_subfolders(tmp_path):
    path = write(tmp_path / "faces", {"labels/train/a.txt": LINE, "labels/val/a.txt": LINE})
    (tmp_path / "faces" / "images").rename(tmp_path / "photos")
    assert sorted(read(path, images=tmp_path / "photos").name) == ["train/a.png", "val/a.png"]


def test_missing_ambiguous_and_shared_photos_are_refused(tmp_path):
    path = write(tmp_path, {"labels/train/a.txt": LINE, "labels/train/b.txt": LINE})
    (tmp_path / "images" / "train" / "a.png").rename(tmp_path / "images" / "a.png")  # in another folder
    message = r"train/a.txt: line 1: no photo in .* has its name, such as images/train/a.jpg; add it, or name"
    with pytest.raises(UserError, match=message):
        read(path)
    assert read(path, "data.skip_broken=true").row.tolist() == [2]
    for ending in ("png", "jpg"):
        write_photo(tmp_path / "images" / "train" / f"a.{ending}")
    with pytest.raises(UserError, match=r"images/train/a.jpg and images/train/a.png in .* have its name; keep one"):
        read(path)
    (tmp_path / "images" / "train" / "a.jpg").unlink()
    (tmp_path / "labels" / "train" / "A.txt").write_text(LINE)
    message = (
        r"A.txt: line 1: the photo images/train/a.png has the labels labels/train/A.txt and labels/train/a.txt; keep"
    )
    with pytest.raises(UserError, match=message):
        read(path)
    assert read(path, "data.skip_broken=true").row.tolist() == [3]  # that of b.txt
    (tmp_path / "labels" / "train" / "A.txt").unlink()
    (tmp_path / "images" / "train" / "a.png").write_bytes(b"no photo")
    with pytest.raises(UserError, match=r"a.txt: line 1: .*a.png: can't be read as an image"):
        read(path)
    assert read(path, "data.skip_broken=true").name.tolist() == ["images/train/b.png"]


def test_names_that_differ_by_case_only_are_different_photos(tmp_path):
    table = read(write(tmp_path, {"labels/train/a.txt": LINE, "labels/train/A.txt": LINE}))
    assert table.name.tolist() == ["images/train/A.png", "images/train/a.png"]


def test_photos_outside_the_folder_are_never_opened(tmp_path):
    path = write(tmp_path / "faces", {"labels/train/a.txt": LINE})
    (tmp_path / "faces" / "empty").mkdir()
    with pytest.raises(UserError, match=r"no photo in .*empty has its name"):
        read(path, images=tmp_path / "faces" / "empty")
    dataset = {**DATASET, "path": str(tmp_path / "faces"), "train": "../../../images/train"}
    assert read(write(tmp_path / "faces", {}, dataset)).name.tolist() == ["images/train/a.png"]


def test_named_points_are_matched_by_name(tmp_path):
    order = [3, 0, 4, 2, 1]
    names = [list(DRAWN)[i] for i in order]
    labels = {"labels/train/a.txt": line(POINTS[order], (2, 1, 2, 2, 2))}
    for stated in ({0: names}, names, [names]):
        path = write(tmp_path, labels, {**DATASET, "kpt_names": stated})
        table = read(path)
        np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-3)
        assert table.visible.tolist() == [[1, 2, 2, 2, 2]]
        assert names_of(path) == names
    with pytest.raises(UserError, match=r"kpt_names of class '0': its 5 points are not the 5 of keypoints five: chin"):
        read(write(tmp_path, labels, {**DATASET, "kpt_names": ["chin", *names[1:]]}))


def test_several_classes_are_chosen_by_name_and_become_an_attribute(tmp_path):
    lines = [LINE, line(POINTS + ASIDE, number=2, box=(20, 15, 58, 50)), line(number=1, v=(0, 0, 0, 0, 0))]
    dataset = {**DATASET, "names": {0: "cat", 1: "ball", 2: "dog"}}
    path = write(tmp_path, {"labels/train/a.txt": "\n".join(lines)}, dataset)
    message = r"classes with points: cat, dog; choose one with data.category=NAME, several with data.category=\[A,B\]"
    with pytest.raises(UserError, match=message):
        read(path)
    assert read(path, "data.category=dog").row.tolist() == [2]
    assert "class" not in read(path, "data.category=dog").attributes
    for category in ("all", "[dog,cat]"):
        assert read(path, f"data.category={category}").attributes["class"].tolist() == ["cat", "dog"]
    with pytest.raises(UserError, match=r"data.category=ball: .* has no such class with points; choose one of"):
        read(path, "data.category=ball")
    same = {**dataset, "kpt_names": {number: list(DRAWN) for number in range(3)}}
    assert read(write(tmp_path, {}, same)).attributes["class"].tolist() == ["cat", "dog"]
    other = {**dataset, "kpt_names": {0: list(DRAWN), 2: [*"abcde"]}}
    with pytest.raises(UserError, match="classes with points: cat, dog"):
        read(write(tmp_path, {}, other))
    assert read(write(tmp_path, {}, other), "data.category=cat").row.tolist() == [1]
    assert names_of(tmp_path / "data.yaml", category="dog") == [*"abcde"]
    with pytest.raises(UserError, match="classes with points: big cat, dog;"):
        read(write(tmp_path, {}, {**dataset, "names": {0: "big\ncat", 2: "dog"}}))
    (tmp_path / "data.yaml").unlink()
    assert read(tmp_path, "data.category=2").row.tolist() == [2]


def test_the_number_of_a_track_becomes_an_attribute(tmp_path):
    assert read(write(tmp_path, {"labels/train/a.txt": f"{LINE} 7"})).attributes["track"].tolist() == ["7"]


def test_mirror_points_of_another_order_are_refused(tmp_path, caplog):
    labels = {"labels/train/a.txt": LINE}
    for flip in (FLIP, list(range(5)), [], None):  # the second one is what programs write that do not know better
        assert len(read(write(tmp_path, labels, {**DATASET, "flip_idx": flip}))) == 1
    other = {**DATASET, "flip_idx": [0, 2, 1, 4, 3]}
    message = "flip_idx mirrors point 0 to 0, but keypoints five mirrors point 0, left_eye, to right_eye: the"
    with pytest.raises(UserError, match=message):
        read(write(tmp_path, labels, other))
    names = ["nose", "left_eye", "right_eye", "left_mouth", "right_mouth"]
    caplog.clear()
    read(write(tmp_path, labels, {**other, "kpt_names": names}))
    assert "flip_idx" not in caplog.text
    read(write(tmp_path, labels, {**other, "kpt_names": list(DRAWN)}))
    assert "flip_idx mirrors point 0 to 0, but keypoints five mirrors" in caplog.text


def test_a_new_scheme_has_the_mirror_points_as_pairs(tmp_path):
    labels = {"labels/train/a.txt": LINE}
    assert open_label_file(write(tmp_path, labels, {**DATASET, "flip_idx": FLIP}), None, None, None).is_shipped
    file = open_label_file(write(tmp_path, labels, {**DATASET, "flip_idx": [0, 2, 1, 4, 3]}), None, None, None)
    assert not file.is_shipped
    assert file.keypoints.pairs == (("point_1", "point_2"), ("point_3", "point_4"))
    assert (file.has_photos, len(file.faces)) == (True, 1)


@pytest.mark.parametrize(("v", "labelled"), [((2, 2, 1, 0, 2), 4), (None, 5)])
def test_a_folder_without_a_yaml_shows_whether_lines_have_v(tmp_path, v, labelled):
    path = write(tmp_path, {"labels/a.txt": f"{line(v=v)}\n"}, None)
    assert read(path).mask.sum() == labelled
    assert names_of(path) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0 0.5 0.5 0.2 0.2\n",
            "its lines have 5 numbers, as boxes of detection without points; give",
        ),
        ("0 0.5 0.5\n", "its lines have 3 numbers, fewer than 5"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2\n0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n", "different lengths, as polygons of segm"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n", "lines of 9 numbers are boxes with two points, or corners of turned"),
        (
            "0 0.5 0.5 0.2 0.2 0.3 0.3 0.9 0.4 0.4 0.8 0.5 0.5 0.7\n",
            "have 9 numbers after the box, which are neith",
        ),
        (
            "0 0.5 0.5 0.2 0.2 0.3 0.3 2 0.4 0.4 0.8\n",
            r"it is not clear whether the points in its lines of 11",
        ),
        ("0 0.5 0.5 0.2 0.2 0 0 0 0 0 0\n", r"have v \(0, 1 or 2\); give the dataset's YAML, with kpt_shape: \[number"),
        ("x\n", r"its label files have no valid line; the first fault: .*a.txt: line 1: 'x' is not a finite number"),
        ("", "its label files have no valid line"),
        (
            line(POINTS[:4], (2, 2, 1, 0)),
            "has 4 points, but keypoints five has 5; choose keyp",
        ),
    ],
)
def test_a_folder_without_clear_labels_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path, {"labels/a.txt": text}, None))


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (
            LINE.rpartition(" ")[0],
            r"a.txt: line 1: has 19 numbers \(no labels of points\), but class, box and 5",
        ),
        ("0 0.5 0.5 0.2 0.2", r"a.txt: line 1: has 5 numbers \(a box of detection without points\), but class, box"),
        (f"{LINE} 0.93", "a.txt: line 1: has 21 numbers"),
        (LINE.replace(" 1 ", " 0.87 "), r"line 1: v of point 2 is 0.87; write 0 \(no label\), 1 \(hidden\) or 2 \(in"),
        (LINE.replace(" 1 ", " 3 "), "line 1: v of point 2 is 3"),
        (LINE.replace(" 1 ", " -1 "), "line 1: v of point 2 is -1"),
        (LINE.replace(" 1 ", " nan "), "line 1: 'nan' is not a finite number"),
        (LINE.replace(" 1 ", " inf "), "line 1: 'inf' is not a finite number"),
        (LINE.replace(" 1 ", " 1_0 "), "line 1: '1_0' is not a finite number"),
        (f"face{LINE[1:]}", "line 1: 'face' is not a finite number"),
        (line(number=7), "line 1: 7 is not the number of a class; correct it, or add the class to names"),
        (line(number=0.5), "line 1: 0.5 is not the number of a class"),
        (line(number=-1), "line 1: -1 is not the number of a class"),
        (
            line(POINTS * SIZE),
            "line 1: x of point 0 is 30.0083, not a fraction of the photo; divide x by its wid",
        ),
        (line(box=(500, 10, 4500, 48)), "line 1: x of the box is 41.6667, not a fraction"),
    ],
)
def test_every_fault_of_a_line_is_refused_with_its_position(tmp_path, faulty, message, caplog):
    path = write(tmp_path, {"labels/train/a.txt": f"{faulty}\n{LINE}\n"}, {**DATASET, "names": ["face"]})
    with pytest.raises(UserError, match=message):
        read(path)
    assert read(path, "data.skip_broken=true").row.tolist() == [2]
    assert "1 face with errors left out (data.skip_broken=true), the first: " in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "a.txt: is a binary file|a.txt: not a text in UTF-8"),
        (b"\x00\x01\x02\x03" * 9, "a.txt: "),
        (b"\x1f\x8b\x08\x00", r"a.txt: can't be decompressed"),
        (b"0 " * 2**22, r"a.txt: more than 4 million characters; a label file is of one photo"),
    ],
)
def test_a_damaged_label_file_is_a_fault_of_its_photo(tmp_path, content, message):
    path = write(tmp_path, {"labels/train/a.txt": "", "labels/train/b.txt": LINE})
    (tmp_path / "labels" / "train" / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(path)
    assert read(path, "data.skip_broken=true").name.tolist() == ["images/train/b.png"]


@pytest.mark.parametrize("encode", [lambda t: t.encode("utf-8-sig"), lambda t: t.encode("utf-16"), str.encode])
def test_labels_of_other_systems_are_read(tmp_path, encode):
    path = write(tmp_path, {"labels/train/a.txt": LINE})
    (tmp_path / "labels" / "train" / "a.txt").write_bytes(encode(f"{LINE}\r\n"))
    path.write_bytes(encode(path.read_text().replace("\n", "\r\n")))
    (tmp_path / "labels" / "train" / "._a.txt").write_bytes(b"\0\5")  # macOS'
    assert len(read(path)) == 1


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            {"train": "images", "names": ["face"]},
            r"data.yaml: has no kpt_shape, as datasets for detection or",
        ),
        ({"kpt_shape": "5, 3"}, r"data.yaml: kpt_shape is '5, 3'; write \[number of points, 2 or 3\]"),
        ({"kpt_shape": [5, 4]}, r"kpt_shape is \[5, 4\]; write"),
        ({"kpt_shape": [True, 3]}, r"kpt_shape is \[True, 3\]; write"),
        ({"kpt_shape": [10**400, 3]}, r"kpt_shape is "),
        ({"kpt_shape": [0, 3]}, r"kpt_shape is \[0, 3\]; write"),
        ({"kpt_shape": [5.5, 3]}, r"kpt_shape is \[5.5, 3\]; write"),
        ({"kpt_shape": None}, r"kpt_shape is None; write"),
        ({"kpt_shape": [5, 3], "names": "face"}, r"names is 'face'; write the names of the classes"),
        ({"kpt_shape": [5, 3], "names": [["face"]]}, r"names is \[\['face'\]\]; write the names of the classes"),
        ({"kpt_shape": [5, 3], "names": {"face": 0}}, r"names: 'face' is not the number of a class; write 0, 1"),
        ({"kpt_shape": [5, 3], "kpt_names": ["nose"]}, "kpt_names has 1 names, but kpt_shape 5 points; correct one"),
        ({"kpt_shape": [2, 3], "kpt_names": ["a", "a"]}, "kpt_names: a name is duplicated; give every point a diff"),
        ({"kpt_shape": [1, 3], "kpt_names": {0: {"a": 1}}}, "kpt_names is .*; write a list of names for each class"),
        ({"kpt_shape": [1, 3], "kpt_names": [None]}, r"kpt_names is \[None\]; write a list of names"),
        ({"kpt_shape": [1, 3], "kpt_names": {"face": ["a"]}}, "kpt_names: 'face' is not the number of a class"),
        ({"kpt_shape": [5, 3], "flip_idx": [0, 1]}, r"flip_idx is \[0, 1\]; write the number of each point's"),
        (
            {"kpt_shape": [2, 3], "flip_idx": [[0, 1]]},
            r"flip_idx is \[\[0, 1\]\]; write the number of each point's",
        ),
        (
            {"kpt_shape": [3, 3], "flip_idx": [1, 2, 0]},
            "flip_idx: the mirror point of 0 is 1, but that of 1 is 2; c",
        ),
        ({"kpt_shape": [5, 3], "train": {"a": 1}}, "train is {'a': 1}; write the folder of its photos"),
        ({"kpt_shape": [5, 3], "train": [7]}, r"train is \[7\]; write the folder of its photos"),
    ],
)
def test_every_fault_of_the_yaml_is_refused(tmp_path, dataset, message):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path, {"labels/a.txt": LINE}, dataset))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("kpt_shape: [5, 3", "data.yaml: not valid YAML: .* in line 2; give the YAML of a YOLO pose dataset"),
        ("- kpt_shape", "data.yaml: has no keys such as kpt_shape; give the YAML of a YOLO pose dataset, or the fol"),
        ("", "data.yaml: has no keys"),
        ("[" * 1000, "data.yaml: nested more than 50 levels deep"),
        (f"kpt_shape: [5, 3]\nx: {'y' * 2**22}", "data.yaml: more than 4 MB; give the YAML"),
        ("kpt_shape: !!python/object:os.system {}", "data.yaml: not valid YAML"),
    ],
)
def test_other_files_than_a_yaml_of_a_dataset_are_refused(tmp_path, content, message):
    path = write(tmp_path, {"labels/a.txt": LINE})
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read(path)


def test_contradictions_of_yaml_and_labels_are_refused(tmp_path):
    text = "0 0.5 0.5 0.8 0.8 " + "0.3 0.3 2 " * 4
    with pytest.raises(UserError, match=r"kpt_shape is \[6, 2\], but every third number .*; write kpt_shape: \[4, 3\]"):
        read(write(tmp_path, {"labels/train/a.txt": text}, {**DATASET, "kpt_shape": [6, 2]}))
    path = write(tmp_path, {"labels/train/a.txt": LINE})
    (tmp_path / "other.yml").write_text("kpt_shape: [5, 2]")
    with pytest.raises(UserError, match=r"holds several datasets, data.yaml and other.yml; name one of them as data.l"):
        read(tmp_path)
    assert len(read(path)) == 1


def test_a_dataset_without_label_files_is_refused(tmp_path):
    path = write(tmp_path, {})
    with pytest.raises(UserError, match=r"no label files \(.txt\) in .*; give the folder of the label files, or move"):
        read(path)


def test_the_dataset_is_recognised(tmp_path):
    path = write(tmp_path, {"labels/train/a.txt": ""})
    assert recognise(tmp_path) == "yolo"
    write(tmp_path, {"labels/train/b.txt": LINE})
    for labels in (path, tmp_path, tmp_path / "labels", tmp_path / "labels" / "train" / "b.txt"):
        assert recognise(labels) == "yolo"
    (tmp_path / "labels" / "train" / "c.txt").write_text(line(v=None))
    assert recognise(tmp_path / "labels" / "train" / "c.txt") == "yolo"
    with pytest.raises(UserError, match="no reader recognises it"):
        recognise(tmp_path / "images")
    with pytest.raises(UserError, match=r"b.txt: has no keys such as kpt_shape; give the YAML .*, or the folder of"):
        read(tmp_path / "labels" / "train" / "b.txt")
