"""Checks zip archives, which torch's checkpoints are, byte by byte: a file comes in, an error or nothing comes out.

torch writes checksums (CRC-32) but reads without them, so a flipped bit changes a weight unnoticed. `check_archive`
compares every checksum, and every header with its copy in the archive's directory. No part of the file is left out.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

ZIP_START = b"PK\3\4"  # the first bytes of an archive with at least one entry

LOCAL = struct.Struct("<4s5H3L2H")  # header in front of an entry's data
DIRECTORY_ENTRY = 46  # bytes of a directory's entry without its name
DIRECTORY_SIZES = struct.Struct("<3H")  # of an entry's name, extra field and comment
OF_WRITER = (  # fields of a directory's entry that a writer gives the same values in all entries
    *("create_version", "create_system", "extract_version", "reserved", "flag_bits"),
    *("internal_attr", "external_attr", "volume"),
)
STREAMED = 0x08  # flag: sizes and checksum follow the data instead of preceding them
DESCRIPTOR = {False: struct.Struct("<4s3L"), True: struct.Struct("<4sL2Q")}  # what follows the data; True: above 4 GB
LARGE = 2**32 - 1  # stands for larger sizes, which are given elsewhere

END = struct.Struct("<4s4H2LH")
LARGE_END = struct.Struct("<4sQ2H2L4Q")
LARGE_END_PLACE = struct.Struct("<4sLQL")


class DamagedArchive(ValueError):
    """The bytes of an archive are not those that were written. The message says what differs."""


def is_archive(path: Path) -> bool:
    """Whether a file starts as a zip archive does."""
    with path.open("rb") as stream:
        return stream.read(len(ZIP_START)) == ZIP_START


def check_archive(path: Path) -> None:
    """Compare everything in an archive with its checksums.

    Args:
        path: a zip archive of uncompressed entries that follow each other without gaps, as torch writes.

    Raises:
        DamagedArchive: a byte differs from what was written.
    """
    try:
        whole = path.read_bytes()
        with ZipFile(io.BytesIO(whole)) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
        content, end = memoryview(whole), 0
        for entry in entries:
            end = _check_entry(content, entry, end)
        _check_directory(content, entries, end)
    except (BadZipFile, NotImplementedError, UnicodeDecodeError, struct.error, IndexError) as error:
        raise DamagedArchive(f"its directory can't be read: {error}") from error


def _check_entry(content: memoryview, entry: ZipInfo, start: int) -> int:
    """Check one entry with its headers.

    Args:
        content: of the archive.
        entry: as the directory has it.
        start: where it must begin.

    Returns:
        where it ends.
    """
    name = entry.orig_filename
    if entry.header_offset != start or entry.compress_type != ZIP_STORED or entry.compress_size != entry.file_size:
        raise DamagedArchive(f"the directory's entry of {name} is wrong")
    magic, version, flags, method, time, date, *sizes, name_size, extra_size = LOCAL.unpack_from(content, start)
    extra_start = start + LOCAL.size + name_size
    data_start = extra_start + extra_size
    end = data_start + entry.file_size
    large = entry.file_size >= LARGE or start >= LARGE
    expected = [0, 0, 0] if flags & STREAMED else [entry.CRC, entry.file_size, entry.file_size]
    fits = (
        (magic, version, flags, method) == (ZIP_START, entry.extract_version, entry.flag_bits, entry.compress_type)
        and _date(time, date) == entry.date_time
        and bytes(content[start + LOCAL.size : extra_start]) == name.encode()
        and (large or (sizes == expected and _is_padding(content[extra_start:data_start])))
    )
    if not fits:
        raise DamagedArchive(f"the header of {name} is wrong")
    if zlib.crc32(content[data_start:end]) != entry.CRC:
        raise DamagedArchive(f"the checksum of {name} is wrong")
    if not flags & STREAMED:
        return end
    descriptor = DESCRIPTOR[large]
    if descriptor.unpack_from(content, end) != (b"PK\7\x08", entry.CRC, entry.file_size, entry.file_size):
        raise DamagedArchive(f"the sizes of {name} are wrong")
    return end + descriptor.size


def _date(time: int, date: int) -> tuple[int, ...]:
    """A date as `zipfile.ZipInfo.date_time` has it."""
    return (date >> 9) + 1980, date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2


def _is_padding(extra: memoryview) -> bool:
    """Whether an extra field is empty, or one field of equal bytes that moves the data to a multiple of 64."""
    if not len(extra):
        return True
    name, size = struct.unpack_from("<2sH", extra)
    return name == b"FB" and size == len(extra) - 4 and len(set(extra[4:])) <= 1


def _check_directory(content: memoryview, entries: Sequence[ZipInfo], start: int) -> None:
    """Check the directory behind the entries, which begins at ``start``, and the archive's end."""
    kinds = {tuple(getattr(entry, name) for name in OF_WRITER) for entry in entries}
    if len(kinds) > 1 or any(entry.comment for entry in entries):
        raise DamagedArchive("an entry of its directory is wrong")
    place = start
    for _ in entries:
        place += DIRECTORY_ENTRY + sum(DIRECTORY_SIZES.unpack_from(content, place + 28))
    number, size = len(entries), place - start
    end = END.pack(b"PK\5\6", 0, 0, *[min(number, 2**16 - 1)] * 2, min(size, LARGE), min(start, LARGE), 0)
    found = bytes(content[place:])
    if found == end:
        return
    made, needed = struct.unpack_from("<2H", found, 12)  # versions, which change nothing
    large_end = LARGE_END.pack(
        b"PK\6\6", LARGE_END.size - 12, made, needed, 0, 0, number, number, size, start
    ) + LARGE_END_PLACE.pack(b"PK\6\7", 0, place, 1)
    if found != large_end + end:
        raise DamagedArchive("its end is wrong")
