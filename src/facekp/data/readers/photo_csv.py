"""``data=folder``: photos, and a CSV with any number of points, of photos of any sizes, with several faces per photo.

The CSV is separated by commas, semicolons or tabs, in UTF-8 or UTF-16, plain or compressed (`facekp.data.label_text`).
Each line is a face:

- ``name``: path of the photo, relative to the photos' folder;
- ``<point>_x`` and ``<point>_y`` for every point of the scheme, in pixels of the photo; empty if not labelled;
- optional ``box_x0``, ``box_y0``, ``box_x1``, ``box_y1``: edges of the face's box in pixels, all four or none;
- optional ``source``: name of the labelling convention.

A fault in the file is one `UserError` that names file, line, column and value, and says how to fix it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.label_faults import collect_faces
from facekp.data.label_text import CsvText, read_csv
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings

NAME, SOURCE = "name", "source"
BOX = ("box_x0", "box_y0", "box_x1", "box_y1")


class FolderSettings(PhotoDataSettings):
    """``data=folder``."""


@READERS.register("folder")
def read_photo_csv(settings: FolderSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read all faces of a CSV; ``row`` of a face counts from 1 after the header.

    Raises:
        UserError: the first fault of the file.
    """
    path = settings.label_file
    text = read_csv(path)
    _check_header(path, text.header, keypoints)

    def parse(entry: tuple[int, tuple[int, list[str]]]) -> LabelledFace:
        row, (line, fields) = entry
        where = f"{path}: line {line}"
        return _parse_face(_by_column(fields, text, where, keypoints), row, where, keypoints)

    return collect_faces(enumerate(text.rows, start=1), parse, path, settings.skip_broken)


def _by_column(fields: list[str], text: CsvText, where: str, keypoints: Keypoints) -> dict[str, str]:
    header = text.header
    if len(fields) != len(header):
        raise UserError(
            f"{where}: {len(fields)} fields, but the header has {len(header)} columns; give one field per column"
        )
    if text.decimal_comma:
        numbers = (*BOX, *keypoints.columns)
        fields = [f.replace(",", ".") if name in numbers else f for name, f in zip(header, fields, strict=True)]
    return dict(zip(header, fields, strict=True))


def _check_header(path: Path, header: Sequence[str], keypoints: Keypoints) -> None:
    for column in (NAME, *keypoints.columns):
        if column not in header:
            raise UserError(
                f"{path}: header: column {column!r} of keypoints {keypoints.name} is missing; add it (with empty "
                f"fields where it is not labelled), or choose the file's scheme with keypoints=NAME"
            )
    known = [NAME, SOURCE, *BOX, *keypoints.columns]
    for column in header:
        if column not in known:
            raise UserError(
                f"{path}: header: column {column!r} is not a point of keypoints {keypoints.name}, nor {NAME}, "
                f"{SOURCE}, {', '.join(BOX)}; remove it, or choose the file's scheme with keypoints=NAME"
            )
        if header.count(column) > 1:
            raise UserError(f"{path}: header: column {column!r} occurs {header.count(column)} times; keep one")
    given = [column for column in BOX if column in header]
    if given and len(given) < len(BOX):
        missing = next(column for column in BOX if column not in header)
        raise UserError(f"{path}: header: column {missing!r} is missing beside {given[0]}; give all four or none")


def _parse_face(fields: dict[str, str], row: int, where: str, keypoints: Keypoints) -> LabelledFace:
    if not fields[NAME]:
        raise UserError(f"{where}, {NAME}: is empty; give the photo's path relative to data.images")
    points = np.array([_parse_number(fields, column, where) for column in keypoints.columns]).reshape(-1, 2)
    half = np.isnan(points).any(axis=1) & ~np.isnan(points).all(axis=1)
    if half.any():
        name = keypoints.names[int(half.argmax())]
        raise UserError(f"{where}, {name}: only one of {name}_x and {name}_y is given; give both or none")
    return LabelledFace(
        name=fields[NAME],
        points=points,
        box=_parse_box(fields, where),
        source=_parse_source(fields, where, keypoints),
        row=row,
        where=where,
    )


def _parse_number(fields: dict[str, str], column: str, where: str) -> float:
    """Pixels; NaN for an empty field."""
    text = fields[column]
    if not text:
        return math.nan
    try:
        value = float(text) if "_" not in text else math.nan  # Python reads 1_0 as 10
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        fix = "write a number, or leave the field empty where the point is not labelled"
        raise UserError(f"{where}, {column}: {text[:40]!r} is not a valid coordinate; {fix}")
    return value


def _parse_box(fields: dict[str, str], where: str) -> tuple[float, float, float, float] | None:
    if not any(fields.get(column) for column in BOX):
        return None
    left, top, right, bottom = (_parse_number(fields, column, where) for column in BOX)
    if any(map(math.isnan, (left, top, right, bottom))):
        raise UserError(f"{where}, {BOX[0]}: only some of {', '.join(BOX)} are given; give all four or none")
    return left, top, right, bottom


def _parse_source(fields: dict[str, str], where: str, keypoints: Keypoints) -> int:
    """Index of the labelling convention; 0 where the field is empty or missing."""
    name = fields.get(SOURCE) or keypoints.source_names[0]
    if name not in keypoints.source_names:
        known = ", ".join(keypoints.source_names)
        raise UserError(
            f"{where}, {SOURCE}: {name!r} is not a source of keypoints {keypoints.name}; choose one of {known}"
        )
    return keypoints.source_names.index(name)
