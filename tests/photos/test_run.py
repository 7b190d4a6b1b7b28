"""A whole run of `predict`: files in, points in pixels of the photos out."""

import csv
import errno
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import CannotWrite, UserError
from facekp.core.signals import Stopped
from facekp.models.predictor import KeypointPredictor
from facekp.photos import run
from facekp.photos.growing_file import GrowingFile
from tests.photos.conftest import predict_settings, write_numbered_video, write_video


def settings(out, ckpt, *more):
    return predict_settings(f"out={out}", f"ckpt={ckpt}", "detector=none", *more)


def test_points_are_written_in_pixels_of_the_photo(tmp_path, faces, small_checkpoint, small_predictor):
    image = faces.images[0].repeat(2, axis=0).repeat(2, axis=1)  # halving it gives the image back
    Image.fromarray(image).save(tmp_path / "a b.png")
    outcome = run.predict(settings(tmp_path / "out", small_checkpoint, "refine=false"), [str(tmp_path / "a b.png")])
    assert outcome == run.Outcome(1, 0, 1, 0, 0, [], [], None, 1)
    assert outcome.summary() == "1 face in 1 photo, 0 without a face"
    points, confidence = small_predictor(faces.images[:1])
    rows = list(csv.DictReader((tmp_path / "out" / "points.csv").open()))
    assert [row["keypoint"] for row in rows] == list(faces.keypoints.names)
    written = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    assert np.allclose(written, 2 * (points[0] + 0.5) - 0.5, atol=0.02)
    (entry,) = json.loads((tmp_path / "out" / "points.json").read_text())
    assert (entry["width"], entry["height"], entry["frame"]) == (192, 192, None)
    assert entry["faces"][0]["box"] == [-0.5, -0.5, 191.5, 191.5]
    assert entry["faces"][0]["points"][3]["confidence"] == pytest.approx(confidence[0, 3], abs=1e-3)
    drawn = cv2.imread(str(tmp_path / "out" / "pictures" / "0001_a_b.jpg"))
    assert drawn.shape == (192, 192, 3)
    assert np.ptp(drawn.astype(int), axis=2).max() > 100  # the points are coloured


def test_points_of_the_mean_face_are_counted(tmp_path, faces, small_checkpoint, caplog):
    Image.fromarray(faces.images[0]).save(tmp_path / "a.png")
    given = ["refine=false", "draw=false", "decoder.floor=1"]  # no confidence reaches the floor
    run.predict(settings(tmp_path / "out", small_checkpoint, *given), [str(tmp_path / "a.png")])
    assert "15 of 15 predicted points (100.0%) are those of the mean face" in caplog.text


def test_a_video_is_predicted_frame_by_frame_and_drawn_as_a_video(tmp_path, faces, small_checkpoint):
    write_video(tmp_path / "clip:1 %02d.mp4", faces.images[0], 6)
    run.predict(settings(tmp_path / "out", small_checkpoint), [str(tmp_path / "clip:1 %02d.mp4")])
    entries = json.loads((tmp_path / "out" / "points.json").read_text())
    assert [entry["frame"] for entry in entries] == list(range(6))
    sheet, drawn = sorted((tmp_path / "out" / "pictures").iterdir(), reverse=True)
    assert sheet.name == "contact_sheet_1.jpg"
    assert cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert [[face["track"] for face in entry["faces"]] for entry in entries] == [[0]] * 6
    rows = list(csv.DictReader((tmp_path / "out" / "points.csv").open()))
    assert {(row["face"], row["track"]) for row in rows} == {("0", "0")}
    run.predict(settings(tmp_path / "few", small_checkpoint, "frames=2"), [str(tmp_path / "clip:1 %02d.mp4")])
    assert len(json.loads((tmp_path / "few" / "points.json").read_text())) == 2


def test_draw_false_writes_tables_only(tmp_path, faces, small_checkpoint):
    Image.fromarray(faces.images[0]).save(tmp_path / "a.png")
    run.predict(settings(tmp_path / "out", small_checkpoint, "draw=false"), [str(tmp_path / "a.png")])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["coco.json", "points.csv", "points.json"]


def test_files_that_cannot_be_read_are_skipped_and_listed(tmp_path, faces, small_checkpoint, capsys):
    Image.fromarray(faces.images[0]).save(tmp_path / "good.png")
    (tmp_path / "broken [red].jpg").write_bytes(b"abc")
    names = [str(tmp_path / "broken [red].jpg"), str(tmp_path / "good.png")]
    outcome = run.predict(settings(tmp_path / "out", small_checkpoint), names)
    assert (outcome.photos, outcome.unreadable) == (1, names[:1])
    assert f"facekp: skipped: {names[0]}: is damaged, or in a format that is not read" in capsys.readouterr().err


def three_photos(folder, faces):
    """Names of three photos."""
    for number in range(3):
        Image.fromarray(faces.images[number]).save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(3)]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Stopped(143)])
def test_a_signal_keeps_the_predictions_so_far(tmp_path, faces, small_checkpoint, monkeypatch, stop):
    names = three_photos(tmp_path, faces)
    read = run.read_photos

    def interrupted(*arguments):
        yield from read(*arguments)
        raise stop

    monkeypatch.setattr(run, "read_photos", interrupted)
    outcome = run.predict(settings(tmp_path / "out", small_checkpoint, "batch=1"), names)
    assert (outcome.photos, outcome.stopped) == (1, stop)
    assert outcome.progress() == "stopped: the tables hold 1 photo; 3 files were to be read"
    assert len(json.loads((tmp_path / "out" / "points.json").read_text())) == 1
    assert len(list(csv.DictReader((tmp_path / "out" / "points.csv").open()))) == len(faces.keypoints.names)


@pytest.mark.parametrize("writes", range(3, 8))
def test_a_full_disk_keeps_the_predictions_so_far(tmp_path, faces, small_checkpoint, monkeypatch, writes):
    """The tables are begun by two writes, and each photo takes two."""
    names = three_photos(tmp_path, faces)
    calls = iter(range(100))
    write = GrowingFile.append

    def full(file, text):
        if next(calls) == writes:
            file._write(text.encode()[:20])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, text)

    monkeypatch.setattr(GrowingFile, "append", full)
    given = settings(tmp_path / "out", small_checkpoint, "batch=1", "draw=false")
    if writes == 3:  # nothing is kept of the first photo, so it is a mistake like any other
        with pytest.raises(CannotWrite, match="No space left on device"):
            run.predict(given, names)
        assert not (tmp_path / "out").exists()
        return
    outcome = run.predict(given, names)
    assert outcome.photos == writes // 2 - 1
    assert str(outcome.stopped).startswith(f"{tmp_path}/out/points.json: cannot be written (No space left on device)")
    assert len(json.loads((tmp_path / "out" / "points.json").read_text())) == outcome.photos
    rows = list(csv.DictReader((tmp_path / "out" / "points.csv").open()))
    assert len(rows) == outcome.photos * len(faces.keypoints.names)
    assert all(row["x"] for row in rows)


def test_coco_json_holds_what_was_predicted_before_a_signal(tmp_path, faces, small_checkpoint, monkeypatch):
    names = three_photos(tmp_path, faces)
    read = run.read_photos

    def interrupted(name, *arguments):
        if name == names[2]:
            raise KeyboardInterrupt
        yield from read(name, *arguments)

    monkeypatch.setattr(run, "read_photos", interrupted)
    run.predict(settings(tmp_path / "out", small_checkpoint, "batch=1"), names)
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["0.png", "1.png"]
    assert len(coco["annotations"]) == 2


def test_coco_json_that_cannot_be_written_is_a_failure_that_keeps_the_tables(
    tmp_path, faces, small_checkpoint, monkeypatch
):
    def fail(*_):
        raise CannotWrite("coco.json: cannot be written (full)")

    monkeypatch.setattr("facekp.photos.output.write_coco", fail)
    outcome = run.predict(settings(tmp_path / "out", small_checkpoint), three_photos(tmp_path, faces))
    assert "coco.json" in str(outcome.stopped)
    assert len(json.loads((tmp_path / "out" / "points.json").read_text())) == 3


def test_boxes_that_are_no_faces_are_dropped_and_counted(tmp_path, small_checkpoint, monkeypatch):
    class SeesOne:
        margin = 1.0

        def find(self, image):
            return np.array([[10, 10, 60, 60]])

    monkeypatch.setattr(run, "build_face_detector", lambda _: SeesOne())
    Image.fromarray(np.full((80, 80), 90, np.uint8)).save(tmp_path / "a.png")
    write_video(tmp_path / "clip.mp4", np.full((80, 80), 90, np.uint8), 3)
    given = settings(tmp_path / "out", small_checkpoint, "min_confidence=1", "detect_every=1", "refine=false")
    outcome = run.predict(given, [str(tmp_path / "a.png"), str(tmp_path / "clip.mp4")])
    assert outcome.summary() == (
        "0 faces in 1 photo and 3 frames, 4 without a face; 4 boxes were dropped (min_confidence)"
    )


def test_earlier_output_is_not_read_as_input(tmp_path, faces, small_checkpoint):
    Image.fromarray(faces.images[0]).save(tmp_path / "a.png")
    for _ in range(2):
        outcome = run.predict(settings(tmp_path / "out", small_checkpoint), [str(tmp_path)])
    assert outcome.photos == 1
    with pytest.raises(UserError, match="no photo or video in this folder"):
        run.predict(settings(tmp_path / "out", small_checkpoint), [str(tmp_path / "out")])


def test_a_video_with_broken_frames_is_reported_and_its_drawn_video_keeps_its_length(
    tmp_path, small_checkpoint, capsys
):
    write_numbered_video(tmp_path / "clip.avi", 40, broken=[0, 14, 15])
    outcome = run.predict(settings(tmp_path / "out", small_checkpoint), [str(tmp_path / "clip.avi")])
    assert (outcome.photos, outcome.unreadable, outcome.damaged) == (37, [], [str(tmp_path / "clip.avi")])
    assert outcome.summary() == "37 faces in 37 frames, 0 without a face"
    assert outcome.problems() == ["1 video could be read in part only"]
    expected = f"facekp: {tmp_path / 'clip.avi'}: 3 of 40 frames can't be read: 0, 14 to 15"
    assert expected in capsys.readouterr().err.splitlines()
    entries = json.loads((tmp_path / "out" / "points.json").read_text())
    assert [entry["frame"] for entry in entries] == [n for n in range(40) if n not in (0, 14, 15)]
    (drawn,) = (tmp_path / "out" / "pictures").glob("*.mp4")
    assert cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FRAME_COUNT) == 40


def test_deep_photos_of_a_call_share_their_scale(tmp_path, faces, small_checkpoint, small_predictor, caplog):
    dim, bright = faces.images[0] // 8, faces.images[1]
    for name, image in (("dim", dim), ("bright", bright)):
        Image.fromarray(np.rint(image / 255 * 4095).astype(np.uint16)).save(tmp_path / f"{name}.png")
    with caplog.at_level("INFO"):
        run.predict(settings(tmp_path / "out", small_checkpoint, "refine=false"), [str(tmp_path)])
    assert "2 photos with more than 8 bits per channel: levels 0 to 4095 become 0 to 255" in caplog.messages
    entries = {entry["file"]: entry for entry in json.loads((tmp_path / "out" / "points.json").read_text())}
    points = entries[str(tmp_path / "dim.png")]["faces"][0]["points"]
    found = [[point["x"], point["y"]] for point in points]
    assert np.allclose(found, small_predictor(dim)[0], atol=0.2)


def test_predictions_that_are_not_finite_are_null_and_counted(tmp_path, faces, small_checkpoint, monkeypatch):
    Image.fromarray(faces.images[0]).save(tmp_path / "a.png")
    predict = KeypointPredictor.predict

    def broken(self, images):
        prediction = predict(self, images)
        prediction.points[0, 3] = np.nan
        prediction.confidence[0, 3] = np.inf
        return prediction

    monkeypatch.setattr(KeypointPredictor, "predict", broken)
    outcome = run.predict(settings(tmp_path / "out", small_checkpoint), [str(tmp_path / "a.png")])
    assert outcome.not_finite == 1
    assert outcome.problems() == ["1 predicted point not finite: null in points.json, empty in points.csv"]
    (entry,) = json.loads((tmp_path / "out" / "points.json").read_text())
    points = entry["faces"][0]["points"]
    assert [points[3][key] for key in ("x", "y", "confidence")] == [None, None, None]
    assert sum(point["x"] is None for point in points) == 1
    row = list(csv.DictReader((tmp_path / "out" / "points.csv").open()))[3]
    assert (row["x"], row["y"], row["confidence"]) == ("", "", "")


def test_an_error_after_hours_keeps_the_predictions_so_far(tmp_path, faces, small_checkpoint, monkeypatch):
    names = three_photos(tmp_path, faces)
    read = run.read_photos

    def broken(name, *arguments):
        if name == names[2]:
            raise RuntimeError("of a plug-in")
        yield from read(name, *arguments)

    monkeypatch.setattr(run, "read_photos", broken)
    outcome = run.predict(settings(tmp_path / "out", small_checkpoint, "batch=1", "draw=false"), names)
    assert isinstance(outcome.stopped, RuntimeError)
    assert len(json.loads((tmp_path / "out" / "points.json").read_text())) == 2


def test_a_missing_camera_is_skipped_beside_files(tmp_path, faces, small_checkpoint, monkeypatch, capsys):
    monkeypatch.setattr("cv2.VideoCapture.isOpened", lambda _: False, raising=False)
    names = ["webcam", *three_photos(tmp_path, faces)]
    outcome = run.predict(settings(tmp_path / "out", small_checkpoint, "draw=false"), names)
    assert (outcome.photos, outcome.unreadable) == (3, ["webcam"])
    assert "skipped: webcam: no camera was found" in capsys.readouterr().err
