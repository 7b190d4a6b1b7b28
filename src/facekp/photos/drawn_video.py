"""A video with the points drawn, written frame by frame: its file appears whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from facekp.core.errors import CannotWrite
from facekp.core.files import cannot_write, part_of
from facekp.core.opencv_log import quiet_opencv

CODEC = cv2.VideoWriter.fourcc(*"mp4v")
MAX_REPEATED_FRAMES = 10_000  # frames in a row; a damaged time could ask for any number


class DrawnVideo:
    """A video that gets its name when it is closed.

    Args:
        path: the file, ``.mp4``.
        size: (W, H) of its frames, pixels.
        rate: frames per second.

    Raises:
        CannotWrite: OpenCV can't write such a video, for example because it is too large.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        self.path, self.frames = path, 0
        self._part = part_of(path, ending=".mp4")  # OpenCV takes the container's format from it
        self._last: np.ndarray | None = None
        self._size = size
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        with quiet_opencv():
            self._writer = cv2.VideoWriter(str(self._part), cv2.CAP_FFMPEG, CODEC, rate, size)
        if not self._writer.isOpened():
            self.discard()
            raise CannotWrite(
                f"{path}: OpenCV can't write a video of {size[0]} x {size[1]} pixels at {rate:g} frames per second; "
                "set draw=false"
            )

    def write(self, picture: np.ndarray, missing: int = 0) -> None:
        """Add a frame to the video.

        Args:
            picture: uint8 (H, W, 3), BGR.
            missing: number of frames before it that could not be read; the last one is repeated in their place.
        """
        with quiet_opencv():
            for _ in range(min(missing, MAX_REPEATED_FRAMES)):
                self._add(picture if self._last is None else self._last)
            self._add(picture)
        self._last = picture

    def _add(self, picture: np.ndarray) -> None:
        if picture.shape[1::-1] != self._size:  # OpenCV would drop it without a word
            picture = cv2.resize(picture, self._size)
        self._writer.write(picture)
        self.frames += 1

    def close(self) -> None:
        """End the video, and give it its name.

        Raises:
            CannotWrite: it is not whole, as on a full disk, which OpenCV does not report.
        """
        with quiet_opencv():
            self._writer.release()
            written = _frames_in(self._part) if self.frames else 0
        if written < self.frames:  # a signal may come between a frame and its count
            self.discard()
            raise CannotWrite(
                f"{self.path}: {self.frames} frames were drawn, but the written video holds {written}; the disk may be "
                "full: make room, or set draw=false"
            )
        if not self.frames:
            self.discard()
            return
        os.replace(self._part, self.path)

    def discard(self) -> None:
        """Delete what was written."""
        self._writer.release()
        self._part.unlink(missing_ok=True)


def _frames_in(path: Path) -> int:
    """The number of frames that a video states; 0 if it can't be opened."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    finally:
        video.release()
