"""DeepLabCut's CSV: three header rows or four, a path in one column or three, folders, and the error of every fault."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.readers.dlc import point_names
from tests.data.label_readers import read_labels
from tests.data.photo_folder import write_one_photo
from tests.drawn_photos import DRAWN

POINTS = np.array([(30, 20), (10, 20.5), (20, 30), (28, 40), (12, 40)])
NAMES = list(DRAWN)


def row(first, values):
    return ",".join([*first, *(f"{value:g}" if isinstance(value, float) else value for value in values)])


def csv(lines, index=1, individuals=("",), names=NAMES):
    """A CSV of frames; ``lines`` are pairs of a path and points (individuals, K, 2)."""
    columns = [(individual, name, axis) for individual in individuals for name in names for axis in "xy"]
    blank = [""] * (index - 1)
    rows = [row(["scorer", *blank], ["rick"] * len(columns))]
    if individuals != ("",):
        rows.append(row(["individuals", *blank], [individual for individual, _, _ in columns]))
    rows.append(row(["bodyparts", *blank], [name for _, name, _ in columns]))
    rows.append(row(["coords", *blank], [axis for _, _, axis in columns]))
    for path, points in lines:
        texts = ["" if np.isnan(value) else float(value) for value in np.ravel(points)]
        rows.append(row(path.split("/") if index > 1 else [path], texts))
    return "\n".join(rows) + "\n"


@pytest.fixture
def folder(tmp_path):
    """A project with the photo labeled-data/mouse/a.png, and another one there."""
    write_one_photo(tmp_path)
    (tmp_path / "labeled-data").mkdir()
    shutil.move(tmp_path / "photos", tmp_path / "labeled-data" / "mouse")
    shutil.copy(tmp_path / "labeled-data" / "mouse" / "a.png", tmp_path / "labeled-data" / "mouse" / "b.png")
    return tmp_path


def read(folder, *more, labels="labels.csv"):
    paths = (f"data.images={folder}", f"data.labels={folder}/{labels}")
    return read_labels("dlc", *paths, *more)


@pytest.mark.parametrize("index", [1, 3])
def test_body_parts_are_matched_by_name_and_empty_fields_have_no_label(folder, index):
    order = [2, 0, 1, 4, 3]
    missing = POINTS.copy()
    missing[1] = np.nan
    frames = [("labeled-data/mouse/a.png", POINTS[order]), ("labeled-data/mouse/b.png", missing[order])]
    (folder / "labels.csv").write_text(csv(frames, index, names=[NAMES[i] for i in order]))
    table = read(folder)
    assert table.name.tolist() == ["labeled-data/mouse/a.png", "labeled-data/mouse/b.png"]
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-4)
    assert table.mask[1].tolist() == [True, False, True, True, True]
    assert table.attributes["video"].tolist() == ["mouse", "mouse"]
    assert point_names(folder / "labels.csv") == [NAMES[i] for i in order]


def test_each_animal_of_a_frame_is_a_face(folder):
    none = np.full_like(POINTS, np.nan)
    frames = [("labeled-data/mouse/a.png", [POINTS, none]), ("labeled-data/mouse/b.png", [POINTS, POINTS + 5])]
    (folder / "labels.csv").write_text(csv(frames, individuals=("m1", "m2")))
    table = read(folder)
    assert table.row.tolist() == [1, 3, 4]
    assert table.attributes["individual"].tolist() == ["m1", "m1", "m2"]
    np.testing.assert_allclose(table.to_photo(table.points)[2], POINTS + 5, atol=1e-4)


def test_all_files_of_a_folder_are_read_and_photos_may_be_named_from_any_folder_above(folder):
    for name in ("a", "b"):
        file = folder / "labeled-data" / name / f"CollectedData_{name}.csv"
        file.parent.mkdir()
        file.write_text(csv([(f"labeled-data\\mouse\\{name}.png", POINTS)]))
    assert read(folder, labels="labeled-data").name.tolist() == [f"labeled-data/mouse/{name}.png" for name in "ab"]
    mouse = read(folder, f"data.images={folder}/labeled-data/mouse", labels="labeled-data")
    assert mouse.name.tolist() == ["a.png", "b.png"]
    with pytest.raises(UserError, match=r"data.labels=.*mouse: holds no CollectedData\*.csv; give DeepLabCut's CSV"):
        read(folder, labels="labeled-data/mouse")


def test_a_frame_in_two_files_is_counted_or_with_other_points_refused(folder, caplog):
    mouse = folder / "labeled-data" / "mouse"
    for name, points in (("a", POINTS), ("b", POINTS + 0.1), ("c", POINTS + 9)):
        (mouse / f"CollectedData_{name}.csv").write_text(csv([("labeled-data/mouse/a.png", points)]))
    with pytest.raises(
        UserError, match=r"_c.csv: line 4: labeled-data/mouse/a.png has other points in .*_a.csv: line 4"
    ):
        read(folder, labels="labeled-data")
    (mouse / "CollectedData_c.csv").unlink()
    assert len(read(folder, labels="labeled-data")) == 2
    assert "1 face with the points of another face of the same photo, the first: " in caplog.text
    assert "CollectedData_b.csv: line 4; remove the repeated labels" in caplog.text


def test_frames_without_a_photo_are_counted(folder, caplog):
    frames = [("labeled-data/mouse/a.png", POINTS), *[(f"labeled-data/mouse/{i}.png", POINTS) for i in range(3)]]
    (folder / "labels.csv").write_text(csv(frames))
    with pytest.raises(UserError, match=r"can't be used: 3, the first: .*labels.csv: line 5: .*0.png: does not exist"):
        read(folder)
    assert read(folder, "data.skip_broken=true").row.tolist() == [1]
    assert "3 photos can't be used and left out, the first: " in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("30,20", "30,x"), "labels.csv: line 4, left_eye: '30', 'x' are not x and y; give two numbers, or leave both"),
        (("30,20", ",20"), "labels.csv: line 4, left_eye: '', '20' are not x and y"),
        (("30,20", "inf,20"), "labels.csv: line 4, left_eye: 'inf', '20' are not x and y"),
        ((",12,40", ",12"), "labels.csv: line 4, right_mouth: '12', no field are not x and y"),
        (("mouse/a.png", "../../a.png"), "labels.csv: line 4: 'labeled-data/../../a.png' is outside "),
    ],
)
def test_a_fault_of_a_frame_is_refused_with_its_position(folder, change, message, caplog):
    first, second = csv([("labeled-data/mouse/a.png", POINTS)]).rsplit("labeled", 1)
    (folder / "labels.csv").write_text(f"{first}labeled{second.replace(*change)}labeled{second}")
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.skip_broken=true").row.tolist() == [2]
    assert "1 face with errors left out" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,x,y\na.png,1,2\n", "labels.csv: is not a DeepLabCut CSV; its first rows start with scorer, individuals"),
        ("", "labels.csv: is not a DeepLabCut CSV"),
        (csv([], names=[*NAMES[:4], "tail"]), "labels.csv: its 5 points are not the 5 of keypoints five: tail only in"),
        (
            csv([]).replace("x,y\n", "x,likelihood\n"),
            "labels.csv: coords: body part 'right_mouth' has no column y; add it",
        ),
        (csv([], names=[*NAMES, "nose"]), "labels.csv: body part 'nose' has two columns x; keep one"),
        (csv([]), "labels.csv: has no face with a labelled point"),
    ],
)
def test_other_files_and_schemes_are_refused(folder, text, message):
    (folder / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read(folder)


def test_paths_may_be_absolute_and_relative_and_hold_commas(folder):
    name = "labeled-data/mouse/a,1.png"
    (folder / "labeled-data" / "mouse" / "a.png").rename(folder / name)
    text = csv([(f"/home/rick/{name}", POINTS), ("labeled-data/mouse/b.png", POINTS)])
    (folder / "labels.csv").write_text(text.replace(",", ";").replace("a;1", "a,1"))
    with pytest.raises(UserError, match="photos that can't be used: 1"):
        read(folder)  # the one of another machine
    (folder / "labels.csv").write_text(text.replace(",", ";").replace("a;1", "a,1").replace("/home/rick/", ""))
    assert read(folder).name.tolist() == [name, "labeled-data/mouse/b.png"]
