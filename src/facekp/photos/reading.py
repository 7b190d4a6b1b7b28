"""Photos from files, folders, patterns, videos and the webcam, one after another; never more than one in memory.

Names come in (`sources`), `Photo`s go out (`read`), upright and in colour, whatever the file holds.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from facekp.core.errors import UserError
from facekp.data.images import UnreadableImage, read_image

WEBCAM = "webcam"

VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}  # what a folder is searched for

os.environ.setdefault(
    "OPENCV_FFMPEG_LOGLEVEL", "-8"
)  # FFmpeg and OpenCV would tell of broken videos in their own lines

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True)
class Photo:
    """One picture.

    Attributes:
        file: its name as it was given or found; ``webcam``.
        image: uint8 (H, W, 3), red, green, blue.
        frame: its number in a video, from 0; None for a photo.
        rate: of the video, frames a second; 0 for a photo.
        share: of the file that has been read with it, 0 to 1.
    """

    file: str
    image: np.ndarray
    frame: int | None = None
    rate: float = 0.0
    share: float = 1.0

    @cached_property
    def grey(self) -> np.ndarray:
        """uint8 (H, W)."""
        return cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY)


def sources(arguments: Sequence[str], without: Path | None = None) -> list[str]:
    """The files that arguments mean, in their order.

    Args:
        arguments: files; folders, which are searched with all folders in them for photos and videos by their endings;
            patterns (``*``, ``?``, ``[a-z]``, ``**``) where no file is called so; or ``webcam``.
        without: a folder whose files are left out: where earlier answers lie.

    Raises:
        UserError: an argument means nothing.
    """
    if not arguments:
        raise UserError("no photo: name files, folders, patterns or webcam, e.g. facekp predict photo.jpg")
    return [name for argument in arguments for name in _meant(argument, without)]


def _meant(argument: str, without: Path | None) -> list[str]:
    if argument == WEBCAM or os.path.isfile(argument):
        return [argument]
    if os.path.isdir(argument):
        found = _in_folder(argument, without)
        if not found:
            raise UserError(f"{argument}: no photo or video is in this folder or below")
        return found
    matches = sorted(glob.glob(argument, recursive=True))
    if not matches:
        raise UserError(f"{argument}: no such file or folder, and no pattern that fits one")
    folders = [match for match in matches if os.path.isdir(match)]
    inside = [name for folder in folders for name in _in_folder(folder, without)]
    return list(dict.fromkeys([match for match in matches if match not in folders] + inside))


def _in_folder(folder: str, without: Path | None) -> list[str]:
    endings = VIDEOS | set(Image.registered_extensions())
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in endings and path.is_file())
    own = without.resolve() if without else None
    return [str(path) for path in files if own is None or own not in path.resolve().parents]


def read(name: str, frames: int | None = None) -> Iterator[Photo]:
    """The photo that a file is, or the frames of the video or the webcam one after another.

    Args:
        name: of `sources`.
        frames: at most so many of a video.

    Raises:
        UnreadableImage: it is neither, or broken.
        UserError: there is no webcam.
    """
    if name == WEBCAM:
        yield from _frames(cv2.VideoCapture(0), name, frames)
        return
    try:
        yield Photo(name, read_image(name))
    except UnidentifiedImageError:
        with TemporaryDirectory() as folder:  # FFmpeg reads meanings into colons, and dies of names that are no UTF-8
            alias = Path(folder, "video")
            alias.symlink_to(os.path.abspath(name))
            yield from _frames(cv2.VideoCapture(str(alias), cv2.CAP_FFMPEG), name, frames)


def _frames(video: cv2.VideoCapture, name: str, frames: int | None) -> Iterator[Photo]:
    try:
        if not video.isOpened():
            if name == WEBCAM:
                raise UserError("webcam: no camera answers; plug one in, or name files")
            raise UnreadableImage("is neither a photo nor a video that can be read")
        known = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if name != WEBCAM else 0
        last = min(known, frames or known) if known > 0 else frames
        rate = video.get(cv2.CAP_PROP_FPS)
        for number in range(frames) if frames else count():
            there, image = video.read()
            if not there:
                break
            share = min((number + 1) / last, 1.0) if last else 0.0
            yield Photo(name, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), number, rate if rate > 0 else 25.0, share)
        else:
            return
        if number == 0:
            raise UnreadableImage("is a video without a frame that can be read")
    finally:
        video.release()
