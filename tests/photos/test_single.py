"""`facekp.find_points`: from a photo to points in one call."""

import os
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

import facekp
from facekp.core.errors import UserError
from facekp.models.prediction import Prediction
from facekp.photos import single
from facekp.photos.detectors import FACE_DETECTORS, WholePhotoDetector, build_face_detector
from tests.photos.conftest import colour, write_video


class AsBytes:
    """A path-like object whose path is bytes."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return os.fsencode(self.path)


def test_a_file_and_its_pixels_give_the_points_of_the_predictor(tmp_path, faces, small_checkpoint, small_predictor):
    image = faces.images[0].repeat(2, axis=0).repeat(2, axis=1)  # halving it gives the image back
    Image.fromarray(image).save(tmp_path / "photo.png")
    file = tmp_path / "photo.png"
    content = file.read_bytes()
    arrays = (image, colour(image), image.astype(np.float32))
    for photo in (str(file), file, AsBytes(file), content, BytesIO(content), *arrays):
        (face,) = facekp.find_points(photo, ckpt=small_checkpoint, detector="none", refine=False)
        assert np.allclose(face.points, 2 * (small_predictor(faces.images[0])[0] + 0.5) - 0.5, atol=0.02)
        assert face.names == tuple(faces.keypoints.names)
        assert face.box == (-0.5, -0.5, 191.5, 191.5)


def test_a_photo_without_a_face_gives_none(small_checkpoint):
    assert facekp.find_points(np.full((120, 160, 3), 90, np.uint8), ckpt=small_checkpoint) == []


def test_the_detector_may_be_an_object_or_a_name(faces, small_checkpoint):
    named = FACE_DETECTORS.parse({"name": "none"})
    (face,) = facekp.find_points(faces.images[0], ckpt=small_checkpoint, detector=build_face_detector(named))
    assert face.points.shape == (15, 2)
    with pytest.raises(UserError, match="haar, none, yunet"):
        facekp.find_points(faces.images[0], ckpt=small_checkpoint, detector="harr")


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        ("nowhere.jpg", r"^nowhere.jpg: no such file$"),
        (np.zeros((4, 5, 2), np.uint8), r"^photo: an array of shape \(4, 5, 2\); give"),
        (np.full((40, 50, 3), 0.5), "multiply images by 255"),
        (np.full((40, 50), np.nan), "NaN"),
        (np.full((40, 50), 4095, np.uint16), "outside 0..255"),
        (".", r"^\.: is a folder; name a photo"),
        (None, "^photo: of type NoneType; give a path"),
        ([np.zeros((4, 5), np.uint8)], "^photo: of type list; give one photo"),
        (Image.new("L", (5, 4)), r"^photo: of type Image; give np\.asarray\(PIL\.ImageOps"),
        (torch.zeros(4, 5), r"^photo: of type Tensor; give an array: photo\.cpu\(\)\.numpy\(\)"),
        (b"hello", "^photo: is not an image file"),
        (StringIO("hello"), r"^photo: of type StringIO; open the file in binary mode: open\(FILE, 'rb'\)"),
    ],
)
def test_what_is_no_photo_is_refused_in_one_line(small_checkpoint, photo, message):
    with pytest.raises(UserError, match=message):
        facekp.find_points(photo, ckpt=small_checkpoint)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"min_confidence": 50}, "min_confidence=50: must be at most 1"),
        ({"min_confidence": -3}, "min_confidence=-3: must be at least 0"),
        ({"min_confidence": "0.5"}, "min_confidence='0.5': must be a number"),
        ({"detector": object()}, "detector: object needs a method find"),
        ({"detector": WholePhotoDetector}, "detector: WholePhotoDetector is a class; give an object of it"),
        ({"ckpt": None}, "path=None: name a checkpoint"),
        ({"source": ["dense"]}, r"source=\['dense'\]: choose one of"),
    ],
)
def test_mistakes_in_the_arguments_are_named(small_checkpoint, changed, message):
    with pytest.raises(UserError, match=f"^{message}"):
        facekp.find_points(np.full((120, 160, 3), 90, np.uint8), **{"ckpt": small_checkpoint, **changed})


class StubPredictor:
    """Stands for the predictor of a file; the points are the content of the file."""

    size, channels, mean_face = (96, 96), 1, np.zeros((1, 2))
    keypoints = SimpleNamespace(names=("a",))
    loaded: ClassVar[list[Any]] = []

    @classmethod
    def from_checkpoint(cls, path, *_, **__):
        time.sleep(0.05)  # other threads come meanwhile
        cls.loaded.append(path)
        predictor = cls()
        predictor.value = float(Path(path).read_text())
        return predictor

    def predict(self, images):
        return Prediction(np.full((len(images), 1, 2), self.value), np.ones((len(images), 1)), None, None)

    def is_mean_face(self, points):
        return np.zeros(points.shape[:2], bool)


@pytest.fixture
def find(monkeypatch):
    """The first point that a checkpoint named by a path predicts."""
    monkeypatch.setattr(single, "KeypointPredictor", StubPredictor)
    monkeypatch.setattr(single, "_predictors", OrderedDict())
    monkeypatch.setattr(StubPredictor, "loaded", [])
    photo = np.zeros((96, 96), np.uint8)
    return lambda ckpt: facekp.find_points(photo, ckpt, "none", refine=False)[0].points[0, 0]


def test_a_relative_path_names_another_file_in_another_folder(tmp_path, monkeypatch, find):
    for folder, value in (("a", "1"), ("b", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "best.ckpt").write_text(value)
        monkeypatch.chdir(tmp_path / folder)
        assert find("best.ckpt") == float(value)
    assert find(tmp_path / "a" / "best.ckpt") == 1.0
    assert len(StubPredictor.loaded) == 2


def test_a_checkpoint_that_was_replaced_is_loaded_again(tmp_path, find):
    file = tmp_path / "best.ckpt"
    for value in ("1", "2"):
        (tmp_path / "new").write_text(value)
        (tmp_path / "new").replace(file)
        assert find(file) == find(str(file)) == float(value)
    assert len(StubPredictor.loaded) == 2


def test_threads_load_a_checkpoint_once(tmp_path, find):
    (tmp_path / "best.ckpt").write_text("1")
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(find, [tmp_path / "best.ckpt"] * 4)) == [1.0] * 4
    assert len(StubPredictor.loaded) == 1


def test_several_checkpoints_are_averaged_as_by_the_predictor(faces, small_checkpoint, small_predictor):
    (face,) = facekp.find_points(faces.images[0], [small_checkpoint] * 2, "none", refine=False)
    assert np.allclose(face.points, small_predictor(faces.images[0])[0], atol=1e-3)
    assert face.expected_error is None


def test_files_that_are_no_photos_are_named(tmp_path, faces, small_checkpoint):
    write_video(tmp_path / "clip.mp4", faces.images[0], 2)
    Image.fromarray(faces.images[0]).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"clip.mp4: is not an image file; give a photo"):
        facekp.find_points(tmp_path / "clip.mp4", ckpt=small_checkpoint)
    with pytest.raises(UserError, match=r"half.jpg: .*truncated"):
        facekp.find_points(tmp_path / "half.jpg", ckpt=small_checkpoint)
