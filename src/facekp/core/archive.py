"""Checks zip archives, which torch's checkpoints are: a file comes in, an error or nothing comes out.

torch writes checksums (CRC-32) but reads without them, so a flipped bit changes a weight unnoticed.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

ZIP_START = b"PK\3\4"  # the first bytes of an archive with at least one entry


class DamagedArchive(ValueError):
    """The bytes of an archive are not those that were written. The message says what differs."""


def is_archive(path: Path) -> bool:
    """Whether a file starts as a zip archive does."""
    with path.open("rb") as stream:
        return stream.read(len(ZIP_START)) == ZIP_START


def check_archive(path: Path) -> None:
    """Compare the entries of an archive with their checksums.

    Args:
        path: a zip archive of uncompressed entries, as torch writes.

    Raises:
        DamagedArchive: an entry differs from what was written, or is compressed and may stand for any size.
    """
    try:
        with ZipFile(path) as archive:
            compressed = [entry.filename for entry in archive.infolist() if entry.compress_type != ZIP_STORED]
            too_large = sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size
            damaged = None if compressed or too_large else archive.testzip()
    except Exception as error:  # a damaged directory raises all sorts of errors
        raise DamagedArchive(f"its directory can't be read: {error}") from error
    if compressed:
        raise DamagedArchive(f"{compressed[0]} is compressed, which torch does not do")
    if too_large:
        raise DamagedArchive("its entries are larger than the file")
    if damaged is not None:
        raise DamagedArchive(f"the checksum of {damaged} is wrong")
