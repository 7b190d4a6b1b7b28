"""Splits the competition's CSV files into rows of fields, as bytes.

A row holds 96 x 96 pixels in one field of 34 KB. Lines and fields are therefore split by methods of bytes, with one
Python call for each row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import IO

from facekp.core.errors import UserError
from facekp.data.competition.files import File

BATCH_ROWS = 16  # parsed at once: 0.6 MB of text, so that temporary arrays stay in the processor's cache
MAX_LINE_BYTES = 1 << 20  # bytes; a row has 37 KB
MAX_BLANK_BYTES = 1 << 20  # bytes of blank lines; a zip file of some KB can hold them without end


@dataclass(frozen=True, slots=True)
class Row:
    """A data row: its fields in the requested order, and its position in the file for error messages.

    Attributes:
        file: the file that holds it.
        number: 1 is the first row after the header.
        line: line of the file; 1 is the header.
        truncated: the file ends in this row without a line end.
        fields: as bytes.
    """

    file: File
    number: int
    line: int
    truncated: bool
    fields: list[bytes]

    def error(self, column: str, value: bytes, fault: str, fix: str) -> UserError:
        """An error that names file, row, column and value."""
        shown = repr(value[:40].decode(errors="replace")) + ("…" if len(value) > 40 else "")
        if self.truncated:
            fix += "; the file ends here without a line end: if the download was cut off, download it again"
        return UserError(f"{self.file}: row {self.number} (line {self.line}), {column}: {shown} {fault}; {fix}")


def read_rows(stream: IO[bytes], file: File, wanted: Sequence[str], ignored: str = "") -> Iterator[Row]:
    """The data rows of a CSV.

    Args:
        stream: the file's bytes.
        file: for error messages.
        wanted: the columns that must be there; fields come in this order.
        ignored: a column that the file may have; as the last one, even without a field in its rows.

    Raises:
        UserError: the file is not such a CSV, or a row has too few or too many fields.
    """
    filled = _filled_lines(stream, file)
    header = _read_header(file, next(filled, (1, b""))[1], wanted, ignored)
    order, count = [header.index(column) for column in wanted], len(header)
    fewest = count - (header[-1] == ignored)
    number = 0
    for number, (line, text) in enumerate(filled, start=1):
        fields = _split(text, count)
        truncated = not text.endswith(b"\n") and len(text) < MAX_LINE_BYTES
        if not fewest <= len(fields) <= count:
            row = Row(file, number, line, truncated, fields)
            fault = f"starts a row of {len(fields)} fields, but the header has {count} columns"
            raise row.error(
                header[min(len(fields), count - 1)], text.strip(), fault, "give one field for each column, with commas"
            )
        yield Row(file, number, line, truncated, [fields[at] for at in order])
    if not number:
        raise UserError(f"{file}: row 1: the file holds a header but no rows; download it again")


def _filled_lines(stream: IO[bytes], file: File) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers.

    Raises:
        UserError: there are too many blank lines.
    """
    blank = 0
    for line, text in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES), b""), start=1):
        if not text.isspace():
            yield line, text
            continue
        blank += len(text)
        if blank > MAX_BLANK_BYTES:
            raise UserError(f"{file}: line {line}: more than {MAX_BLANK_BYTES} bytes of blank lines; remove them")


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows in lists of `BATCH_ROWS`."""
    rows = iter(rows)
    return iter(lambda: list(islice(rows, BATCH_ROWS)), [])


def parse_integer(row: Row, column: str, text: bytes) -> int:
    """A whole number of at most 18 characters, which int64 can hold.

    Raises:
        UserError: it is something else.
    """
    text = text.strip()
    if not (text.removeprefix(b"-").isdigit() and len(text) <= 18):
        raise row.error(column, text, "is not a whole number", "write one of at most 17 digits")
    return int(text)


def parse_new_id(row: Row, column: str, text: bytes, rows_of_ids: dict[int, int]) -> int:
    """A whole number that no earlier row has.

    Args:
        rows_of_ids: the row number of each id so far; the new one is added.

    Raises:
        UserError: it is not a whole number, or an earlier row has it.
    """
    value = parse_integer(row, column, text)
    if value in rows_of_ids:
        fault = f"is duplicated: row {rows_of_ids[value]} has it already"
        raise row.error(column, text, fault, "give every row a different one")
    rows_of_ids[value] = row.number
    return value


def _split(line: bytes, expected: int) -> list[bytes]:
    """The fields of a line."""
    if b'"' in line:
        with suppress(csv.Error):  # fields over 128 KB, or a line end in a field: not a table of this kind
            return [field.encode() for field in next(csv.reader([line.decode(errors="replace")]))]
    line = line.rstrip(b"\r\n")
    fields = line.split(b",", expected - 1)  # the limit avoids a search through the pixels, 0.2 s for training.csv
    return line.split(b",") if b"," in fields[-1] else fields


def _read_header(file: File, line: bytes, wanted: Sequence[str], ignored: str) -> list[str]:
    """The column names.

    Raises:
        UserError: the file is empty or of another kind, or a column is missing, duplicated or unknown.
    """
    if fault := _other_kind(line):
        raise UserError(f"{file}: header: {fault}")
    names = [name.decode(errors="replace").strip() for name in _split(line.removeprefix(b"\xef\xbb\xbf"), len(wanted))]
    for column in wanted:
        if (count := names.count(column)) != 1:
            fault = f"occurs {count} times; keep one" if count else "is missing; add it"
            raise UserError(f"{file}: header: column {column!r} {fault}")
    for at, name in enumerate(names, start=1):
        if name not in wanted and name != ignored:
            raise UserError(f"{file}: header: column {at} ({name[:40]!r}) is unknown; remove it")
    return names


def _other_kind(line: bytes) -> str | None:
    """What is wrong, and how to fix it, where the first line shows that the file is not a CSV with commas."""
    if not line:
        return "the file is empty; download it again"
    if line.lstrip(b"\xef\xbb\xbf \t").startswith(b"<"):
        return "this is a web page saved as CSV, perhaps a login page; sign in and download the file again"
    if line.startswith(b"PK\x03\x04"):
        return "this is a zip file; rename it so that it ends in .zip"
    if b"\0" in line:
        return "this is not a text in UTF-8; decompress it, or save it as CSV in UTF-8"
    if b"\r" in line.rstrip():
        return "lines end in \\r only, as on old Macs; save the file with \\n or \\r\\n"
    for name, delimiter in ((";", b";"), ("a tab", b"\t")):
        if delimiter in line and b"," not in line:
            return f"fields are separated by {name}; save the file with commas"
    return None
