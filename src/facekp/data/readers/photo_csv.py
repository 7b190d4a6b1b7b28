"""Image files and a CSV with their points: any number of points, photos of any sizes, several faces a photo.

A line of the CSV is a face: ``name`` (the photo's path relative to the photos' folder), ``<point>_x`` and ``<point>_y``
for every point of the scheme in pixels of the photo, empty where nobody labelled; where there are boxes ``box_x0``,
``box_y0``, ``box_x1``, ``box_y1`` (edges in pixels, all four or none); where there are several labelling conventions
``source``, its name. Every fault is one `UserError` that names file, line, column, value and the way out.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.crops import LabelledFace

NAME, SOURCE = "name", "source"

BOX = ("box_x0", "box_y0", "box_x1", "box_y1")


def read_faces(path: Path, keypoints: Keypoints) -> list[LabelledFace]:
    """All faces of a CSV; ``row`` counts from 1 after the header.

    Raises:
        UserError: the file's first fault.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            faces = list(_faces(csv.reader(stream, strict=True), path, keypoints))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{error}; save it as CSV with commas, in UTF-8"
        raise UserError(f"data.labels={path}: can't be read ({reason})") from error
    if not faces:
        raise UserError(f"{path}: holds a header and no faces; give every face a line")
    return faces


def _faces(lines: Iterator[list[str]], path: Path, keypoints: Keypoints) -> Iterator[LabelledFace]:
    header = [column.strip() for column in next(lines, [])]
    _check_header(path, header, keypoints)
    row = 0
    for fields in lines:
        if not any(field.strip() for field in fields):
            continue
        row += 1
        place = f"{path}: line {lines.line_num}"  # type: ignore[attr-defined]  # a csv.reader has it
        if len(fields) != len(header):
            raise UserError(f"{place}: {len(fields)} fields under {len(header)} columns; give every column one field")
        yield _face(dict(zip(header, (field.strip() for field in fields), strict=True)), row, place, keypoints)


def _check_header(path: Path, header: Sequence[str], keypoints: Keypoints) -> None:
    for column in (NAME, *keypoints.columns):
        if column not in header:
            hint = "; divide the fields by commas" if len(header) == 1 and ";" in header[0] else ""
            raise UserError(
                f"{path}: header: column {column!r} of keypoints {keypoints.name} is missing; add it (with empty "
                f"fields where nobody labelled), or choose the file's scheme with keypoints=NAME{hint}"
            )
    known = [NAME, SOURCE, *BOX, *keypoints.columns]
    for column in header:
        if column not in known:
            raise UserError(
                f"{path}: header: column {column!r} is no point of keypoints {keypoints.name}, nor {NAME}, {SOURCE}, "
                f"{', '.join(BOX)}; remove it, or choose the file's scheme with keypoints=NAME"
            )
        if header.count(column) > 1:
            raise UserError(f"{path}: header: column {column!r} stands {header.count(column)} times; leave one")
    given = [column for column in BOX if column in header]
    if given and len(given) < len(BOX):
        lacking = next(column for column in BOX if column not in header)
        raise UserError(f"{path}: header: column {lacking!r} is missing beside {given[0]}; give all four or none")


def _face(fields: dict[str, str], row: int, place: str, keypoints: Keypoints) -> LabelledFace:
    if not fields[NAME]:
        raise UserError(f"{place}, {NAME}: is empty; give the photo's path relative to data.images")
    points = np.array([_number(fields, column, place) for column in keypoints.columns]).reshape(-1, 2)
    half = np.isnan(points).any(axis=1) & ~np.isnan(points).all(axis=1)
    if half.any():
        name = keypoints.names[int(half.argmax())]
        raise UserError(f"{place}, {name}: only one of {name}_x and {name}_y is given; give both or none")
    return LabelledFace(fields[NAME], points, _box(fields, place), _source(fields, place, keypoints), row, place)


def _number(fields: dict[str, str], column: str, place: str) -> float:
    """Pixels, or NaN for an empty field."""
    text = fields[column]
    if not text:
        return math.nan
    try:
        value = float(text) if "_" not in text else math.nan  # Python reads 1_0 as 10
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        way_out = "write a number, or leave the field empty where nobody labelled"
        raise UserError(f"{place}, {column}: {text[:40]!r} is no coordinate; {way_out}")
    return value


def _box(fields: dict[str, str], place: str) -> tuple[float, float, float, float] | None:
    if not any(fields.get(column) for column in BOX):
        return None
    left, top, right, bottom = (_number(fields, column, place) for column in BOX)
    if any(map(math.isnan, (left, top, right, bottom))):
        raise UserError(f"{place}, {BOX[0]}: only some of {', '.join(BOX)} are given; give all four or none")
    return left, top, right, bottom


def _source(fields: dict[str, str], place: str, keypoints: Keypoints) -> int:
    """Index of the labelling convention; the first one's where none is named."""
    name = fields.get(SOURCE) or keypoints.source_names[0]
    if name not in keypoints.source_names:
        known = ", ".join(keypoints.source_names)
        raise UserError(
            f"{place}, {SOURCE}: {name!r} is no source of keypoints {keypoints.name}; choose one of {known}"
        )
    return keypoints.source_names.index(name)
