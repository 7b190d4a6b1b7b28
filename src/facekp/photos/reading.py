"""Reads photos, videos and the webcam: names come in, `Photo` objects go out one after another.

`list_files` finds the files that command-line arguments mean; `read_photos` reads one of them. Only one photo or frame
is in memory at a time. Photos are upright and in colour, whatever the file format.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}  # endings searched for in folders

FALLBACK_RATE = 25.0  # frames per second, for videos that do not state theirs

FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"  # environment variable that OpenCV reads whenever it opens a video


@dataclass(frozen=True)
class Photo:
    """A photo, or a frame of a video.

    Attributes:
        file: name of the file as given or found; ``webcam`` for the webcam.
        image: uint8 (H, W, 3), RGB.
        frame: number of the frame in its video, from 0; None for a photo.
        rate: frames per second of the video; 0 for a photo.
        progress: fraction of the file that has been read so far, 0 to 1.
    """

    file: str
    image: np.ndarray
    frame: int | None = None
    rate: float = 0.0
    progress: float = 1.0

    @cached_property
    def grey(self) -> np.ndarray:
        """The image in grey levels, uint8 (H, W)."""
        return cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY)


def list_files(arguments: Sequence[str], exclude: Path | None = None) -> list[str]:
    """The files that command-line arguments mean, in the order of the arguments.

    Args:
        arguments: each is a file; a folder, in which photos and videos are searched recursively by their endings; a
            pattern (``*``, ``?``, ``[a-z]``, ``**``), unless a file has this very name; or ``webcam``.
        exclude: a folder to skip, such as the output folder of earlier runs.

    Raises:
        UserError: there are no arguments, or one matches no file.
    """
    if not arguments:
        raise UserError("no photo given; name files, folders, patterns or webcam, e.g. facekp predict photo.jpg")
    return [name for argument in arguments for name in _matches(argument, exclude)]


def _matches(argument: str, exclude: Path | None) -> list[str]:
    """The files that one argument means."""
    if argument == WEBCAM or os.path.isfile(argument):
        return [argument]
    if os.path.isdir(argument):
        files = _files_in(argument, exclude)
        if not files:
            raise UserError(f"{argument}: no photo or video in this folder or its subfolders; name another one")
        return files
    matches = sorted(glob.glob(argument, recursive=True))
    if not matches:
        raise UserError(f"{argument}: no such file or folder, and as a pattern it matches no file")
    folders = [match for match in matches if os.path.isdir(match)]
    inside = [name for folder in folders for name in _files_in(folder, exclude)]
    return list(dict.fromkeys([match for match in matches if match not in folders] + inside))


def _files_in(folder: str, exclude: Path | None) -> list[str]:
    """Photos and videos in a folder and its subfolders, sorted."""
    endings = VIDEOS | set(Image.registered_extensions())
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in endings and path.is_file())
    excluded = exclude.resolve() if exclude else None
    return [str(path) for path in files if excluded is None or excluded not in path.resolve().parents]


def read_photos(name: str, frames: int | None = None) -> Iterator[Photo]:
    """Read a file: the photo, or the frames of the video or the webcam one after another.

    Args:
        name: a file, or ``webcam``.
        frames: read only the first frames of a video or the webcam; None: all.

    Raises:
        UnreadableImage: the file is neither a photo nor a video, or is broken.
        UserError: there is no webcam.
    """
    if name == WEBCAM:
        yield from _read_frames(WEBCAM, 0, cv2.CAP_ANY, frames)
        return
    try:
        yield Photo(name, read_image(name))
    except UnidentifiedImageError:
        # FFmpeg interprets colons and percent signs in names, and fails at names that are not UTF-8.
        with TemporaryDirectory() as folder:
            alias = Path(folder, "video")
            alias.symlink_to(os.path.abspath(name))
            yield from _read_frames(name, str(alias), cv2.CAP_FFMPEG, frames)


def _read_frames(name: str, address: str | int, backend: int, frames: int | None) -> Iterator[Photo]:
    """The frames of a video; ``address`` and ``backend`` are those of `cv2.VideoCapture`."""
    with quiet_opencv():
        video = cv2.VideoCapture(address, backend)
    try:
        if not video.isOpened():
            if name == WEBCAM:
                raise UserError("webcam: no camera was found; connect one, or name files instead")
            raise UnreadableImage("is neither a photo nor a video that can be read")
        known = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if name != WEBCAM else 0
        total = min(known, frames or known) if known > 0 else frames
        rate = video.get(cv2.CAP_PROP_FPS)
        for number in range(frames) if frames else count():
            with quiet_opencv():
                read, image = video.read()
            if not read:
                break
            progress = min((number + 1) / total, 1.0) if total else 0.0
            colour = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            yield Photo(name, colour, number, rate if rate > 0 else FALLBACK_RATE, progress)
        else:
            return
        if number == 0:
            raise UnreadableImage("is a video in which no frame can be read")
    finally:
        video.release()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV and its FFmpeg from printing to stderr within the block.

    They would print several lines for a broken video, in between the progress bar; facekp logs one line instead. A log
    level of FFmpeg that the user set in the environment stays.
    """
    logging, given = cv2.utils.logging, os.environ.get(FFMPEG_LEVEL)
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    if given is None:
        os.environ[FFMPEG_LEVEL] = "-8"  # AV_LOG_QUIET
    try:
        yield
    finally:
        logging.setLogLevel(level)
        if given is None:
            del os.environ[FFMPEG_LEVEL]
