"""``data=folder``: photos, and a CSV with any number of points, of photos of any sizes, with several faces per photo.

The CSV is separated by commas, semicolons or tabs, in UTF-8, UTF-16 or UTF-32, plain or compressed
(`facekp.data.labels.text`).
Each line is a face:

- ``name``: path of the photo, relative to the photos' folder;
- ``<point>_x`` and ``<point>_y`` for every point of the scheme, in pixels of the photo; empty if not labelled;
- optional ``box_x0``, ``box_y0``, ``box_x1``, ``box_y1``: edges of the face's box in pixels, all four or none;
- optional ``source``: name of the labelling convention;
- optional ``<point>_v``: COCO's visibility of a point: 1 labelled but hidden, 2 in view, 0 or empty: not stated;
- optional ``attribute_<name>``: a subset that the face belongs to, such as ``large`` for ``attribute_pose``.

A first column of line numbers, which pandas writes without a name, is ignored.

A fault in the file is one `UserError` that names file, line, column and value, and says how to fix it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from unicodedata import normalize

import numpy as np

from facekp.core.csv_cells import original
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of
from facekp.data.labels.point_names import SCHEME
from facekp.data.labels.text import CsvText, header_of, read_csv
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

NAME, SOURCE = "name", "source"
BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
ATTRIBUTE = "attribute_"  # before the name of a subset
VISIBLE = (0, 1, 2)
INDEX = ("", "Unnamed: 0")  # names of pandas' line numbers: as it writes them, and as it writes them again


class FolderSettings(PhotoDataSettings):
    """``data=folder``."""

    boxes_have_sizes: ClassVar[bool] = False


@READERS.register("folder")
def read_photo_csv(settings: FolderSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read all faces of a CSV; ``row`` of a face counts from 1 after the header.

    Raises:
        UserError: the first fault of the file.
    """
    path = settings.label_file
    text = read_csv(path)
    columns = {normalize("NFC", column): column for column in (*keypoints.columns, *_visible_columns(keypoints))}
    names = [original(name) for name in text.header]
    text = replace(text, header=[columns.get(normalize("NFC", name), name) for name in names])
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
    if len(header) < 2:
        first = f"has one column only, {header[0][:40]!r}" if header else "is empty"
        raise UserError(f"{path}: header: {first}; separate columns by commas, semicolons or tabs")
    for column in (NAME, *keypoints.columns):
        if column not in header:
            raise UserError(
                f"{path}: header: column {column!r} of keypoints {keypoints.name} is missing; add it (with empty "
                f"fields where it is not labelled), or choose {SCHEME} of the file's scheme"
            )
    known = {NAME, SOURCE, *BOX, *keypoints.columns, *_visible_columns(keypoints)}
    for column in header[header[0] in INDEX :]:
        if column not in known and not column.startswith(ATTRIBUTE):
            raise UserError(
                f"{path}: header: column {column!r} is not a point of keypoints {keypoints.name}, nor {NAME}, "
                f"{SOURCE}, {', '.join(BOX)}; remove it, choose {SCHEME} of the file's scheme, or call it "
                f"{ATTRIBUTE}{column} if its values are subsets of faces"
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
        name=original(fields[NAME]),
        points=points,
        box=_parse_box(fields, where),
        source=_parse_source(fields, where, keypoints),
        row=row,
        where=where,
        attributes={
            column.removeprefix(ATTRIBUTE): original(text)
            for column, text in fields.items()
            if column.startswith(ATTRIBUTE) and text
        },
        visible=_parse_visible(fields, where, points, keypoints),
    )


def _visible_columns(keypoints: Keypoints) -> list[str]:
    return [f"{name}_v" for name in keypoints.names]


def _parse_visible(fields: dict[str, str], where: str, points: np.ndarray, keypoints: Keypoints) -> np.ndarray | None:
    """COCO's v, uint8 (K,); 2 for a labelled point whose field is empty or 0; None without such columns."""
    columns = _visible_columns(keypoints)
    if not any(column in fields for column in columns):
        return None
    stated = {column: number_of(fields.get(column) or "0") for column in columns}  # pandas may write 2.0
    for column, number in stated.items():
        if number not in VISIBLE:
            text = fields[column][:40]
            raise UserError(f"{where}, {column}: {text!r} is not a visibility; write 1 (hidden), 2 (in view) or 0")
    visible = np.array(list(stated.values()), np.uint8)
    return np.where(np.isnan(points[:, 0]), 0, np.where(visible == 0, 2, visible)).astype(np.uint8)


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


@names_points("folder")
def point_names(path: Path) -> list[str]:
    """The points that the header has columns of."""
    header = [original(name) for name in read_csv(path).header]
    return [name.removesuffix("_x") for name in header if name.endswith("_x") and f"{name[:-2]}_y" in header]


@recognises("folder")
def is_photo_csv(path: Path, text: str) -> bool:
    """Whether the header has a column ``name`` and columns of a point."""
    fields = [original(name) for name in header_of(text, path)]
    return NAME in fields and any(name.endswith("_x") and f"{name[:-2]}_y" in fields for name in fields)
