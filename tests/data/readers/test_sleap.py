"""SLEAP's .slp: instances of photos and of packages, predicted instances left out, and the error of every fault."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.readers.sleap import _frame_folders, point_names
from tests.data.label_readers import read_labels
from tests.data.photo_folder import write_one_photo
from tests.drawn_photos import DRAWN

POINTS = np.array([(30, 20), (10, 20.5), (20, 30), (28, 40), (12, 40)])
NAMES = list(DRAWN)
ORDER = [3, 0, 4, 2, 1]


def read(folder, *more, labels="labels.slp"):
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/{labels}")
    return read_labels("sleap", *paths, *more)


@pytest.fixture
def folder(tmp_path):
    """labels.slp with two instances and a prediction in the photo a.png."""
    sleap_io = pytest.importorskip("sleap_io")
    write_one_photo(tmp_path)
    skeleton = sleap_io.Skeleton(nodes=[NAMES[i] for i in ORDER], name="face")
    few = np.where(np.arange(5)[:, None] == 1, np.nan, POINTS + 2)
    instances = [sleap_io.Instance.from_numpy(points[ORDER], skeleton=skeleton) for points in (POINTS, few)]
    instances[1].track = sleap_io.Track("m2")
    guess = sleap_io.PredictedInstance.from_numpy(POINTS, skeleton=skeleton)
    video = sleap_io.Video.from_filename([str(tmp_path / "photos" / "a.png")])
    frame = sleap_io.LabeledFrame(video=video, frame_idx=0, instances=[*instances, guess])
    labels = sleap_io.Labels([frame])
    labels.save(str(tmp_path / "labels.slp"))
    return tmp_path


def test_instances_that_a_person_labelled_are_faces(folder):
    table = read(folder)
    assert table.name.tolist() == ["a.png", "a.png"]
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-4)
    assert table.mask[1].tolist() == [True, False, True, True, True]
    assert table.attributes["track"].tolist() == ["", "m2"]
    assert point_names(folder / "labels.slp") == [NAMES[i] for i in ORDER]


def test_frames_of_a_package_are_written_once(folder):
    import sleap_io

    expected = read(folder)
    sleap_io.load_slp(str(folder / "labels.slp")).save(str(folder / "x.pkg.slp"), embed="user", verbose=False)
    (folder / "photos" / "a.png").unlink()
    table = read(folder, labels="x.pkg.slp")
    assert table.name.tolist() == ["x/frame_000000.png"] * 2
    np.testing.assert_array_equal(table.images, expected.images)
    with pytest.raises(UserError, match=r"photos/a.png: does not exist"):
        read(folder)


def test_other_files_and_schemes_are_refused(folder):
    (folder / "labels.slp").write_text("name,x,y")
    with pytest.raises(
        UserError, match=r"data.labels=.*labels.slp: can't be read as SLEAP's .slp \(.*save it in SLEAP"
    ):
        read(folder)


def test_without_the_library_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    with pytest.raises(UserError, match=r"data=sleap: needs sleap-io; pip install 'facekp\[sleap\]'"):
        read(tmp_path)


def test_frames_of_different_videos_are_different_photos(folder):
    import sleap_io

    labels = sleap_io.load_slp(str(folder / "labels.slp"))
    other = np.random.default_rng(1).integers(0, 256, (50, 60), np.uint8)
    Image.fromarray(other).save(folder / "photos" / "b.png")
    video = sleap_io.Video.from_filename([str(folder / "photos" / "b.png")])
    labels.append(sleap_io.LabeledFrame(video=video, frame_idx=0, instances=labels[0].instances[:1]))
    labels.save(str(folder / "two.v1.pkg.slp"), embed="user", verbose=False)
    photos = [np.asarray(Image.open(folder / "photos" / name)) for name in ("a.png", "b.png")]
    assert read(folder, labels="two.v1.pkg.slp").name.tolist() == [
        "two.v1/frame_000000.png",
        "two.v1/frame_000000.png",
        "two.v1_2/frame_000000.png",
    ]
    for name, pixels in zip(("two.v1", "two.v1_2"), photos, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "photos" / name / "frame_000000.png")), pixels)


@pytest.mark.parametrize("found", [True, False])
def test_two_addresses_of_one_file_are_refused(folder, found):
    import sleap_io

    labels = sleap_io.load_slp(str(folder / "labels.slp"))
    video = sleap_io.Video.from_filename(["/other/day2/a.png"])
    labels.append(sleap_io.LabeledFrame(video=video, frame_idx=0, instances=labels[0].instances[:1]))
    labels.save(str(folder / "two.slp"), verbose=False)
    if found:
        with pytest.raises(
            UserError, match=r"video 2, .*: /other/day2/a.png and .*photos/a.png are both a.png in .*give both .* sub"
        ):
            read(folder, labels="two.slp")
    else:
        (folder / "photos" / "day2").mkdir()
        (folder / "photos" / "day2" / "a.png").write_bytes((folder / "photos" / "a.png").read_bytes())
        assert read(folder, labels="two.slp").name.tolist() == ["a.png", "a.png", "day2/a.png"]


def test_videos_of_one_name_in_two_folders_have_folders_of_their_own(tmp_path):
    for name in ("day1/cam.mp4", "day2/cam.mp4", "cam.mp4", "cam.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "cam_4.mp4").touch()
    (tmp_path / "day3" / "gone").mkdir(parents=True)  # frames of a video that was deleted
    addresses = {
        "/x/day1/cam.mp4": "day1/cam",
        "D:\\day2\\cam.mp4": "day2/cam",
        "/y/cam.mp4": "cam",
        "/y/cam_4.mp4": "cam_4",
        "/y/cam.avi": "cam_5",
        "/z/day3/gone.mp4": "day3/gone",
        "": "video",
        "/w/day8/lost.mp4": "lost",
        "/w/day9/lost.mp4": "lost_9",  # of two videos that are not there
    }
    videos = [SimpleNamespace(filename=address) for address in [*addresses, "/x/day1/cam.mp4", ["a.png"], []]]
    folders = _frame_folders(SimpleNamespace(videos=videos), tmp_path / "a.slp", tmp_path)
    assert folders == [*addresses.values(), "day1/cam", "", ""]


def test_spellings_of_one_path_are_one_video(tmp_path):
    (tmp_path / "v.mp4").touch()
    videos = [SimpleNamespace(filename=address) for address in ("d/v.mp4", "./d/v.mp4", "d\\v.mp4")]
    assert _frame_folders(SimpleNamespace(videos=videos), tmp_path / "a.slp", tmp_path) == ["v"] * 3
