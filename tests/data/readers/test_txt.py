"""A text file of points for each photo: LaPa's folders, other sets' names, and the error of every fault."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.label_file import defaults_of, open_label_file, recognise
from facekp.data.readers.base import READERS
from facekp.data.readers.txt import MAX_LENGTH, is_txt, point_names
from tests.data.label_readers import read_labels

POINTS = [(30, 20), (10.5, 20), (20, 30), (28, 40), (12, 40)]
PHOTOS = ["test/images/d", "train/images/a", "train/images/b", "val/images/c"]
MASK = 7  # grey level of the masks


def txt(points=POINTS, head="5\n"):
    return head + "".join(f"{x} {y} \n" for x, y in points)


def write(path, text=None, level=None):
    """A text file, a photo of noise, or a picture of one grey level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is not None:
        path.write_text(text)
    else:
        noise = np.random.default_rng(len(str(path))).integers(0, 256, (50, 60), np.uint8)
        Image.fromarray(noise if level is None else np.full_like(noise, level)).save(path)


def read(folder, *more):
    return read_labels("txt", f"data.images={folder}", *more)


@pytest.fixture
def lapa(tmp_path):
    """LaPa: photos, masks and points of each split."""
    for photo in PHOTOS:
        write(tmp_path / f"{photo}.png")
        write(tmp_path / f"{photo}.txt".replace("images", "landmarks"), txt())
        write(tmp_path / f"{photo}.png".replace("images", "labels"), level=MASK)
    write(tmp_path / "README.txt", "LaPa\n106 points of each face\n")
    return tmp_path


def test_masks_of_lapa_are_not_taken_for_photos(lapa, caplog):
    caplog.set_level("INFO")
    table = read(lapa)
    assert table.name.tolist() == [f"{photo}.png" for photo in PHOTOS]
    assert table.row.tolist() == [1, 2, 3, 4]
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "split": ["test", "train", "train", "val"]
    }
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-4)
    assert (np.ptp(table.images.reshape(4, -1), axis=1) > 0).all()
    assert "1 file without a photo and without lines x y left out, such as README.txt" in caplog.text


def test_any_folder_of_lapa_may_be_given(lapa):
    train = lapa / "train"
    for images, names in ((train, "images/{}.png"), (train / "images", "{}.png")):
        for labels in (train, train / "landmarks"):
            if images == train or labels != train:
                table = read(images, f"data.labels={labels}")
                assert table.name.tolist() == [names.format(name) for name in "ab"]
                assert table.attributes == {}


def test_pictures_in_a_folder_called_labels_are_photos_without_a_folder_of_images(tmp_path):
    write(tmp_path / "labels" / "a.txt", txt())
    write(tmp_path / "labels" / "a.png")
    table = read(tmp_path)
    assert table.name.tolist() == ["labels/a.png"]
    assert table.attributes["folder"].tolist() == ["labels"]


def test_a_file_of_helen_names_its_photo_which_may_be_in_any_folder(tmp_path, caplog):
    caplog.set_level("INFO")
    for number, (folder, name) in enumerate([("helen_1", "1003_1"), ("helen_2", "232_1")], start=1):
        write(tmp_path / folder / f"{name}.png")
        head = f"{name}.jpg\r\n" if number == 2 else f"{name}\n"
        write(tmp_path / "annotation" / f"{number}.txt", head + "".join(f"{x} , {y}\n" for x, y in POINTS))
    write(tmp_path / "annotation" / "list.txt", "1003_1\n232_1\n")
    write(tmp_path / "annotation" / "3.txt", "404_1\n" + txt(head=""))
    table = read(tmp_path, "data.skip_broken=true")
    assert table.name.tolist() == ["helen_1/1003_1.png", "helen_2/232_1.png"]
    np.testing.assert_allclose(table.to_photo(table.points)[1], POINTS, atol=1e-4)
    assert table.attributes["folder"].tolist() == ["helen_1", "helen_2"]
    assert "3.txt: no photo in " in caplog.text
    assert recognise(tmp_path) == "txt"
    (tmp_path / "annotation" / "3.txt").unlink()
    assert len(read(tmp_path)) == 2
    write(tmp_path / "helen_1" / "232_1.jpg")
    with pytest.raises(
        UserError, match=r"2.txt: helen_1/232_1.jpg and helen_2/232_1.png in .* have the name 232_1.jpg"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("label", "photo", "settings"),
    [
        ("a.txt", "a.png", ()),
        ("AFW/landmark/a.png.txt", "AFW/picture/a.png", ()),
        ("AFW/a.TXT", "AFW/a.PNG", ()),
        ("000001_ldmks.txt", "000001.png", ("data.ending=_ldmks.txt",)),
        ("v.1.txt", "v.1.png", ()),
    ],
)
def test_the_photo_has_the_name_of_the_text_file(tmp_path, label, photo, settings):
    write(tmp_path / label, txt())
    write(tmp_path / photo)
    write(tmp_path / "000001_seg.png", level=MASK)
    table = read(tmp_path, *settings)
    assert table.name.tolist() == [photo]
    assert table.attributes == ({"folder": np.array(["AFW"])} if "/" in photo else {})


@pytest.mark.parametrize(
    "text",
    [
        txt(head=""),
        txt(head="005\n"),
        "\ufeff" + txt().replace("\n", "\r\n\r\n"),
        txt().replace("\n", "\r"),
        "\n".join(f"{x}, {y}" for x, y in POINTS),
        "\n".join(f"\t{x:e}\t{y}" for x, y in POINTS),
    ],
)
def test_numbers_may_be_written_in_several_ways(tmp_path, text):
    write(tmp_path / "a.png")
    write(tmp_path / "a.txt", text)
    table = read(tmp_path)
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-4)
    assert recognise(tmp_path) == "txt"
    assert point_names(tmp_path, READERS.parse({**defaults_of("txt"), "images": "x"})) == ["0", "1", "2", "3", "4"]


def test_a_point_without_a_label_is_nan(lapa):
    write(lapa / "train" / "landmarks" / "a.txt", txt([("NaN", "nan"), *POINTS[1:]]))
    assert read(lapa).mask[1].tolist() == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (txt(POINTS[:4], "4\n"), r"a.txt: has 4 points, but keypoints five has 5; choose keypoints=NAME \(with"),
        (txt(head="106\n"), "a.txt: its first line says 106 points, but 5 lines follow; write a line x y for each"),
        (txt(head="5\n5\n"), "a.txt: its first line says 5 points, but 6 lines follow"),
        (txt(head="0\n"), "a.txt: its first line says 0 points, but 5 lines follow"),
        (txt(head="9" * 5000 + "\n"), "a.txt: its first line says 9{40} points, but 5 lines follow"),
        (txt([(1, "x"), *POINTS[1:]]), r"a.txt: line 2: '1 x' is not x y in finite numbers; write nan nan for no"),
        (txt([(1, "inf"), *POINTS[1:]]), r"a.txt: line 2: '1 inf' is not x y in finite numbers"),
        (txt([(1, "2 3"), *POINTS[1:]]), r"a.txt: line 2: '1 2 3' is not x y in finite numbers"),
        (txt([("1,5", "2,5"), *POINTS[1:]]), r"a.txt: line 2: '1 5 2 5' is not x y in finite numbers"),
        ("face_1\n" + txt(head=""), "a.txt: no photo in .* has the name face_1; add it"),
        ("", "a.txt: has no points; write a line x y for each"),
        ("5\n", "a.txt: has no points; write a line x y for each"),
        ("1 2\n" * 10_001, "a.txt: 10001 lines follow; write a line x y for each point, at most 10000"),
        ("1 " * (MAX_LENGTH // 2 + 1), "a.txt: has 1048578 characters; at most 1048576 are read of a file of points"),
        ("1 2\0", "a.txt: is a binary file, not a text"),
    ],
)
def test_every_fault_is_refused_with_its_position(lapa, text, message, caplog):
    write(lapa / "train" / "landmarks" / "a.txt", text)
    with pytest.raises(UserError, match=message):
        read(lapa)
    assert read(lapa, "data.skip_broken=true").row.tolist() == [1, 3, 4]
    assert "1 face with errors left out (data.skip_broken=true), the first: " in caplog.text


def test_missing_and_ambiguous_photos_are_refused(lapa):
    photo = lapa / "train" / "images" / "a.png"
    photo.unlink()
    with pytest.raises(UserError, match=r"a.txt: no photo in .* has its name, such as train/landmarks/a.jpg; add it"):
        read(lapa)
    assert read(lapa, "data.skip_broken=true").row.tolist() == [1, 3, 4]
    for name in (photo, photo.with_suffix(".jpg")):
        write(name)
    with pytest.raises(UserError, match=r"a.txt: train/images/a.jpg and train/images/a.png in .* have its name; keep"):
        read(lapa)


def test_photos_with_shorter_names_are_refused_with_a_hint(tmp_path):
    write(tmp_path / "000001_ldmks.txt", txt())
    write(tmp_path / "000001.png")
    with pytest.raises(UserError, match=r"such as 000001_ldmks.txt; set .* or data.ending to all that follows the"):
        read(tmp_path)


def test_two_files_for_one_photo_are_refused(lapa):
    write(lapa / "train" / "images" / "a.txt", txt())
    with pytest.raises(UserError, match=r"landmarks/a.txt: labels train/images/a.png as train/images/a.txt does; keep"):
        read(lapa)


def test_folders_without_points_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"data.labels=.*nowhere: is not a folder; give the folder of the .txt files"):
        read(tmp_path, f"data.labels={tmp_path}/nowhere")
    with pytest.raises(UserError, match=r"data.labels=.*: holds no .txt file; give the folder of the .txt files"):
        read(tmp_path)
    write(tmp_path / "README.txt", "a text")
    with pytest.raises(UserError, match=r"no photo in .* has the name of a text file, such as README.txt; set data.im"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"no .txt file has lines x y; give the folder of such files"):
        point_names(tmp_path, READERS.parse({**defaults_of("txt"), "images": "x"}))


def test_a_file_that_can_t_be_read_is_left_out_if_it_has_no_photo(lapa):
    os.mkfifo(lapa / "pipe.txt")
    assert len(read(lapa)) == 4


def test_lapa_is_recognised_with_its_scheme_and_photos(lapa):
    assert recognise(lapa) == "txt"
    for path in lapa.rglob("landmarks/*.txt"):
        write(path, txt([(x, 20) for x in np.linspace(1, 59, 106)], "106\n"))
    file = open_label_file(lapa, None, None, None)
    assert (file.keypoints.name, file.is_shipped, file.has_photos, len(file.faces)) == ("lapa106", True, True, 4)


@pytest.mark.parametrize(
    "text",
    [
        "0 0.5 0.5 0.2 0.3\n1 0.4 0.4 0.2 0.3\n",  # YOLO's boxes
        "0 0.5 0.5 0.2 0.3 0.4 0.4 2 0.6 0.4 2\n",  # YOLO's points
        "1 2 3 4 a.jpg\n5 6 7 8 b.jpg\n",  # WFLW
        "000001.jpg 0\n000002.jpg 1\n",  # CelebA's partition
        "106\n",
        "1 2\n",
        "",
    ],
)
def test_other_text_files_are_not_taken_for_points(tmp_path, text):
    write(tmp_path / "a.txt", text)
    assert not is_txt(tmp_path, "")
    assert not is_txt(tmp_path / "a.txt", text)
