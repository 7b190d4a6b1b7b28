"""Folders of .pts files: 300-W's layout with photos beside them, 300-VW's, and the error of every fault."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.readers.pts import point_names
from tests.data.label_readers import read_labels

POINTS = [(31, 21), (11, 21), (21.5, 31), (29, 41), (13, 41)]  # MATLAB's, from 1


def pts(points=POINTS, count=None):
    lines = "\n".join(f"{x} {y}" for x, y in points)
    return f"version: 1\nn_points:  {count or len(points)}\n{{\n{lines}\n}}\n"


def write(path, text=None):
    """A .pts file, or a photo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60), np.uint8)).save(path)
    else:
        path.write_text(text)


def read(folder, *more):
    return read_labels("pts", f"data.images={folder}", *more)


@pytest.fixture
def folder(tmp_path):
    """As 300-W: helen and ibug, with labels beside the photos."""
    for name in ("helen/b", "helen/a", "ibug/c"):
        write(tmp_path / f"{name}.pts", pts())
        write(tmp_path / f"{name}.png")
    return tmp_path


def test_points_count_from_1_and_the_first_folder_is_an_attribute(folder):
    table = read(folder)
    assert table.name.tolist() == ["helen/a.png", "helen/b.png", "ibug/c.png"]
    assert table.row.tolist() == [1, 2, 3]
    assert table.attributes["folder"].tolist() == ["helen", "helen", "ibug"]
    np.testing.assert_allclose(table.to_photo(table.points)[0], np.array(POINTS) - 1, atol=1e-4)
    assert point_names(folder) == ["0", "1", "2", "3", "4"]


def test_labels_may_lie_in_a_folder_beside_the_photos(tmp_path):
    for name in ("001", "002"):
        write(tmp_path / name / "annot" / "000001.pts", pts())
        write(tmp_path / name / "imgs" / "000001.png")
    assert read(tmp_path).name.tolist() == ["001/imgs/000001.png", "002/imgs/000001.png"]
    write(tmp_path / "labels" / "000001.pts", pts())
    table = read(tmp_path / "001" / "imgs", f"data.labels={tmp_path}/labels")
    assert table.name.tolist() == ["000001.png"]
    assert "folder" not in table.attributes


def test_a_point_without_a_label_is_nan_or_outside_the_photo(folder):
    write(folder / "helen" / "a.pts", pts([("nan", "NaN"), (0, 0), *POINTS[2:]]))
    assert read(folder).mask[0].tolist() == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (pts(POINTS[:4]), r"a.pts: has 4 points, but keypoints five has 5; choose keypoints=NAME \(with"),
        (pts(count=68), "a.pts: n_points is 68, but 5 points follow"),
        (pts([(1, "x"), *POINTS[1:]]), r"a.pts: line 4: '1 x' is not x y in finite numbers"),
        (pts([("inf", 2), *POINTS[1:]]), "a.pts: line 4: 'inf 2' is not x y"),
        (pts([(1, "2 3"), *POINTS[1:]]), "a.pts: line 4: '1 2 3' is not x y"),
        (pts([(1, "nan"), *POINTS[1:]]), "a.pts: line 4: '1 nan' is not x y"),
        (pts([]), "a.pts: n_points is 0, but 0 points follow"),
        (pts() * 2, "a.pts: has several blocks of points in { and }; write a file for each photo"),
        ("name,x,y", "a.pts: not a valid .pts file; write version: 1, n_points: N, and N lines x y between { and }"),
    ],
)
def test_every_fault_is_refused_with_its_position(folder, text, message, caplog):
    write(folder / "helen" / "a.pts", text)
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.skip_broken=true").row.tolist() == [2, 3]
    assert "1 face with errors left out (data.skip_broken=true), the first: " in caplog.text


def test_missing_and_ambiguous_photos_and_folders_are_refused(folder):
    (folder / "helen" / "a.png").unlink()
    with pytest.raises(UserError, match=r"a.pts: no photo in .* has its name, such as helen/a.jpg; add it; or leave"):
        read(folder)
    assert read(folder, "data.skip_broken=true").row.tolist() == [2, 3]
    for ending in ("png", "jpg"):
        write(folder / "helen" / f"a.{ending}")
    with pytest.raises(UserError, match=r"a.pts: helen/a.jpg and helen/a.png in .* have its name; keep one"):
        read(folder)
    with pytest.raises(UserError, match=r"data.labels=.*nowhere: is not a folder"):
        read(folder, f"data.labels={folder}/nowhere")
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=r"data.labels=.*empty: holds no .pts file"):
        read(folder, f"data.labels={folder}/empty")


def test_two_files_of_one_photo_must_not_contradict_each_other(folder):
    write(folder / "helen" / "annot" / "a.pts", pts())
    write(folder / "helen" / "old" / "a.pts", pts([("nan", "nan")] * 5))
    assert len(read(folder)) == 4
    write(folder / "helen" / "old" / "a.pts", pts([(x + 4, y) for x, y in POINTS]))
    with pytest.raises(UserError, match=r"old/a.pts: helen/a.pts has other points for the same face of helen/a.png; k"):
        read(folder)


def test_files_of_macos_are_passed_over_and_the_photo_of_the_very_name_is_taken(folder):
    write(folder / "helen" / "A.pts", pts())
    write(folder / "helen" / "A.png")
    write(folder / "__MACOSX" / "helen" / "._a.pts", "\0\5")
    assert read(folder).name.tolist() == ["helen/A.png", "helen/a.png", "helen/b.png", "ibug/c.png"]
