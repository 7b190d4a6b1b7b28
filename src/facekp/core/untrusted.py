"""Reads files that others wrote: regular files of a bounded size only, so that no pipe or device blocks a command."""

from __future__ import annotations

import stat
from pathlib import Path

from facekp.core.errors import UserError

MAX_FILE_BYTES = 2**31  # bytes of a file that is read at once; the competition's training.csv has 0.25 GB


def check_regular(path: Path, max_bytes: float = MAX_FILE_BYTES) -> None:
    """Refuse what would block or fill the memory.

    Args:
        path: of a file that exists.
        max_bytes: size up to which the file is read.

    Raises:
        UserError: it is a folder, a pipe, a socket or a device, or too large.
        OSError: it does not exist, or can't be looked at.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path}: is a folder; name a file")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: is not a regular file but a pipe, a socket or a device; name a file")
    if status.st_size > max_bytes:
        raise UserError(f"{path}: has {status.st_size / 1e6:.0f} MB; at most {max_bytes / 1e6:.0f} MB are read")


def read_bytes(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The content of a regular file; arguments and errors as for `check_regular`."""
    check_regular(path, max_bytes)
    return path.read_bytes()
