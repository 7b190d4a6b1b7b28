"""The competition's CSV files and the tables they hold: training.csv, test.csv, IdLookupTable.csv, the submission.

Reads them plain or from the competition's zip files into a `FaceTable`, decides what is missing, and writes the very
same formats. Every fault in a file is one `UserError` that names file, row, column, value and the way out.

A row is 96 x 96 pixels in one field of 34 KB. Lines and fields are cut by bytes methods, one Python call a row; the
pixels of several rows become numbers in one go (`_pixels`). Only a row that looks odd is read token by token.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np
import pandas as pd

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.core.keypoints import Keypoints
from facekp.data.cache import cached
from facekp.data.table import FaceTable

log = logging.getLogger(__name__)
PARSER_VERSION = 1  # part of the cache's key: raise it whenever the same file would give another table

SIDE = 96  # pixels; images are SIDE x SIDE, coordinates valid in [0, SIDE]

PIXELS = SIDE * SIDE

SLACK = 2.0  # pixels beyond [0, SIDE] where a coordinate counts as missing; further out it is an error

BATCH = 16  # rows parsed at once: 0.6 MB of text, so that the temporaries stay in the processor's cache

LONGEST_LINE = 1 << 20  # bytes; a row is 37 KB

ARCHIVE = "facial-keypoints-detection.zip"  # how the competition ships all files in one

LOOKUP = ["RowId", "ImageId", "FeatureName"]


class MissingFile(UserError):
    """A file of the competition is neither in the folder nor in a zip file there."""

    def __init__(self, directory: Path, name: str) -> None:
        super().__init__(f"{directory}: no {name} here, neither plain nor in a zip file")
        self.directory, self.name = directory, name


@dataclass(frozen=True)
class ZipMember:
    """A file in a zip file, or in a zip file within a zip file: ``members`` are the names on the way down."""

    archive: Path
    members: tuple[str, ...]

    def __str__(self) -> str:
        return ":".join((str(self.archive), *self.members))


@dataclass(frozen=True, slots=True)
class _Row:
    """One data row: its fields in the wanted order, and where it stands, so that an error can say so."""

    file: Path | ZipMember
    number: int  # 1 is the first row after the header
    line: int  # of the file; 1 is the header
    cut: bool  # the file ends here without a line end
    fields: list[bytes]

    def error(self, column: str, value: bytes, fault: str, way_out: str) -> UserError:
        shown = repr(value[:40].decode(errors="replace")) + ("…" if len(value) > 40 else "")
        if self.cut:
            way_out += "; the file ends here without a line end: if it was cut off, fetch it again"
        return UserError(f"{self.file}: row {self.number} (line {self.line}), {column}: {shown} {fault}; {way_out}")


def find_file(directory: Path, name: str) -> Path | ZipMember:
    """Where ``name`` is: plain in ``directory``, or in a zip file there (its own, the competition's, any other).

    Raises:
        MissingFile: nowhere.
        UserError: it may be in a zip file that cannot be read.
    """
    if (directory / name).is_file():
        return directory / name
    broken = None
    likely = (Path(name).stem + ".zip", name + ".zip", ARCHIVE)
    for archive in sorted(directory.glob("*.zip"), key=lambda path: (path.name not in likely, path.name)):
        try:
            with ZipFile(archive) as opened:
                members = _members(opened, name)
        except (BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
            broken = broken or UserError(f"{archive}: cannot be read as a zip file ({error}); fetch it again")
            continue
        if members:
            return ZipMember(archive, members)
    raise broken or MissingFile(directory, name)


def _members(archive: ZipFile, name: str, nested: bool = True) -> tuple[str, ...] | None:
    """The names that lead to ``name`` in an archive, at most one archive further in."""
    entries = [entry for entry in archive.namelist() if not entry.startswith("__MACOSX/")]
    for entry in entries:
        if PurePosixPath(entry).name == name:
            return (entry,)
    for entry in entries if nested else ():
        if PurePosixPath(entry).name in (Path(name).stem + ".zip", name + ".zip"):
            with archive.open(entry) as stream, ZipFile(stream) as inner:
                if found := _members(inner, name, nested=False):
                    return (entry, *found)
    return None


@contextmanager
def _open(file: Path | ZipMember) -> Iterator[io.BufferedReader]:
    """The file's bytes, buffered. Damage that shows while reading becomes a UserError."""
    try:
        with ExitStack() as stack:
            yield io.BufferedReader(_raw(file, stack), LONGEST_LINE)  # type: ignore[arg-type]
    except (BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{file}: cannot be read ({error}); fetch it again") from error


def _raw(file: Path | ZipMember, stack: ExitStack) -> IO[bytes]:
    if isinstance(file, Path):
        return stack.enter_context(file.open("rb", buffering=0))
    stream: IO[bytes] = stack.enter_context(file.archive.open("rb"))
    for member in file.members:
        try:
            stream = stack.enter_context(stack.enter_context(ZipFile(stream)).open(member))
        except RuntimeError as error:  # encrypted, or a compression that Python lacks
            raise UserError(f"{file}: cannot be read ({error}); unpack it by hand") from error
    return stream


def _rows(stream: IO[bytes], file: Path | ZipMember, wanted: Sequence[str], ignored: str = "") -> Iterator[_Row]:
    """The data rows of a CSV, with the ``wanted`` columns in that order.

    Args:
        ignored: a last column that the file may have, even without a field in its rows.

    Raises:
        UserError: the file is no such CSV; a row has too few or too many fields.
    """
    lines = enumerate(iter(lambda: stream.readline(LONGEST_LINE), b""), start=1)
    filled = ((line, text) for line, text in lines if not text.isspace())
    header = _header(file, next(filled, (1, b""))[1], wanted, ignored)
    order, count = [header.index(column) for column in wanted], len(header)
    fewest = count - (header[-1] == ignored)
    number = 0
    for number, (line, text) in enumerate(filled, start=1):
        fields = _fields(text, count)
        cut = not text.endswith(b"\n") and len(text) < LONGEST_LINE
        if not fewest <= len(fields) <= count:
            row = _Row(file, number, line, cut, fields)
            fault = f"begins a row of {len(fields)} fields under {count} columns"
            way_out = "give every column one field, divided by commas"
            raise row.error(header[min(len(fields), count - 1)], text.strip(), fault, way_out)
        yield _Row(file, number, line, cut, [fields[at] for at in order])
    if not number:
        raise UserError(f"{file}: row 1: the file holds a header and no rows; fetch it again")


def _fields(line: bytes, expected: int) -> list[bytes]:
    if b'"' in line:
        with suppress(csv.Error):  # fields over 128 KB, a line end in mid-line: no table, whatever the quotes mean
            return [field.encode() for field in next(csv.reader([line.decode(errors="replace")]))]
    line = line.rstrip(b"\r\n")
    fields = line.split(b",", expected - 1)  # the limit spares a search through the pixels, 0.2 s for training.csv
    return line.split(b",") if b"," in fields[-1] else fields


def _header(file: Path | ZipMember, line: bytes, wanted: Sequence[str], ignored: str) -> list[str]:
    """The column names, checked.

    Raises:
        UserError: the file is empty, of another kind, or lacks, doubles or adds a column.
    """
    if fault := _other_kind(line):
        raise UserError(f"{file}: header: {fault}")
    names = [name.decode(errors="replace").strip() for name in _fields(line.removeprefix(b"\xef\xbb\xbf"), len(wanted))]
    for column in wanted:
        if (count := names.count(column)) != 1:
            fault = f"stands {count} times in the header; leave one" if count else "is missing from the header; add it"
            raise UserError(f"{file}: header: column {column!r} {fault}")
    for at, name in enumerate(names, start=1):
        if name not in wanted and not (name == ignored and at == len(names)):
            raise UserError(f"{file}: header: column {at} ({name[:40]!r}) is not one of this file's; remove it")
    return names


def _other_kind(line: bytes) -> str | None:
    """What a file is, and what to do about it, if its first line shows that it is no CSV with commas."""
    if not line:
        return "the file is empty; fetch it again"
    if line.lstrip(b"\xef\xbb\xbf \t").startswith(b"<"):
        return "this is a web page saved as CSV, perhaps a login page; sign in and fetch the file again"
    if line.startswith(b"PK\x03\x04"):
        return "this is a zip file; let its name end in .zip"
    for name, delimiter in ((";", b";"), ("a tab", b"\t")):
        if delimiter in line and b"," not in line:
            return f"fields are divided by {name}; save the file with commas"
    return None


def read_training_csv(
    directory: Path, keypoints: Keypoints, cache_dir: Path | None = None, rows: int | None = None
) -> FaceTable:
    """training.csv as a table; ``row`` counts from 1, as in error messages.

    A point counts if both coordinates are there and in [0, SIDE]; up to `SLACK` pixels beyond, it counts as missing (a
    warning says how many). ``source`` follows from how many values the row has.

    Args:
        directory: holds training.csv, plain or in a zip file.
        cache_dir: keeps the parsed table for the next call; None: no cache.
        rows: only the first that many, without the cache; None: all.

    Raises:
        MissingFile: no training.csv.
        UserError: the file's first fault.
    """
    file = find_file(directory, "training.csv")
    if rows is not None and rows < 1:
        raise UserError(f"{file}: rows={rows} leaves nothing to read; take at least 1")
    if cache_dir is None or rows is not None:
        return _training(file, keypoints, rows)
    return cached(cache_dir, _key(file), keypoints, lambda: _training(file, keypoints))


def _key(file: Path | ZipMember) -> list[str | int]:
    """What decides the table read from a file: its bytes (a zip file's, unopened) and this parser."""
    archive, members = (file.archive, file.members) if isinstance(file, ZipMember) else (file, (file.name,))
    with _open(archive) as stream:  # SHA-256: 0.14 s for 210 MB; MD5 and BLAKE2b 0.3 s (EPYC with SHA instructions)
        return [PARSER_VERSION, *members, hashlib.file_digest(stream.raw, "sha256").hexdigest()]  # type: ignore[arg-type]


def _training(file: Path | ZipMember, keypoints: Keypoints, rows: int | None = None) -> FaceTable:
    columns = keypoints.columns
    values, images = [], []
    with _open(file) as stream:
        for batch in _batches(islice(_rows(stream, file, [*columns, "Image"]), rows)):
            values += [[_coordinate(row, *place) for place in zip(columns, row.fields, strict=False)] for row in batch]
            images.append(_images(batch, column=-1))
    numbers = np.array(values, np.float32)
    return FaceTable(
        keypoints=keypoints,
        images=np.concatenate(images),
        points=_valid(numbers.reshape(len(numbers), -1, 2), file),
        source=keypoints.source_of(np.isfinite(numbers).sum(axis=1)),
        row=np.arange(1, len(numbers) + 1),
    )


def _batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    rows = iter(rows)
    return iter(lambda: list(islice(rows, BATCH)), [])


def _coordinate(row: _Row, column: str, text: bytes) -> float:
    """Pixels, or NaN for an empty field."""
    text = text.strip()
    if not text:
        return np.nan
    try:
        value = float(text) if b"_" not in text else np.nan  # Python reads 1_0 as 10
    except ValueError:
        value = np.nan
    if -SLACK <= value <= SIDE + SLACK:
        return value
    if np.isfinite(value):
        raise row.error(column, text, f"is outside 0..{SIDE} pixels", "correct it, or empty the field")
    raise row.error(column, text, "is no coordinate", "write a number, or leave the field empty where nobody labelled")


def _valid(points: np.ndarray, file: Path | ZipMember) -> np.ndarray:
    """The points (N, K, 2) that count; NaN in place of the others."""
    both = np.isfinite(points).all(axis=2)
    inside = np.asarray(((points >= 0) & (points <= SIDE)).all(axis=2))
    if beyond := int((both & ~inside).sum()):
        log.warning("%s: %d points lie up to %g pixels outside 0..%d: taken as missing", file, beyond, SLACK, SIDE)
    return np.where(inside[..., None], points, np.float32(np.nan))


def _images(batch: list[_Row], column: int) -> np.ndarray:
    """uint8 (n, SIDE, SIDE): the images of some rows.

    Raises:
        UserError: the first pixel that is no whole number in 0..255, or the first row without exactly `PIXELS` of them.
    """
    texts = [row.fields[column].strip() for row in batch]
    pixels = _pixels(texts)
    if pixels is None:
        pixels = np.stack([_pixels_one_by_one(row, text) for row, text in zip(batch, texts, strict=True)])
    return pixels.reshape(-1, SIDE, SIDE)


def _pixels(texts: list[bytes]) -> np.ndarray | None:
    """All pixels of some rows, if each is `PIXELS` numbers of one to three digits up to 255, one blank between.

    Every step runs over all bytes at once, in uint8. ``digits & 15`` is the digit's value and 0 for a blank, so that
    ``10 * previous + this`` is right at the first and the second digit of a number; for the third, what stands before a
    blank must not leak in.

    Returns:
        uint8 (n * PIXELS,), or None if any row is not of that form.
    """
    text = np.frombuffer(b"  " + b" ".join(texts) + b" ", np.uint8)
    blank: np.ndarray = text == ord(" ")
    digit: np.ndarray = (text - np.uint8(ord("0"))) < 10  # unsigned: what lies below "0" wraps to above 9
    pair = digit[1:] & digit[:-1]
    if not (blank | digit).all() or (blank[2:] & blank[1:-1]).any() or (pair[2:] & pair[:-2]).any():
        return None  # another character, two blanks, or four digits
    ends = np.flatnonzero(blank[2:]) + 2
    if not np.array_equal(ends[PIXELS - 1 :: PIXELS], np.cumsum([len(each) + 1 for each in texts]) + 1):
        return None  # too few or too many
    value = text & np.uint8(15)
    tens = value[:-1] * np.uint8(10)
    tens += value[1:]
    tens *= digit[1:]  # tens[i]: the one or two digits that end at i + 1
    number = tens[:-1] * np.uint8(10)
    number += value[2:]  # number[i]: the one to three digits that end at i + 2
    # Above 255, uint8 wraps. Up to 27 tens that shows: what is left is less than the number of tens.
    too_large = np.asarray((tens[:-1] > 27) | (number < tens[:-1]))
    if (too_large & digit[2:]).any():
        return None
    return number[ends - 3]


def _pixels_one_by_one(row: _Row, text: bytes) -> np.ndarray:
    """uint8 (PIXELS,) of one row that `_pixels` did not take: several blanks are well, all else is an error."""
    tokens = text.split()
    for at, token in enumerate(tokens, start=1):
        if not (token.isdigit() and len(token) < 10 and int(token) <= 255):
            raise row.error(f"Image, pixel {at}", token, "is no whole number in 0..255", "correct it or remove the row")
    if len(tokens) != PIXELS:
        fault = f"begins {len(tokens)} pixels"
        raise row.error("Image", text, fault, f"a row has {PIXELS} ({SIDE} x {SIDE}), divided by blanks")
    return np.array([int(token) for token in tokens], np.uint8)


def read_test_csv(
    directory: Path, keypoints: Keypoints, cache_dir: Path | None = None
) -> tuple[FaceTable, pd.DataFrame]:
    """test.csv as a table, and what IdLookupTable.csv asks for.

    Args:
        directory: holds both files, plain or in zip files: any number of images, any features of each.
        cache_dir: keeps the parsed images for the next call; None: no cache.

    Returns:
        The table: no points, ``row`` the ImageId, ``source`` from how many features are asked for (the first one where
        none is). The lookup table: RowId, ImageId, FeatureName in the file's order.

    Raises:
        MissingFile: one of the two is missing.
        UserError: the first fault of test.csv, else of IdLookupTable.csv.
    """
    file, asking = find_file(directory, "test.csv"), find_file(directory, "IdLookupTable.csv")
    if cache_dir is None:
        table = _test(file, keypoints)
    else:
        table = cached(cache_dir, _key(file), keypoints, lambda: _test(file, keypoints))
    lookup, asked = _lookup(asking, table)
    count = asked.sum(axis=1)
    source = np.where(count > 0, keypoints.source_of(count), 0).astype(np.int8)
    return replace(table, source=source), lookup


def _test(file: Path | ZipMember, keypoints: Keypoints) -> FaceTable:
    seen: dict[int, int] = {}
    images = []
    with _open(file) as stream:
        for batch in _batches(_rows(stream, file, ["ImageId", "Image"])):
            for row in batch:
                _new_id(row, "ImageId", row.fields[0], seen)
            images.append(_images(batch, column=1))
    points = np.full((len(seen), len(keypoints.names), 2), np.nan, np.float32)
    source = np.zeros(len(seen), np.int8)
    return FaceTable(keypoints, np.concatenate(images), points, source, np.array(list(seen), np.int64))


def _integer(row: _Row, column: str, text: bytes) -> int:
    text = text.strip()
    if not (text.removeprefix(b"-").isdigit() and len(text) <= 18):  # 18 digits fit int64
        raise row.error(column, text, "is no whole number", "write one of at most 17 digits")
    return int(text)


def _new_id(row: _Row, column: str, text: bytes, seen: dict[int, int]) -> int:
    """A whole number that no row above has; ``seen`` maps each to its row."""
    value = _integer(row, column, text)
    if value in seen:
        raise row.error(column, text, f"stands in row {seen[value]} already", "give every row its own")
    seen[value] = row.number
    return value


def _lookup(file: Path | ZipMember, table: FaceTable) -> tuple[pd.DataFrame, np.ndarray]:
    """IdLookupTable.csv (RowId, ImageId, FeatureName), and bool (N, 2K): which values of which image it asks for."""
    images = {int(name): at for at, name in enumerate(table.row)}
    features = {name: at for at, name in enumerate(table.keypoints.columns)}
    asked = np.zeros((len(images), len(features)), bool)
    seen: dict[int, int] = {}
    rows = []
    with _open(file) as stream:
        for row in _rows(stream, file, LOOKUP, ignored="Location"):
            identity = _new_id(row, "RowId", row.fields[0], seen)
            image, feature = _integer(row, "ImageId", row.fields[1]), row.fields[2].decode(errors="replace").strip()
            if image not in images:
                raise row.error("ImageId", row.fields[1], "is not in test.csv", "take both files from one download")
            if feature not in features:
                known = f"{table.keypoints.columns[0]} … {table.keypoints.columns[-1]}"
                raise row.error(
                    "FeatureName", row.fields[2], f"is no feature of {table.keypoints.name}", f"use {known}"
                )
            asked[images[image], features[feature]] = True
            rows.append((identity, image, feature))
    return pd.DataFrame(rows, columns=LOOKUP), asked


def write_training(path: Path, table: FaceTable) -> None:
    """Write a table as training.csv: an empty field where nobody labelled, whole or not at all.

    Raises:
        UserError: images are not SIDE x SIDE, or the place cannot be written.
    """
    texts = _image_texts(path, table)
    with atomic(path) as part, part.open("wb") as stream:
        stream.write(",".join([*table.keypoints.columns, "Image"]).encode() + b"\n")
        for points, image in zip(table.points.reshape(len(table), -1), texts, strict=True):
            values = ["" if np.isnan(value) else f"{value:.9g}" for value in points]  # 9 digits name one float32
            stream.write(",".join(values).encode() + b"," + image + b"\n")


def write_test(directory: Path, table: FaceTable, asked: np.ndarray) -> None:
    """Write a table as test.csv and IdLookupTable.csv.

    Args:
        directory: made if missing.
        table: ``row`` is the ImageId.
        asked: bool (N, K), the points that the lookup table asks for, row by row, x before y; RowId counts from 1.

    Raises:
        UserError: images are not SIDE x SIDE, or the place cannot be written.
    """
    path = directory / "test.csv"
    texts = _image_texts(path, table)
    with atomic(path) as part, part.open("wb") as stream:
        stream.write(b"ImageId,Image\n")
        for name, image in zip(table.row, texts, strict=True):
            stream.write(b"%d,%s\n" % (name, image))
    columns = np.array(table.keypoints.columns)
    face, feature = np.nonzero(np.repeat(asked, 2, axis=1))
    lookup = pd.DataFrame({"ImageId": table.row[face], "FeatureName": columns[feature], "Location": ""})
    lookup.insert(0, "RowId", np.arange(1, len(lookup) + 1))
    with atomic(directory / "IdLookupTable.csv") as part:
        lookup.to_csv(part, index=False)


def _image_texts(path: Path, table: FaceTable) -> Iterator[bytes]:
    """Each image as blank-separated numbers."""
    if table.size != (SIDE, SIDE):
        raise UserError(
            f"{path}: images are {table.size[0]} x {table.size[1]} pixels; this format holds {SIDE} x {SIDE}"
        )
    words = np.array([f"{value} ".encode() for value in range(256)])  # of 4 bytes, filled up with zeros
    return (words[image].tobytes().replace(b"\0", b"").rstrip() for image in table.images)


def write_submission(path: Path, table: FaceTable, points: np.ndarray, lookup: pd.DataFrame) -> None:
    """Write the competition's answer: RowId, Location in the lookup table's order, values clipped to the image.

    Args:
        table: what was predicted; ``row`` is the ImageId.
        points: float (N, K, 2), pixels.
        lookup: from `read_test_csv`.

    Raises:
        UserError: an asked-for value is not finite, an ImageId or FeatureName unknown, or the place cannot be written.
    """
    image = pd.Index(table.row).get_indexer(pd.Index(lookup["ImageId"]))
    feature = pd.Index(table.keypoints.columns).get_indexer(pd.Index(lookup["FeatureName"]))
    value = points.reshape(len(points), -1)[image, feature].astype(np.float64)
    for row in np.flatnonzero((image < 0) | (feature < 0) | ~np.isfinite(value)):
        name = "RowId {}: ImageId {}, {}".format(*lookup[LOOKUP].iloc[row])
        fault = "has no finite prediction" if min(image[row], feature[row]) >= 0 else "is not among the predictions"
        raise UserError(f"{path}: {name} {fault}; nothing written")
    limit = np.array(table.size[::-1])[feature % 2]  # x ends at W, y at H
    answer = pd.DataFrame({"RowId": lookup["RowId"], "Location": value.clip(0, limit)})
    with atomic(path) as part:
        answer.to_csv(part, index=False, float_format="%.9g")
        _check_submission(part, lookup, limit)


def _check_submission(path: Path, lookup: pd.DataFrame, limit: np.ndarray) -> None:
    """Read the file back.

    Raises:
        RuntimeError: it does not answer the lookup table row by row, with values in the image.
    """
    found = pd.read_csv(path)
    if list(found.columns) != ["RowId", "Location"] or not np.array_equal(found["RowId"], lookup["RowId"]):
        raise RuntimeError(f"{path}: rows written differ from the lookup table's")
    if not found["Location"].between(0, limit).all():
        raise RuntimeError(f"{path}: a value written is not in the image")
