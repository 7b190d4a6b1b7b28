"""MATLAB files of 300W-LP and AFLW2000-3D: their variables, poses of one photo, and the error of every fault."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from facekp.core.errors import UserError
from facekp.data.label_file import defaults_of, open_label_file, recognise
from facekp.data.readers.base import READERS
from facekp.data.readers.w300lp import point_names
from tests.data.label_readers import read_labels

POINTS = np.array([(30, 20), (10.5, 20), (20, 30), (28, 40), (12, 40)])
ONE_BASED = (POINTS + 1).T
NAMES = ["AFW/AFW_1_1_0", "AFW/AFW_1_1_12", "AFW_Flip/AFW_1_1_0", "HELEN/HELEN_2_1_0"]


def write(folder, name, ending=".mat", photo=True, **variables):
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if photo:
        noise = np.random.default_rng(len(name)).integers(0, 256, (50, 60), np.uint8)
        Image.fromarray(noise).save(path)
    savemat(folder / f"{name}{ending}", variables or {"pt2d": ONE_BASED, "Pose_Para": np.zeros((1, 7))})


def read(folder, *more):
    return read_labels("w300lp", f"data.images={folder}", *more)


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        write(tmp_path, name)
    write(tmp_path, "landmarks/AFW/AFW_1_1_0", "_pts.mat", photo=False, pts_2d=POINTS + 1, pts_3d=POINTS + 2)
    write(tmp_path, "Code/Model", photo=False, w=np.zeros(3))
    return tmp_path


def test_poses_of_a_photo_stay_in_one_group_and_files_without_a_photo_are_left_out(folder, caplog):
    caplog.set_level("INFO")
    table = read(folder)
    assert table.name.tolist() == [f"{name}.png" for name in NAMES]
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-4)
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "folder": ["AFW", "AFW", "AFW_Flip", "HELEN"],
        "original": ["AFW_1_1", "AFW_1_1", "AFW_1_1", "HELEN_2_1"],
    }
    assert table.group_by == ("original",)
    assert "2 .mat files without a photo left out" in caplog.text
    assert read(folder, "data.only={folder: [AFW, HELEN]}").name.tolist() == [f"{NAMES[i]}.png" for i in (0, 1, 3)]


@pytest.mark.parametrize(
    ("variables", "settings"),
    [
        ({"pt3d_68": np.vstack((ONE_BASED, np.arange(5))), "pt2d": -np.ones((2, 21))}, ()),
        ({"pt2d": ONE_BASED.astype(np.float32)}, ()),
        ({"pts_2d": POINTS + 1, "pts_3d": POINTS}, ()),
        ({"pts_2d": POINTS, "pts_3d": POINTS + 1}, ("data.variable=pts_3d",)),
    ],
)
def test_the_points_are_in_one_of_four_variables(tmp_path, variables, settings):
    write(tmp_path, "image00002", **variables)
    table = read(tmp_path, *settings)
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-4)
    assert table.attributes["original"].tolist() == ["image00002"]


def test_the_folder_landmarks_has_files_of_another_ending(folder):
    table = read(folder, f"data.labels={folder}/landmarks", "data.ending=_pts.mat")
    assert table.name.tolist() == ["AFW/AFW_1_1_0.png"]
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-4)


def test_minus_one_is_a_point_without_a_label(tmp_path):
    write(tmp_path, "a", pt2d=np.hstack(([[-1], [-1]], ONE_BASED[:, 1:])))
    assert read(tmp_path).mask[0].tolist() == [False, True, True, True, True]


def test_a_folder_is_recognised_with_its_scheme_and_photos(tmp_path):
    write(tmp_path, "AFW/a_0", pt2d=np.vstack((np.linspace(2, 59, 68), np.full(68, 20))))
    assert recognise(tmp_path) == "w300lp"
    file = open_label_file(tmp_path, None, None, None)
    assert (file.keypoints.name, file.has_photos, len(file.faces)) == ("ibug68", True, 1)
    settings = READERS.parse({**defaults_of("w300lp"), "images": "x"})
    assert len(point_names(tmp_path, settings)) == 68


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"w": np.zeros((2, 5))},
            "a.mat: has no pt3d_68 or pt2d or pts_2d or pts_3d; give files of 300W-LP or AFLW2000",
        ),
        ({"pt2d": np.zeros((2, 4)) + 9}, "a.mat: has 4 points, but keypoints five has 5"),
        ({"pt2d": np.zeros((5, 5))}, "a.mat: pt2d is 5 x 5; give an array of 2 x K or K x 2 coordinates"),
        ({"pt2d": np.zeros((1, 5))}, "a.mat: pt2d is 1 x 5; give an array"),
        ({"pt2d": np.zeros((2, 5, 2))}, "a.mat: pt2d is 2 x 5 x 2; give an array"),
        ({"pt2d": np.zeros((2, 10_001))}, "a.mat: pt2d is 2 x 10001; give an array"),
        ({"pt2d": np.full((2, 5), np.nan)}, "a.mat: pt2d has values that are not finite; write -1, -1 for a point"),
        ({"pt2d": np.array([["a"] * 5] * 2, object)}, "a.mat: has no pt3d_68 or pt2d"),
    ],
)
def test_every_fault_is_refused_with_its_position(tmp_path, variables, message):
    write(tmp_path, "a", **variables)
    write(tmp_path, "b")
    with pytest.raises(UserError, match=message):
        read(tmp_path)
    assert read(tmp_path, "data.skip_broken=true").name.tolist() == ["b.png"]


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file" + bytes(200), b"\x89HDF\r\n\x1a\n" + bytes(600)])
def test_a_damaged_file_is_refused(tmp_path, content):
    write(tmp_path, "a")
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"a.mat: (can't be read as a file of MATLAB|has no pt3d_68)"):
        read(tmp_path)


def test_a_large_file_and_a_missing_package_are_one_line(tmp_path, monkeypatch):
    write(tmp_path, "a", pt2d=ONE_BASED, more=np.random.default_rng(0).random(140_000))
    with pytest.raises(UserError, match=r"a.mat: has 1 MB; at most 1 MB are read"):
        read(tmp_path)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UserError, match=r"data=w300lp: needs scipy; pip install 'facekp\[w300lp\]'"):
        read(tmp_path)
