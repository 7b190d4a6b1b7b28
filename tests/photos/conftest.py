"""What the tests of photos share: a small checkpoint, videos, photos from images, settings of commands."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from facekp.core.settings import parse
from facekp.models.predictor import KeypointPredictor
from facekp.photos.reading import Photo
from facekp.photos.settings import PredictSettings
from tests.conftest import REPOSITORY, config_of


@pytest.fixture(scope="session")
def small_checkpoint() -> str:
    """The path of a network with few weights, after one epoch on drawn faces."""
    return str(REPOSITORY / "tests" / "fixtures" / "v0_1" / "run" / "checkpoints" / "best.ckpt")


@pytest.fixture(scope="session")
def small_predictor(small_checkpoint: str) -> KeypointPredictor:
    return KeypointPredictor.from_checkpoint(small_checkpoint)


def predict_settings(*overrides: str) -> PredictSettings:
    """The settings that a command line of `predict` gives."""
    return parse(PredictSettings, config_of(*overrides, name="predict"))


def colour(image: np.ndarray) -> np.ndarray:
    """A grey image uint8 (H, W) as RGB (H, W, 3)."""
    return np.repeat(image[..., None], 3, axis=2)


def as_photos(images: np.ndarray) -> list[Photo]:
    """Grey images as photos named by their number."""
    return [Photo(str(i), colour(image)) for i, image in enumerate(images)]


def write_video(path: Path, image: np.ndarray, frames: int) -> None:
    """A video that shows a grey image uint8 (H, W)."""
    height, width = image.shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (width, height))
    for _ in range(frames):
        writer.write(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    writer.release()


def write_numbered_video(path: Path, frames: int, broken: Sequence[int] = ()) -> None:
    """A video (AVI, JPEG frames) whose frame i has the grey level 6 i; the data of the broken ones are zeros."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 6 * number, np.uint8))
    writer.release()
    content = bytearray(path.read_bytes())
    start = content.find(b"movi") + 4
    for number in range(frames):
        size = int.from_bytes(content[start + 4 : start + 8], "little")
        if number in broken:
            content[start + 8 : start + 8 + size] = bytes(size)
        start += 8 + size + size % 2
    path.write_bytes(content)
