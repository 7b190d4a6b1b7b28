"""The text of a label file, UTF-8, UTF-16 or UTF-32, plain or compressed; fields between commas, semicolons or tabs."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

from facekp.core.errors import UserError
from facekp.core.untrusted import read_bytes

MAX_TEXT_BYTES = 2**30  # decompressed; COCO's own keypoints have 0.25 GB. A few KB can stand for terabytes
MAX_HEADER_LENGTH = 2**20  # characters
PART = 2**22  # bytes that are decompressed at once
MAX_WINDOW_BYTES = 2**28  # bytes that an .xz file may ask for; xz -9 asks for 65 MB


def _bounded(stream: IO[bytes] | gzip.GzipFile | bz2.BZ2File) -> bytes:
    """The text of a stream, up to a byte more than `MAX_TEXT_BYTES`; a stream reserves as much as is asked."""
    text = bytearray()
    while len(text) <= MAX_TEXT_BYTES and (part := stream.read(min(PART, MAX_TEXT_BYTES + 1 - len(text)))):
        text += part
    return bytes(text)


def _gunzip(content: bytes) -> bytes:
    return _bounded(gzip.GzipFile(fileobj=io.BytesIO(content)))


def _bunzip(content: bytes) -> bytes:
    return _bounded(bz2.BZ2File(io.BytesIO(content)))


def _unxz(content: bytes) -> bytes:
    decompressor = lzma.LZMADecompressor(memlimit=MAX_WINDOW_BYTES)
    text = decompressor.decompress(content, MAX_TEXT_BYTES + 1)
    if not decompressor.eof and len(text) <= MAX_TEXT_BYTES:
        raise EOFError("the file is cut off")
    return text


COMPRESSED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": _gunzip,
    b"BZh": _bunzip,
    b"\xfd7zXZ\x00": _unxz,
}
SEPARATORS = ",;\t"
SAVE = "save it as CSV with commas, in UTF-8"


@dataclass(frozen=True)
class CsvText:
    """The lines of a CSV.

    Attributes:
        header: the names of the columns.
        rows: line number, counted from 1, and fields of each line that is not empty.
        decimal_comma: whether numbers may have a comma, as in files separated by semicolons or tabs.
    """

    header: list[str]
    rows: Iterator[tuple[int, list[str]]]
    decimal_comma: bool


def read_csv(path: Path) -> CsvText:
    """Read a CSV; fields are without blanks around them.

    Raises:
        UserError: the file can't be read or decoded, or, while rows are taken, a line is not valid.
    """
    return parse_csv(read_text(path), path)


def parse_csv(text: str, path: Path) -> CsvText:
    """The lines of a CSV's text; ``path`` and errors as for `read_csv`."""
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower().startswith("sep="):  # Excel's line with the separator
        text, skipped = rest, 1
    header = text.partition("\n")[0]
    separator = max(SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines = _lines(reader, path, skipped)
    _, names = next(lines, (1, []))
    return CsvText(names, lines, separator != ",")


def header_of(text: str, path: Path) -> list[str]:
    """The columns of a text if it is a CSV; of any other text, some words or none."""
    try:
        return parse_csv(text[:MAX_HEADER_LENGTH], path).header
    except UserError:
        return []


def _lines(reader: Iterator[list[str]], path: Path, skipped: int) -> Iterator[tuple[int, list[str]]]:
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                line = reader.line_num + skipped  # type: ignore[attr-defined]  # a csv.reader has it
                yield line, [field.strip() for field in fields]
    except csv.Error as error:
        raise UserError(f"data.labels={path}: can't be read ({error}); {SAVE}") from error


def read_text(path: Path) -> str:
    """The text of a file, decompressed and decoded.

    Raises:
        UserError: the file can't be read, decompressed or decoded.
    """
    content = read_content(path)
    try:
        text = content.decode(_encoding(content))
        if "\0" in text:
            raise UserError(f"data.labels={path}: is a binary file, not a text; give the label file as a text")
        return text if "\n" in text else text.replace("\r", "\n")  # old Macs ended lines in \r only
    except UnicodeDecodeError as error:
        raise UserError(
            f"data.labels={path}: not a text in UTF-8, UTF-16 or UTF-32 ({error}); save it in UTF-8"
        ) from error


def read_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number, from 1, and fields between blanks of each line that is not empty; errors as for `read_text`."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if fields := line.split():
            yield number, fields


def read_content(path: Path) -> bytes:
    """The bytes of a file, decompressed.

    Raises:
        UserError: it can't be read or decompressed, or is too large.
    """
    try:
        content = _read_bytes(path)
        for start, decompress in COMPRESSED.items():
            if content.startswith(start):
                content = decompress(content)
        if content.startswith(b"PK\x03\x04"):
            content = _only_member(content, path)
        if len(content) > MAX_TEXT_BYTES:
            raise UserError(f"data.labels={path}: more than {MAX_TEXT_BYTES / 1e9:.1f} GB of text; divide the file")
        return content
    except OSError as error:
        raise UserError(f"data.labels={path}: can't be read ({error.strerror or error})") from error
    except (EOFError, zlib.error, lzma.LZMAError, BadZipFile, RuntimeError, struct.error) as error:
        raise UserError(f"data.labels={path}: can't be decompressed ({error}); decompress it by hand") from error


def _read_bytes(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except UserError as error:
        raise UserError(f"data.labels={error}") from error


def _only_member(content: bytes, path: Path) -> bytes:
    """The only file in a zip file.

    Raises:
        UserError: there are several, as in a workbook of Excel.
    """
    with ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if not name.startswith("__MACOSX/") and not name.endswith("/")]
        if "xl/workbook.xml" in names:
            raise UserError(f"data.labels={path}: is a workbook of Excel; {SAVE}")
        if len(names) != 1:
            raise UserError(f"data.labels={path}: holds {len(names)} files; unpack it and name one of them")
        with archive.open(names[0]) as member:
            return _bounded(member)


def _encoding(content: bytes) -> str:
    """The encoding by the file's first bytes; ASCII letters in UTF-16 and UTF-32 have zeros beside them."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if content[1:4] == b"\0\0\0" and content[:1] != b"\0":
        return "utf-32-le"
    if content[:3] == b"\0\0\0" and content[3:4] not in (b"\0", b""):
        return "utf-32-be"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if content[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if content[:1] == b"\0" else "utf-8-sig"
