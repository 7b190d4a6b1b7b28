"""Photos that a label file holds itself, or that are frames of a video: written to the photos' folder.

A written photo bears the time of the file it comes from. So it is written again only if that file was replaced.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.data.label_json import shown

log = logging.getLogger(__name__)
SAME_TIME = 2.0  # seconds; some file systems keep no shorter ones
ROUNDING = 3  # grey levels by which two decoders may differ
WARNED: set[Path] = set()  # files that photos come from; one line for each is enough
LARGEST = 2**27  # pixels of a photo that is decoded, 134 million; a label file could state any size


def write_photo(path: Path, source: Path, read: Callable[[], np.ndarray]) -> None:
    """Write a photo as PNG, unless the file holds it.

    Args:
        path: the file.
        source: the file that the pixels come from. If it is missing, an existing photo counts as its own.
        read: returns the pixels, uint8 (H, W), (H, W, 1) or (H, W, 3).

    Raises:
        UserError: the pixels are no photo, or the file can't be written.
    """
    seconds = source.stat().st_mtime if source.exists() else None
    exists = path.is_file()
    if exists and (seconds is None or abs(path.stat().st_mtime - seconds) < SAME_TIME):
        return
    try:
        _write(path, read)
    except UserError as error:
        if not exists:
            raise
        if source not in WARNED:
            WARNED.add(source)
            log.warning(
                "%s: may have changed since its photos were written, which are used as they are (%s)", source, error
            )
        return
    if seconds is not None:
        with suppress(OSError):  # the photo of another user: it is compared again next time
            os.utime(path, (seconds, seconds))


def _write(path: Path, read: Callable[[], np.ndarray]) -> None:
    pixels = np.squeeze(read())
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape or pixels.shape[2:] not in ((), (3,)):
        raise UserError(f"{path}: its pixels are {pixels.dtype} {shown(pixels.shape)}, not a photo in 8 bits")
    if not _holds(path, pixels):
        with atomic(path, durable=False) as part:
            Image.fromarray(pixels).save(part, format="PNG", compress_level=1)


def _holds(path: Path, pixels: np.ndarray) -> bool:
    """Whether a file has these pixels; another decoder of the same video may give slightly different ones."""
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            written = np.asarray(opened).astype(np.int16)
        return written.shape == pixels.shape and int(np.abs(written - pixels).max()) <= ROUNDING
    except (OSError, SyntaxError, Image.DecompressionBombError):  # missing, damaged or something else
        return False
