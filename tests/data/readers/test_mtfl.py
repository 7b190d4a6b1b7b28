"""MTFL's lists: whose left is meant, attributes, paths of Windows, and the error of every fault."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.label_file import defaults_of, open_label_file, recognise
from facekp.data.readers.base import READERS
from facekp.data.readers.mtfl import is_mtfl, point_names
from tests.data.label_readers import read_labels, shipped

NUMBERS = "10.25 30 20 12 28  20 21 30 40.5 41"
LIST = f"lfw_5590\\a.png {NUMBERS} 1 2 2 3\n lfw_5590\\b.png {NUMBERS} 2 1 1 5\n\n"
IN_FACEKP = {  # by the person's side; the person's right is on the left of the image
    "right_eye_center": (10.25, 20),
    "left_eye_center": (30, 21),
    "nose_tip": (20, 30),
    "mouth_right_corner": (12, 40.5),
    "mouth_left_corner": (28, 41),
}


def read(folder, *more):
    paths = (f"data.images={folder}", f"data.labels={folder}/training.txt")
    return read_labels("mtfl", *paths, *more, scheme=shipped("celeba5"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "lfw_5590").mkdir()
    for seed, name in enumerate("ab"):
        noise = np.random.default_rng(seed).integers(0, 256, (50, 60), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "lfw_5590" / f"{name}.png")
    (tmp_path / "training.txt").write_text(LIST)
    return tmp_path


def test_left_in_the_list_is_the_left_of_the_image(folder):
    table = read(folder)
    assert table.name.tolist() == ["lfw_5590/a.png", "lfw_5590/b.png"]
    assert table.row.tolist() == [1, 2]
    points = dict(zip(table.keypoints.names, table.to_photo(table.points)[0].round(4).tolist(), strict=True))
    assert {name: tuple(point) for name, point in points.items()} == IN_FACEKP
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "gender": ["male", "female"],
        "smile": ["no", "yes"],
        "glasses": ["no", "yes"],
        "pose": ["frontal", "right profile"],
    }


def test_the_scheme_s_order_of_points_does_not_matter(folder):
    names = sorted(IN_FACEKP)
    paths = {"images": str(folder), "labels": str(folder / "training.txt"), "cache": None}
    settings = READERS.parse({**defaults_of("mtfl"), **paths})
    faces = READERS["mtfl"](settings, Keypoints.from_dict({"name": "sorted", "names": names}))
    assert isinstance(faces, list)
    assert faces[0].points.tolist() == [list(IN_FACEKP[name]) for name in names]


def test_a_list_is_recognised_with_its_scheme_and_photos(folder):
    path = folder / "training.txt"
    assert recognise(path) == "mtfl"
    assert point_names(path) == list(IN_FACEKP)
    file = open_label_file(path, None, None, None)
    assert (file.keypoints, file.has_photos) == (shipped("celeba5"), True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            f"lfw_5590/a.png {NUMBERS} 1 2 2",
            "training.txt: line 1: 14 fields, but MTFL has 15: the photo, 10 coordinat",
        ),
        (f"lfw_5590/a.png {NUMBERS} 1 2 2 6", "training.txt: line 1, pose: '6' is not a value; write 1 to 5"),
        (f"lfw_5590/a.png {NUMBERS} 1 0 2 3", "training.txt: line 1, smile: '0' is not a value; write 1 to 2"),
        (
            f"lfw_5590/a.png {NUMBERS} 1 2 2 3".replace("12", "x"),
            "line 1: 'x' is not a finite number; give x of the fi",
        ),
        (f"lfw_5590/a.png {NUMBERS} 1 2 2 3".replace("12", "inf"), "line 1: 'inf' is not a finite number"),
    ],
)
def test_every_fault_of_a_line_is_refused_with_its_position(folder, line, message):
    (folder / "training.txt").write_text(line + "\n" + LIST.split("\n")[1])
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.skip_broken=true").row.tolist() == [2]


def test_an_empty_list_and_another_scheme_are_refused(folder):
    with pytest.raises(UserError, match=r"training.txt: its 5 points are not the 68 of keypoints ibug68"):
        read_labels("mtfl", f"data.images={folder}", f"data.labels={folder}/training.txt", scheme=shipped("ibug68"))
    (folder / "training.txt").write_text("\n")
    with pytest.raises(UserError, match=r"training.txt: has no face with a labelled point"):
        read(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"a.png {NUMBERS} 1 2 2\n",
        f"a {NUMBERS} 1 2 2 3\n",
        f"a.png {NUMBERS} 1 2 2 3.5\n",
        f"a.png 1 2 3 4 {NUMBERS}\n",  # a box and points, as other lists have them
    ],
)
def test_other_lists_are_not_taken_for_those_of_mtfl(folder, text):
    assert not is_mtfl(folder, text)
