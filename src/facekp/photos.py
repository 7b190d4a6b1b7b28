"""Photos from files, folders, patterns, videos and the webcam, one after another; never more than one in memory.

Names come in (`sources`), `Photo`s go out (`read`), upright and in colour, whatever the file holds.
"""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facekp.errors import UserError

WEBCAM = "webcam"
VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}  # what a folder is searched for
BEHIND = 127  # the grey behind what is transparent
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


class Unreadable(Exception):
    """A file is no photo and no video; the message says why, without its name."""


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
        Unreadable: it is neither, or broken.
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


def read_image(file: str | IO[bytes], most_pixels: int | None = None) -> np.ndarray:
    """The pixels of a photo: turned as its EXIF says, on grey where transparent, 16 bits scaled to 8.

    Args:
        file: a path or an open file.
        most_pixels: larger photos are refused, before they are unpacked; None: Pillow's own limit, 179 million.

    Returns:
        uint8 (H, W, 3), red, green, blue.

    Raises:
        UnidentifiedImageError: it is no image.
        Unreadable: it is broken, too large, or can't be opened.
    """
    try:
        with warnings.catch_warnings(), Image.open(file) as opened:
            warnings.simplefilter("ignore")  # of Pillow, about large photos and odd tags
            if most_pixels is not None and opened.width * opened.height > most_pixels:
                raise Unreadable(f"{opened.width} x {opened.height} pixels; at most {most_pixels / 1e6:g} million")
            return _plain(ImageOps.exif_transpose(opened))
    except (UnidentifiedImageError, Unreadable):
        raise
    except Exception as error:  # whatever a decoder makes of broken bytes
        raise Unreadable(str(error) or type(error).__name__) from error


def _plain(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # one channel of 16 bits or more
        levels = np.nan_to_num(np.asarray(image, dtype=np.float32))
        top = 65535 if levels.max() > 255 or image.mode != "F" else 255 if levels.max() > 1 else 1
        grey = np.clip(levels * (255 / top), 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (BEHIND, BEHIND, BEHIND, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _frames(video: cv2.VideoCapture, name: str, frames: int | None) -> Iterator[Photo]:
    try:
        if not video.isOpened():
            if name == WEBCAM:
                raise UserError("webcam: no camera answers; plug one in, or name files")
            raise Unreadable("is neither a photo nor a video that can be read")
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
            raise Unreadable("is a video without a frame that can be read")
    finally:
        video.release()
