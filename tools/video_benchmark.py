"""Measures videos on a photo that moves by a known path: steadiness, lag, speed and memory.

    python tools/video_benchmark.py portrait.jpg                     # one face, larger than the others
    python tools/video_benchmark.py portrait.jpg --ckpt fast --frames 500

The photo is resized to a picture of 640 x 480 pixels, moved with bicubic interpolation, and gets fresh noise in every
frame. Figures of one call can be compared, as they are measured in turn on the same machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from facekp.config.command import plain_values
from facekp.config.location import CONF_DIR
from facekp.core.settings import parse
from facekp.data.images import read_image
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import build_face_detector
from facekp.photos.reading import Photo
from facekp.photos.run import predict
from facekp.photos.settings import PredictSettings
from facekp.photos.smoothing import OneEuroFilter, SmoothingSettings
from facekp.photos.tracking import FaceTracker

WIDTH, HEIGHT, RATE = 640, 480, 25.0
STILL, SWAY, PAN = "still", "sway", "pan"  # paths of the picture
NOISES = (3, 10, 20)  # standard deviations of the noise, grey levels


def offset(path: str, seconds: np.ndarray) -> np.ndarray:
    """How far the picture has moved, pixels (N, 2)."""
    x, y = np.zeros_like(seconds), np.zeros_like(seconds)
    if path == SWAY:  # up to 120 pixels per second
        x, y = 60 * np.sin(2 * seconds), 20 * np.sin(3 * seconds)
    if path == PAN:  # up to 400 pixels per second
        x = 100 * np.sin(4 * seconds)
    return np.stack([x, y], axis=1)


def photos(picture: np.ndarray, path: str, noise: float, frames: int, seed: int = 0) -> Iterator[Photo]:
    """The frames of a video of the picture, uint8 (480, 640, 3)."""
    random = np.random.default_rng(seed)
    for number, (x, y) in enumerate(offset(path, np.arange(frames) / RATE)):
        move = np.array([[1, 0, x], [0, 1, y]])
        moved = cv2.warpAffine(picture, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        noisy = moved + random.normal(0, noise, moved.shape).astype(np.float32)
        yield Photo("video", np.clip(np.rint(noisy), 0, 255).astype(np.uint8), number, RATE, (number + 1) / frames)


def picture_of(file: str) -> np.ndarray:
    """A photo as a picture of 640 x 480 pixels; its middle, uint8 (480, 640, 3) RGB."""
    image = read_image(file)
    scale = max(WIDTH / image.shape[1], HEIGHT / image.shape[0])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (image.shape[0] - HEIGHT) // 2 if scale < 1 else 0, (image.shape[1] - WIDTH) // 2
    return np.ascontiguousarray(image[top : top + HEIGHT, left : left + WIDTH])


def raw_points(tracker: FaceTracker, frames: Iterator[Photo]) -> tuple[np.ndarray, float]:
    """The points of the largest face in each frame, not smoothed, (N, K, 2); the side of its crop."""
    points, side = [], 0.0
    for photo in frames:
        face = max(tracker.update(photo), key=lambda face: face.crop.width)
        points.append(face.points)
        side = float(face.crop.width)
    return np.array(points), side


def smoothed(points: np.ndarray, side: float, settings: SmoothingSettings) -> np.ndarray:
    """The points of all frames, as `FaceTracker` smooths them."""
    smooth = OneEuroFilter(settings)
    return np.array([smooth(frame, 1 / RATE, side) for frame in points])


def jitter(points: np.ndarray, path: np.ndarray) -> float:
    """Root mean square of the distance of a point from where it is on average, pixels of the video.

    Args:
        points: (N, K, 2).
        path: (N, 2), by which the picture moved.
    """
    steady = points - path[:, None]
    return float(np.sqrt(np.square(steady - steady.mean(axis=0)).sum(axis=-1).mean()))


def lag(points: np.ndarray, path: np.ndarray) -> float:
    """How many frames the points are behind the picture, by least squares."""
    velocity = np.gradient(path, axis=0)[:, None]  # pixels per frame
    behind = path[:, None] - (points - points.mean(axis=0) + path.mean(axis=0))
    return float((behind * velocity).sum() / (np.square(velocity).sum() * points.shape[1]))


def settings_of(arguments: Sequence[str]) -> PredictSettings:
    """The settings that a command line of `predict` gives."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return parse(PredictSettings, plain_values(compose("predict", overrides=list(arguments))))


def predictor_of(settings: PredictSettings) -> KeypointPredictor:
    rest: dict[str, Any] = {key: getattr(settings, key) for key in ("views", "engine") if hasattr(settings, key)}
    return KeypointPredictor.from_checkpoint(settings.ckpt, None, settings.device, decoder=settings.decoder, **rest)


def measure_steadiness(picture: np.ndarray, settings: PredictSettings, frames: int) -> None:
    """Print jitter and lag with and without smoothing, for every path and noise."""
    predictor, detector = predictor_of(settings), build_face_detector(settings.detector)
    smooth = settings.smooth
    assert smooth is not None
    print(f"smooth: {smooth.plain()}")
    print("  path  noise   jitter   smooth  ratio     lag  smooth  (pixels, frames)")
    for path in (STILL, SWAY, PAN):
        for noise in NOISES:
            tracker = FaceTracker(predictor, detector, settings.detect_every)
            points, side = raw_points(tracker, photos(picture, path, noise, frames))
            moved = offset(path, np.arange(frames) / RATE)
            steady = smoothed(points, side, smooth)
            both = [(jitter(p, moved), lag(p, moved) if path != STILL else 0.0) for p in (points, steady)]
            (before, late_before), (after, late_after) = both
            row = f"{path:>6} {noise:>6} {before:8.3f} {after:8.3f} {after / before:6.2f}"
            print(f"{row} {late_before:7.3f} {late_after:7.3f}")


def write_video(file: Path, picture: np.ndarray, frames: int) -> None:
    writer = cv2.VideoWriter(str(file), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), RATE, (WIDTH, HEIGHT))
    for photo in photos(picture, SWAY, 3, frames):
        writer.write(cv2.cvtColor(photo.image, cv2.COLOR_RGB2BGR))
    writer.release()


def measure_speed(picture: np.ndarray, arguments: Sequence[str], frames: int) -> None:
    """Print frames per second of `predict` for several settings, and the ratio to the first."""
    variants = [
        ["detect_every=1", "draw=false"],
        ["detect_every=5", "draw=false"],
        ["detect_every=10", "draw=false"],
        ["detect_every=10", "draw=false", "detector.longest=320"],
        ["detect_every=5", "draw=true"],
    ]
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "video.mp4")
        write_video(file, picture, frames)
        seconds: dict[int, list[float]] = {i: [] for i in range(len(variants))}
        for turn in range(3):
            for i, variant in enumerate(variants):
                given = [*arguments, *variant, f"out={folder}/{turn}_{i}"]
                settings = settings_of(given)
                start = time.perf_counter()
                predict(settings_of([*given, "frames=1", f"out={folder}/start_{turn}_{i}"]), [str(file)])
                middle = time.perf_counter()
                predict(settings, [str(file)])
                seconds[i].append(time.perf_counter() - middle - (middle - start))
    first = np.median(seconds[0])
    for i, variant in enumerate(variants):
        middle = np.median(seconds[i])
        print(f"{(frames - 1) / middle:6.1f} frames per second, {first / middle:4.2f} x  {' '.join(variant)}")


def measure_memory(picture: np.ndarray, arguments: Sequence[str], lengths: Sequence[int]) -> None:
    """Print the most memory that `predict` takes for videos of several lengths, each in a process of its own."""
    code = (
        "import resource, sys; from tools.video_benchmark import *; "
        "predict(settings_of(sys.argv[2:]), [sys.argv[1]]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    for frames in lengths:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "video.mp4")
            write_video(file, picture, frames)
            command = [sys.executable, "-c", code, str(file), *arguments, f"out={folder}/out"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
            print(f"{frames:6} frames: at most {done.stdout.split()[-1]} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", help="photo of a face")
    parser.add_argument("--frames", type=int, default=250, help="length of the videos")
    parser.add_argument("--only", choices=["steadiness", "speed", "memory"], help="measure only this")
    parser.add_argument("settings", nargs="*", help="of predict, such as ckpt=fast")
    given = parser.parse_intermixed_args()
    picture = picture_of(given.photo)
    if given.only in (None, "steadiness"):
        measure_steadiness(picture, settings_of(given.settings), given.frames)
    if given.only in (None, "speed"):
        measure_speed(picture, given.settings, given.frames)
    if given.only in (None, "memory"):
        measure_memory(picture, given.settings, (500, 5000))


if __name__ == "__main__":
    main()
