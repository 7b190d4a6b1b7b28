"""Reads photos, animations, videos and the webcam: a name comes in, `Photo` objects go out one after another.

Only one photo or frame is in memory at a time. Photos are upright and in colour, whatever the file format.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import UnidentifiedImageError

from facekp.core.channels import to_grey
from facekp.core.errors import UserError
from facekp.core.opencv_log import quiet_opencv
from facekp.data.image_formats.grey_levels import Scales
from facekp.data.images import (
    WHOLE_DEPTH,
    UnreadableImage,
    animation_seconds,
    count_animated,
    is_still,
    read_animation,
    read_image,
)
from facekp.photos.files import WEBCAM
from facekp.photos.frames import FrameNumbers

log = logging.getLogger(__name__)

MAX_TIMED_PICTURES = 9  # pictures of an animation that are timed; the first and the last are often shown longer

FALLBACK_RATE = 25.0  # frames per second, for videos that do not state theirs

MISSING_FRACTION = 0.05  # of a video's frames; their number may be an estimate that is off by less

MAX_FAILURES = 10_000  # attempts in a row; two seconds

FAILURES_AT_END = 10  # failed attempts at the end of a video, after which no frame is expected any more


@dataclass(frozen=True, eq=False)
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
        return to_grey(self.image)

    def levels(self, channels: int) -> np.ndarray:
        """What a network sees of the image: uint8 (H, W) for 1 channel, (H, W, 3) for 3."""
        return self.grey if channels == 1 else self.image


class MissingCamera(UserError):
    """There is no webcam."""


class DamagedVideo(UnreadableImage):
    """Some frames of a video or an animation can't be read; raised after all others were read."""


def read_photos(name: str | Path, frames: int | None = None, scales: Scales = WHOLE_DEPTH) -> Iterator[Photo]:
    """Read a file: the photo, or the frames of the animation, the video or the webcam one after another.

    Frames keep their numbers where others before them can't be read.

    Args:
        name: a file, or ``webcam``.
        frames: read only the first frames of an animation, a video or the webcam; None: all.
        scales: of levels of more than 8 bits, which the photo shares with others.

    Raises:
        UnreadableImage: the file is neither a photo nor a video, or is broken; the message names it.
        DamagedVideo: some frames can't be read.
        MissingCamera: there is no webcam.
    """
    try:
        yield from _read_pictures(str(name), frames, scales)
    except UnreadableImage as error:
        raise type(error)(f"{name}: {error}") from error


def _read_pictures(name: str, frames: int | None, scales: Scales) -> Iterator[Photo]:
    """As `read_photos`; the message of an `UnreadableImage` gives the reason alone."""
    if name == WEBCAM:
        yield from _read_video(WEBCAM, 0, cv2.CAP_ANY, frames)
        return
    try:
        pictures = count_animated(name)
        if pictures > 1:
            yield from _read_animation(name, min(pictures, frames or pictures))
        else:
            yield Photo(name, read_image(name, scales=scales))
    except UnidentifiedImageError as error:
        if is_still(name):  # FFmpeg would read it as a video of one frame, at other levels
            raise UnreadableImage(str(error)) from None
        # FFmpeg interprets colons and percent signs in names, and fails at names that are not UTF-8.
        with TemporaryDirectory() as folder:
            alias = Path(folder, "video")
            alias.symlink_to(os.path.abspath(name))
            yield from _read_video(name, str(alias), cv2.CAP_FFMPEG, frames)


def _read_animation(name: str, total: int) -> Iterator[Photo]:
    """The first pictures of an animation as the frames of a video, with the rate of most of them."""
    numbers, rate = FrameNumbers(FALLBACK_RATE), FALLBACK_RATE
    try:
        if seconds := [seconds for seconds in animation_seconds(name, min(total, MAX_TIMED_PICTURES)) if seconds > 0]:
            rate = 1 / median(seconds)
        for number, image in zip(range(total), read_animation(name), strict=False):
            numbers.next(number / rate)
            yield Photo(name, image, number, rate, (number + 1) / total)
    except UnreadableImage as error:
        if numbers.last < 0:
            raise
        numbers.end(total)
        raise DamagedVideo(f"{numbers.describe(total)} ({error})") from error


def _read_video(name: str, address: str | int, backend: int, frames: int | None) -> Iterator[Photo]:
    """The frames of a video; ``address`` and ``backend`` are those of `cv2.VideoCapture`."""
    with quiet_opencv():
        video = cv2.VideoCapture(address, backend)
    try:
        if not video.isOpened():
            if name == WEBCAM:
                raise MissingCamera("webcam: no camera was found; connect one, or name files instead")
            raise UnreadableImage("is neither a photo nor a video that can be read")
        stated = 0 if name == WEBCAM else max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        rate = video.get(cv2.CAP_PROP_FPS)
        numbers = FrameNumbers(rate if 0 < rate < math.inf else FALLBACK_RATE)
        total = min(stated or math.inf, frames or math.inf)
        patience = 0 if name == WEBCAM else FAILURES_AT_END
        for number, image in _decode(video, numbers, stated, frames or math.inf, patience):
            progress = min((number + 1) / total, 1.0)
            yield Photo(name, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), number, numbers.rate, progress)
        if numbers.last < 0:
            raise UnreadableImage("is a video in which no frame can be read")
        _report_loss(name, numbers, total if stated else math.inf)
    finally:
        video.release()


def _decode(
    video: cv2.VideoCapture, numbers: FrameNumbers, stated: int, limit: float, patience: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The numbers and pictures (BGR) of the frames that can be decoded, up to ``limit`` of them.

    A failure is a broken frame or the end. It is taken for the end where as many attempts failed as frames are missing
    of those that the video states, and ``patience`` more.
    """
    while numbers.last + 1 < limit:
        with quiet_opencv():
            read, image = video.read()
        if read:
            number = numbers.next(video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if number is not None and number < limit:
                yield number, image
        else:
            numbers.fail()
            if numbers.failures > min(max(stated - numbers.last - 1, 0) + patience, MAX_FAILURES):
                return


def _report_loss(name: str, numbers: FrameNumbers, total: float) -> None:
    """Report frames that are missing.

    A video that ends early without a failure is only warned of, unless its format counts its frames: MP4 also states
    those that were trimmed, and others estimate their number.

    Raises:
        DamagedVideo: frames are lost.
    """
    missing = total - numbers.last - 1 if math.isfinite(total) else 0
    if missing > 0 and (numbers.damaged or _starts_with(name, b"RIFF")):
        numbers.end(int(total))
    elif missing > 0 and missing > (0 if _starts_with(name, b"ftyp", 4) else MISSING_FRACTION * total):
        log.warning("%s: ends after %d of %.0f frames; it was trimmed or is truncated", name, numbers.last + 1, total)
    if numbers.lost:
        raise DamagedVideo(numbers.describe(total))


def _starts_with(name: str, mark: bytes, at: int = 0) -> bool:
    """Whether a file has these bytes at its start, by which its format is recognised."""
    with open(name, "rb") as file:
        return file.read(at + len(mark))[at:] == mark
