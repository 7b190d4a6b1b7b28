"""From photos of any kind to points in their own pixels, in files that others read."""

import csv
import json
import os
import weakref
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.images import UnreadableImage, read_image
from facekp.models.predictor import Answers, KeypointPredictor
from facekp.photos.detection_benchmark import measure_detection, paste
from facekp.photos.detectors import WholePhotoDetector
from facekp.photos.pipeline import Face, find_points
from facekp.photos.reading import Photo, read, sources
from facekp.predict import predict
from tests.conftest import config_of, facekp


@pytest.fixture(scope="module")
def quick(tiny_run):
    """The path of a network of a few weights."""
    return str(tiny_run / "checkpoints" / "best.ckpt")


def settings(out, ckpt, *more):
    return config_of(f"out={out}", f"ckpt={ckpt}", "detector=none", *more, name="predict")


def video(path, image, frames):
    height, width = image.shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (width, height))
    for _ in range(frames):
        writer.write(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    writer.release()


class Jittered:
    """Knows where the faces are, but for a tenth of their size."""

    margin = 1.0

    def __init__(self, boxes):
        self.boxes, self.rng = iter(boxes), np.random.default_rng(0)

    def find(self, image):
        crop = next(self.boxes)
        side = crop.width * self.rng.uniform(0.95, 1.05)
        middle = np.array([crop.left, crop.top]) + (crop.width - 1) / 2 + self.rng.uniform(-0.05, 0.05, 2) * side
        return np.concatenate([middle - side / 2, middle + side / 2])[None]


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_faces_pasted_into_scenes_come_back_nearly_as_well_as_they_are(faces, scale):
    own = faces.take(np.flatnonzero(faces.source == 0)[:8])
    boxes = [paste(image, scale, np.random.default_rng([0, i]))[1] for i, image in enumerate(own.images)]
    found = measure_detection(own, KeypointPredictor.from_checkpoint("shipped"), Jittered(boxes), scale)
    assert (found.missed, found.extra) == (0, 0)
    assert found.pasted < 1.3 * found.direct


def test_every_kind_of_photo_shows_the_same_pixels(tmp_path, faces):
    grey = faces.images[0]
    colour = np.repeat(grey[..., None], 3, axis=2)
    kinds = {
        "grey.png": Image.fromarray(grey),
        "colour.png": Image.fromarray(colour),
        "palette.gif": Image.fromarray(grey).convert("P"),
        "alpha.png": Image.fromarray(np.dstack([colour, np.full_like(grey, 255)])),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "deep.tif": Image.fromarray(grey.astype(np.uint16) * 257),
        "cmyk.tif": Image.fromarray(colour).convert("CMYK"),
        "binary.tif": Image.fromarray(grey.astype(np.float32)),
    }
    for name, image in kinds.items():
        image.save(tmp_path / name)
        shown = read_image(str(tmp_path / name))
        assert shown.dtype == np.uint8
        assert np.abs(shown.astype(int) - colour).max() <= 2, name


def test_transparent_pixels_are_grey_and_a_photo_stands_upright(tmp_path, faces):
    clear = np.zeros((20, 30, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert (read_image(str(tmp_path / "clear.png")) == 127).all()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(np.rot90(faces.images[0][:, :80])).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(str(tmp_path / "turned.png"))[..., 0], faces.images[0][:, :80])


def test_what_is_no_photo_says_why(tmp_path, faces):
    Image.fromarray(faces.images[0]).save(tmp_path / "whole.jpg")
    half = (tmp_path / "whole.jpg").read_bytes()[:1000]
    for name, content in (("half.jpg", half), ("text.jpg", b"hello"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImage):
            list(read(str(tmp_path / name)))
    with pytest.raises(UnreadableImage, match=r"96 x 96 pixels; at most 0\.001 million"):
        read_image(str(tmp_path / "whole.jpg"), most_pixels=1000)


def test_files_folders_and_patterns_mean_photos_whatever_they_are_called(tmp_path, monkeypatch, faces):
    monkeypatch.chdir(tmp_path)
    names = ["a=b.png", "[x] *?.png", "Ä ö\n'\".png", "-dash.png", "deep/er/%02d.png", "clip:1.mp4", "out/old.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces.images[0]).save(tmp_path / name, format="png")
    (tmp_path / "notes.txt").write_text("x")
    assert set(sources(["."], without=tmp_path / "out")) == set(names) - {"out/old.png"}
    assert sources(["[x] *?.png", "a*.png", "webcam"]) == ["[x] *?.png", "a=b.png", "webcam"]
    assert sources(["de*"]) == ["deep/er/%02d.png"]
    for wrong, why in (("none.png", "no such file"), ("zz*", "no pattern"), ("", "no such file")):
        with pytest.raises(UserError, match=why):
            sources([wrong])
    with pytest.raises(UserError, match="no photo: name files"):
        sources([])


def test_points_are_written_in_pixels_of_the_photo(tmp_path, faces, quick):
    image = cv2.resize(faces.images[0], (192, 192), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(image).save(tmp_path / "a b.png")
    outcome = predict(settings(tmp_path / "out", quick, "refine=false"), [str(tmp_path / "a b.png")])
    assert (outcome.photos, outcome.faces, outcome.without, outcome.broken) == (1, 1, 0, [])
    predictor = KeypointPredictor.from_checkpoint(quick)
    points, confidence = predictor(cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)[None])
    rows = list(csv.DictReader((tmp_path / "out" / "points.csv").open()))
    assert [row["keypoint"] for row in rows] == list(faces.keypoints.names)
    told = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    assert np.allclose(told, 2 * (points[0] + 0.5) - 0.5, atol=0.02)
    (entry,) = json.loads((tmp_path / "out" / "points.json").read_text())
    assert (entry["width"], entry["height"], entry["frame"]) == (192, 192, None)
    assert entry["faces"][0]["box"] == [-0.5, -0.5, 191.5, 191.5]
    assert entry["faces"][0]["points"][3]["confidence"] == pytest.approx(confidence[0, 3], abs=1e-3)
    drawn = cv2.imread(str(tmp_path / "out" / "pictures" / "0001_a_b.jpg"))
    assert drawn.shape == (192, 192, 3)
    assert np.ptp(drawn.astype(int), axis=2).max() > 100  # the points are coloured


def test_batches_and_order_don_t_change_what_is_found(faces, quick):
    predictor = KeypointPredictor.from_checkpoint(quick)
    photos = [Photo(str(i), np.repeat(image[..., None], 3, axis=2)) for i, image in enumerate(faces.images[:5])]
    one, many = (list(find_points(photos, predictor, WholePhotoDetector(), batch=batch)) for batch in (1, 3))
    assert [photo.file for photo, _ in many] == list("01234")
    for (_, a), (_, b) in zip(one, many, strict=True):
        assert isinstance(a[0], Face)
        assert np.allclose(a[0].points, b[0].points, atol=1e-3)


def test_only_a_face_whose_box_is_far_off_is_looked_at_again():
    mean = np.array([[30.0, 36.0], [66.0, 36.0], [48.0, 72.0]])
    asked = []

    def answers(images):
        """Bright photos show the mean face, dark ones a small one."""
        asked.append([int(image.mean()) for image in images])
        points = np.stack([mean if image.mean() > 99 else 0.6 * mean + 20 for image in images])
        return Answers(points, np.ones((len(images), 3)), None)

    predictor = SimpleNamespace(size=(96, 96), mean_face=mean, answers=answers)
    photos = [Photo(f"{level}.png", np.full((192, 192, 3), level, np.uint8)) for level in (200, 40, 210)]
    right, off, _ = (own[0] for _, own in find_points(photos, predictor, WholePhotoDetector()))
    assert asked == [[200, 40, 210], [40]]
    assert right.crop.width == 192
    assert off.crop.width == 115
    alone = list(find_points(photos, predictor, WholePhotoDetector(), refine=False))
    assert alone[1][1][0].crop.width == 192


def test_a_video_is_answered_frame_by_frame_and_drawn_as_one(tmp_path, faces, quick):
    video(tmp_path / "clip:1 %02d.mp4", faces.images[0], 6)
    predict(settings(tmp_path / "out", quick), [str(tmp_path / "clip:1 %02d.mp4")])
    entries = json.loads((tmp_path / "out" / "points.json").read_text())
    assert [entry["frame"] for entry in entries] == list(range(6))
    (drawn,) = (tmp_path / "out" / "pictures").iterdir()
    assert cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FRAME_COUNT) == 6
    predict(settings(tmp_path / "few", quick, "frames=2"), [str(tmp_path / "clip:1 %02d.mp4")])
    assert len(json.loads((tmp_path / "few" / "points.json").read_text())) == 2


def test_a_long_video_takes_no_more_memory_than_a_short_one(tmp_path):
    """Frames are counted that live at once: no batch is ever larger than its bytes allow."""
    video(tmp_path / "long.mp4", np.full((480, 640), 90, np.uint8), 300)
    born, most = [], 0

    def watched():
        nonlocal most
        for photo in read(str(tmp_path / "long.mp4")):
            born.append(weakref.ref(photo))
            most = max(most, sum(one() is not None for one in born))
            yield photo

    class Blind:
        margin = 1.0

        def find(self, image):
            return np.empty((0, 4))

    found = find_points(watched(), KeypointPredictor.from_checkpoint("shipped"), Blind())
    assert sum(1 for _ in found) == 300
    assert most < 2**26 / (640 * 480 * 3) + 3


def test_the_webcam_is_read_like_a_video_and_its_lack_is_told(tmp_path, monkeypatch, faces):
    video(tmp_path / "camera.mp4", faces.images[0], 5)
    opened = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: opened(str(tmp_path / "camera.mp4")))
    assert [photo.frame for photo in read("webcam", 3)] == [0, 1, 2]
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: opened(str(tmp_path / "none.mp4")))
    with pytest.raises(UserError, match="webcam: no camera answers"):
        list(read("webcam"))


def test_the_command_skips_what_is_broken_and_says_so(tmp_path, faces, quick):
    odd = os.fsdecode(b"\xff=[red].png")
    Image.fromarray(faces.images[0]).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / odd)
    Image.fromarray(np.full((60, 60), 90, np.uint8)).save(tmp_path / "plain.png")
    (tmp_path / "broken.jpg").write_bytes(b"abc")
    done = facekp("predict", f"ckpt={quick}", "out=out", "plain.png", "broken.jpg", "--", odd, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "skipped: broken.jpg: is neither a photo nor a video" in done.stderr
    assert "2 photos or frames" in done.stderr
    entries = json.loads((tmp_path / "out" / "points.json").read_text())
    assert [entry["file"] for entry in entries] == ["plain.png", odd]
    assert entries[0]["faces"] == []
    done = facekp("predict", "nowhere.jpg", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
