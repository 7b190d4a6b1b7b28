"""Keeps OpenCV and its FFmpeg quiet: facekp reports a broken file in one line itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import cv2

FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"  # environment variable of OpenCV


class _Quiet:
    """Counts the blocks that are open, and keeps the settings of the process before the first of them."""

    def __init__(self) -> None:
        self._lock, self._blocks = Lock(), 0

    def enter(self) -> None:
        with self._lock:
            if self._blocks == 0:
                self._level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
                self._is_ours = FFMPEG_LEVEL not in os.environ
                os.environ.setdefault(FFMPEG_LEVEL, "-8")  # AV_LOG_QUIET
            self._blocks += 1

    def leave(self) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                cv2.utils.logging.setLogLevel(self._level)
                if self._is_ours:
                    os.environ.pop(FFMPEG_LEVEL, None)  # a program may have removed it


_quiet = _Quiet()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV and its FFmpeg from printing to stderr within the block.

    They would print several lines for a broken video, in between the progress bar; facekp logs one line instead. A log
    level of FFmpeg that the user set in the environment stays. OpenCV 4.14 reads that variable only when a process
    opens its first video, so a program that opened one before sees FFmpeg's lines.

    Both settings belong to the process. Blocks may overlap, also in several threads: the first one that is entered
    changes the settings, and the last one that is left restores them.
    """
    _quiet.enter()
    try:
        yield
    finally:
        _quiet.leave()
