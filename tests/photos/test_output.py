"""Output: tables, pictures and videos, complete or absent."""

import csv
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facekp.core.crop import Crop
from facekp.photos.drawn_video import DrawnVideo
from facekp.photos.output import COLUMNS, PredictionWriter
from facekp.photos.pipeline import Face
from facekp.photos.reading import Photo

PHOTO = Photo("dir/a b.png", np.full((100, 120, 3), 90, np.uint8))


@pytest.fixture
def face(scheme):
    points = np.stack([np.linspace(20, 60, 15), np.linspace(30, 70, 15)], axis=1) + 0.12345
    return Face(Crop(10, 20, 60, 60, (96, 96)), points, np.linspace(0, 1, 15), None)


def frame(number, file="clip.mp4"):
    return Photo(file, PHOTO.image, number, 25.0, 0.5)


def rows_of(out):
    with (out / "points.csv").open() as file:
        return list(csv.DictReader(file))


def test_both_tables_hold_every_point_in_pixels_of_the_photo(tmp_path, scheme, face):
    with PredictionWriter(tmp_path, scheme, pictures=False) as writer:
        writer.write(PHOTO, [face, face])
        writer.write(frame(0), [])
    assert (writer.photos, writer.faces, writer.without) == (2, 2, 1)
    rows = rows_of(tmp_path)
    assert list(rows[0]) == COLUMNS
    assert [row["keypoint"] for row in rows] == [*scheme.names] * 2
    assert [row["face"] for row in rows] == ["0"] * 15 + ["1"] * 15
    assert rows[0] == {
        "file": "dir/a b.png", "frame": "", "face": "0", "track": "",
        "left": "9.5", "top": "19.5", "right": "69.5", "bottom": "79.5",
        "keypoint": scheme.names[0], "x": "20.123", "y": "30.123", "confidence": "0.0", "expected_error": "",
    }  # fmt: skip
    photo, empty = json.loads((tmp_path / "points.json").read_text())
    assert (photo["width"], photo["height"], photo["frame"]) == (120, 100, None)
    assert photo["faces"][0]["box"] == [9.5, 19.5, 69.5, 79.5]
    assert photo["faces"][0]["points"][14] == {
        "keypoint": scheme.names[14], "x": 60.123, "y": 70.123, "confidence": 1.0, "expected_error": None,
    }  # fmt: skip
    assert (empty["frame"], empty["faces"]) == (0, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["points.csv", "points.json"]


def test_expected_errors_are_written_where_they_are_known(tmp_path, scheme, face):
    with PredictionWriter(tmp_path, scheme, pictures=False) as writer:
        writer.write(PHOTO, [Face(face.crop, face.points, face.confidence, np.full(15, 1.2345))])
    assert {row["expected_error"] for row in rows_of(tmp_path)} == {"1.234"}


def test_photos_and_videos_are_drawn_under_portable_names(tmp_path, scheme, face):
    with PredictionWriter(tmp_path, scheme, pictures=True) as writer:
        writer.write(PHOTO, [face])
        for number in range(3):
            writer.write(frame(number), [face])
        for number in range(2):
            writer.write(frame(number, "Ä:2.mp4"), [])
    writer.finish()
    *pictures, sheet = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert sheet == "contact_sheet_1.jpg"
    assert pictures == ["0001_a_b.jpg", "0002_clip.mp4", "0003__2.mp4"]
    assert cv2.imread(str(tmp_path / "pictures" / pictures[0])).shape == (100, 120, 3)
    frames = [cv2.VideoCapture(str(tmp_path / "pictures" / name)).get(cv2.CAP_PROP_FRAME_COUNT) for name in pictures]
    assert frames[1:] == [3, 2]


def test_an_error_leaves_the_results_of_the_run_before(tmp_path, scheme, face):
    def run(fail):
        with PredictionWriter(tmp_path, scheme, pictures=True) as writer:
            writer.write(frame(0), [face])
            if fail:
                raise RuntimeError("broken")

    run(fail=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RuntimeError, match="broken"):
        run(fail=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_track_is_written_beside_the_face(tmp_path, scheme, face):
    tracked = replace(face, track=7)
    with PredictionWriter(tmp_path, scheme, pictures=False) as writer:
        writer.write(frame(0), [tracked])
        writer.write(PHOTO, [face])
    assert [(row["face"], row["track"]) for row in rows_of(tmp_path)[::15]] == [("0", "7"), ("0", "")]
    entries = json.loads((tmp_path / "points.json").read_text())
    assert [entry["faces"][0]["track"] for entry in entries] == [7, None]


def test_contact_sheets_of_an_earlier_call_go_too(tmp_path, scheme, face):
    for numbers in (range(32), range(3)):
        with PredictionWriter(tmp_path, scheme, pictures=True) as writer:
            for number in numbers:
                writer.write(Photo(f"{number}.jpg", PHOTO.image), [face])
        writer.finish()
    assert [path.name for path in (tmp_path / "pictures").glob("contact*")] == ["contact_sheet_1.jpg"]


def test_pictures_of_an_earlier_call_go_once_the_new_ones_are_written(tmp_path, scheme, face):
    for numbers in (range(3), range(1)):
        with PredictionWriter(tmp_path, scheme, pictures=True) as writer:
            for number in numbers:
                writer.write(Photo(f"{number}.jpg", PHOTO.image), [face])
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["0001_0.jpg"]


def test_without_any_photo_the_tables_are_empty_and_valid(tmp_path, scheme):
    with PredictionWriter(tmp_path, scheme, pictures=True):
        pass
    assert json.loads((tmp_path / "points.json").read_text()) == []
    assert rows_of(tmp_path) == []


def test_a_video_that_can_t_be_drawn_costs_no_table(tmp_path, scheme, face, caplog):
    wide = np.zeros((16, 9000, 3), np.uint8)
    with PredictionWriter(tmp_path, scheme, pictures=True) as writer:
        writer.write(PHOTO, [face])
        for number in range(2):
            writer.write(Photo("wide.mp4", wide, number, 25.0), [])
        writer.write(frame(0), [face])
    writer.finish()
    assert writer.undrawn == ["0002_wide.mp4"]
    assert len(json.loads((tmp_path / "points.json").read_text())) == 4
    assert "0002_wide.mp4: OpenCV can't write a video of 9000 x 16 pixels at 25 frames per second" in caplog.text
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["0001_a_b.jpg", "0003_clip.mp4", "contact_sheet_1.jpg"]


def test_a_video_that_is_not_whole_is_no_video(tmp_path, scheme, face, monkeypatch, caplog):
    monkeypatch.setattr("facekp.photos.drawn_video._frames_in", lambda path: 1)
    with PredictionWriter(tmp_path, scheme, pictures=True) as writer:
        writer.write(frame(0), [face])
        writer.write(frame(1), [face])
    assert writer.undrawn == ["0001_clip.mp4"]
    assert list((tmp_path / "pictures").iterdir()) == []
    assert "2 frames were drawn, but the written video holds 1; the disk may be full" in caplog.text


def test_what_a_killed_call_left_is_removed(tmp_path, scheme):
    (tmp_path / "pictures" / "0001_folder").mkdir(parents=True)
    parts = [tmp_path / f".points.csv.{12 * 'a'}.part", tmp_path / "pictures" / f".0001_a.mp4.{12 * 'b'}.part.mp4"]
    old = [tmp_path / "points.json", tmp_path / "coco.json", tmp_path / "pictures" / "10000_a.jpg"]
    for path in (*parts, *old):
        path.touch()
    with PredictionWriter(tmp_path, scheme, pictures=True):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["0001_folder", "pictures", "points.csv", "points.json"]


def test_a_signal_between_a_frame_and_its_count_keeps_the_video(tmp_path):
    video = DrawnVideo(tmp_path / "a.mp4", (64, 48), 25.0)
    for _ in range(3):
        video.write(np.zeros((48, 64, 3), np.uint8))
    video.frames -= 1
    video.close()
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_frames_of_another_size_are_drawn_and_a_video_without_frames_is_none(tmp_path):
    video = DrawnVideo(tmp_path / "a.mp4", (64, 48), 25.0)
    for width in (64, 32):
        video.write(np.zeros((48, width, 3), np.uint8))
    video.close()
    DrawnVideo(tmp_path / "b.mp4", (64, 48), 25.0).close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_what_can_t_be_removed_costs_no_table(tmp_path, scheme, face):
    (tmp_path / "coco.json").mkdir()
    (tmp_path / "pictures").touch()  # no folder, so no video can be drawn in it
    with PredictionWriter(tmp_path, scheme, pictures=True) as writer:
        writer.write(frame(0), [face])
    assert writer.undrawn == ["0001_clip.mp4"]
    assert len(json.loads((tmp_path / "points.json").read_text())) == 1
