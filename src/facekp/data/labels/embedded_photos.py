"""Photos that a label file holds itself, or that are frames of a video: written to the photos' folder.

A written photo states in its PNG header which file it comes from: path, size and time. So it is written again if that
file was replaced, and a photo of another file is never taken for it. A file of the same size and time counts as the
same file, also at another path, because folders are moved. Photos of earlier versions state nothing, but have the
file's time.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.data.labels.json_values import shown

log = logging.getLogger(__name__)
SOURCE = "facekp source"  # key of the PNG's text
SAME_TIME = 2.0  # seconds; some file systems keep no shorter ones
ROUNDING = 3  # grey levels by which two decoders may differ
SIMILAR = 16  # grey levels by which two decoders with other settings may differ, on average
WARNED: set[Path] = set()  # files that photos come from; one line for each is enough
MAX_PIXELS = 2**27  # pixels of a photo that is decoded, 134 million; a label file could state any size


def write_photo(path: Path, source: Path, read: Callable[[], np.ndarray]) -> None:
    """Write a photo as PNG, unless the file holds it.

    Args:
        path: the file.
        source: the file that the pixels come from. If it is missing, an existing photo counts as its own.
        read: returns the pixels, uint8 (H, W), (H, W, 1) or (H, W, 3).

    Raises:
        UserError: the pixels are not a photo, the file can't be written, or it holds a photo of another file.
    """
    identity = _identity(source)
    exists = path.is_file()
    written = _written_identity(path) if exists else ""
    if exists and (not identity or _is_up_to_date(path, written, source)):
        return
    has_same_size = written.split()[1:2] == identity.split()[1:2]  # then the file may have been copied
    try:
        pixels = _checked(path, np.squeeze(read()))
    except UserError as error:
        if not exists:
            raise
        if not _is_of(written, identity) and not has_same_size:
            raise _of_another_file(path, source) from error
        _warn_once(source, str(error))
        return
    largest, average = _differences(path, pixels) if exists else (np.inf, np.inf)
    if largest <= ROUNDING:
        with suppress(OSError):  # the photo of another user: it is compared again next time
            os.utime(path, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
        return
    if exists and not _is_of(written, identity):
        if not has_same_size or average > SIMILAR:
            raise _of_another_file(path, source)
        _warn_once(source, "its frames are decoded differently here")
        return
    text = PngImagePlugin.PngInfo()
    text.add_text(SOURCE, identity)
    with atomic(path, durable=False) as part:
        Image.fromarray(pixels).save(part, format="PNG", compress_level=1, pnginfo=text)


def _identity(source: Path) -> str:
    """A digest of the path, the size and the time of a file; "" if it is missing. The path itself may be private."""
    try:
        status = source.stat()
    except OSError:
        return ""
    of_path = hashlib.sha256(os.fsencode(source.resolve())).hexdigest()[:16]
    return f"{of_path} {status.st_size} {status.st_mtime_ns}"


def _written_identity(path: Path) -> str:
    """What a photo states of its file; "" if it states nothing."""
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            return str(opened.info.get(SOURCE, ""))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # damaged or something else
        return ""


def _is_up_to_date(path: Path, written: str, source: Path) -> bool:
    """Whether a photo is of the file as it is now: same size and time, which the photo states or has itself."""
    photo, status = path.stat(), source.stat()
    if not written:  # by an earlier version
        return abs(photo.st_mtime - status.st_mtime) < SAME_TIME
    size, time = [*written.split(), "", "", ""][1:3]
    return size == str(status.st_size) and str(status.st_mtime_ns) in (time, str(photo.st_mtime_ns))


def _is_of(written: str, identity: str) -> bool:
    """Whether a photo is of the file of that path, before the file was replaced."""
    return written.partition(" ")[0] == identity.partition(" ")[0]


def _of_another_file(path: Path, source: Path) -> UserError:
    return UserError(
        f"{path}: is not known to be a photo of {source}; choose another data.images, or delete the folder "
        f"{path.parent}"
    )


def _warn_once(source: Path, reason: str) -> None:
    if source not in WARNED:
        WARNED.add(source)
        log.warning(
            "%s: may have changed since its photos were written, which are used as they are (%s)", source, reason
        )


def _checked(path: Path, pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape or pixels.shape[2:] not in ((), (3,)):
        raise UserError(f"{path}: its pixels are {pixels.dtype} {shown(pixels.shape)}, not a photo in 8 bits")
    return pixels


def _differences(path: Path, pixels: np.ndarray) -> tuple[float, float]:
    """The largest and the average difference of a file's pixels from these; infinite if it has none of this shape.

    Another decoder of the same video may give slightly different pixels.
    """
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            written = np.asarray(opened).astype(np.int16)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # missing, damaged or something else
        return np.inf, np.inf
    if written.shape != pixels.shape:
        return np.inf, np.inf
    differences = np.abs(written - pixels)
    return float(differences.max()), float(differences.mean())
