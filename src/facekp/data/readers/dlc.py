"""``data=dlc``: DeepLabCut's CSV of labelled frames, of one animal or several.

Header rows name ``scorer``, ``individuals`` (of several animals only), ``bodyparts`` and ``coords``; each line is a
frame. Its path is a column (``labeled-data/mouse/img01.png``) or three. ``labels`` may also be a folder: every
``CollectedData*.csv`` below it is read. DeepLabCut shows photos with pixel centres at integers, as here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.labels.checks import are_alike
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of
from facekp.data.labels.photo_names import is_file
from facekp.data.labels.point_names import PointLabel, index_by_name, place_points
from facekp.data.labels.text import CsvText, header_of, read_csv
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

FILES = "CollectedData*.csv"
HEADERS = ("scorer", "individuals", "bodyparts", "coords")
UNIQUE = "single"  # DeepLabCut's individual for body parts that belong to no animal


class DlcSettings(PhotoDataSettings):
    """``data=dlc``; ``labels`` is a CSV, or a folder with several (``labeled-data``)."""


class Columns(NamedTuple):
    """What the columns of a file hold.

    Attributes:
        path: number of columns with the frame's path.
        of_points: columns of x and y, by individual and body part; the individual is "" in files of one animal.
    """

    path: int
    of_points: dict[str, dict[str, dict[str, int]]]

    def names(self) -> list[str]:
        """The body parts in the order of the file."""
        return list(dict.fromkeys(part for parts in self.of_points.values() for part in parts))


@dataclass(frozen=True)
class Entry:
    """An animal in a frame: its place in the file, the frame's path, and where its points are in the line's fields."""

    where: str
    frame: str
    individual: str
    fields: Sequence[str]
    columns: dict[str, dict[str, int]]
    index: dict[str, int]


@READERS.register("dlc")
def read_dlc(settings: DlcSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each animal in each frame; ``row`` counts them from 1.

    Raises:
        UserError: the first fault of a file.
    """
    entries = [entry for path in _files(settings.label_file) for entry in _entries(path, keypoints)]
    above = _folders_above(entries, Path(settings.images).expanduser())
    first: dict[tuple[PurePosixPath, str], LabelledFace] = {}

    def parse(numbered: tuple[int, Entry]) -> LabelledFace | None:
        row, entry = numbered
        points = place_points(_labels(entry), entry.index, keypoints)
        if np.isnan(points).all():
            return None
        photo = PurePosixPath(*PurePosixPath(entry.frame).parts[above:])
        face = LabelledFace(str(photo), points, None, 0, row, entry.where, attributes=_attributes(entry))
        same = first.setdefault((photo, entry.individual), face)
        if not are_alike(same.points[None], points[None]).all():
            raise UserError(
                f"{entry.where}: {entry.frame} has other points in {same.where}; remove one of the two, or name one "
                "file as data.labels"
            )
        return face

    return collect_faces(enumerate(entries, start=1), parse, settings.label_file, settings.skip_broken)


@names_points("dlc")
def point_names(path: Path) -> list[str]:
    """The body parts of the first file."""
    first = _files(path)[0]
    return _columns(read_csv(first), first).names()


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob(FILES))
    if not files:
        raise UserError(f"data.labels={path}: holds no {FILES}; give DeepLabCut's CSV, or its folder labeled-data")
    return files


def _entries(path: Path, keypoints: Keypoints) -> Iterator[Entry]:
    text = read_csv(path)
    columns = _columns(text, path)
    index = index_by_name(columns.names(), keypoints, str(path))
    for line, fields in text.rows:
        if text.decimal_comma:
            numbers = [field.replace(",", ".") for field in fields[columns.path :]]
            fields = [*fields[: columns.path], *numbers]
        frame = "/".join(fields[: columns.path]).replace("\\", "/").lstrip("/")  # compared by its last folders
        for individual, points in columns.of_points.items():
            where = f"{path}: line {line}" + (f", {individual}" if individual else "")
            yield Entry(where, frame, individual, fields, points, index)


def _columns(text: CsvText, path: Path) -> Columns:
    """Read the header rows.

    Raises:
        UserError: they are not DeepLabCut's.
    """
    rows = {text.header[0].lower(): text.header} if text.header else {}
    for _, fields in islice(text.rows, len(HEADERS) - 1):
        rows[fields[0].lower()] = fields
        if fields[0].lower() == "coords":
            break
    if not {"bodyparts", "coords"} <= rows.keys() or len({len(row) for row in rows.values()}) > 1:
        raise UserError(
            f"{path}: is not a DeepLabCut CSV; its first rows start with {', '.join(HEADERS)} (individuals only with "
            "several animals), and have equally many fields"
        )
    coords = [text.lower() for text in rows["coords"]]
    first = next((i for i, axis in enumerate(coords) if axis == "x"), len(coords))
    points: dict[str, dict[str, dict[str, int]]] = {}
    for i in range(first, len(coords)):
        individual = rows["individuals"][i] if "individuals" in rows else ""
        if coords[i] in ("x", "y"):  # not likelihood, which predictions have
            axes = points.setdefault(individual, {}).setdefault(rows["bodyparts"][i], {})
            if coords[i] in axes:
                of = f"body part {rows['bodyparts'][i]!r}" + (f" of {individual}" if individual else "")
                raise UserError(f"{path}: {of} has two columns {coords[i]}; keep one")
            axes[coords[i]] = i
    if len(points) > 1:
        points.pop(UNIQUE, None)
    for parts in points.values():
        for name, axes in parts.items():
            if len(axes) < 2:
                raise UserError(
                    f"{path}: coords: body part {name!r} has no column {'y' if 'x' in axes else 'x'}; add it"
                )
    return Columns(first, points)


def _labels(entry: Entry) -> Iterator[PointLabel]:
    for name, columns in entry.columns.items():
        texts = [entry.fields[columns[axis]] if columns[axis] < len(entry.fields) else None for axis in "xy"]
        if all(text in ("", "nan", "NaN") for text in texts):
            continue
        x, y = map(number_of, texts)
        if np.isnan([x, y]).any():
            shown = ", ".join("no field" if text is None else repr(text[:20]) for text in texts)
            raise UserError(f"{entry.where}, {name}: {shown} are not x and y; give two numbers, or leave both empty")
        yield PointLabel(name, x, y, entry.where)


def _folders_above(entries: Sequence[Entry], images: Path) -> int:
    """How many leading folders of the frames' paths are not below the photos' folder, but above it."""
    frames = [PurePosixPath(entry.frame) for entry in entries]
    common = len(PurePosixPath(os.path.commonpath([frame.parent for frame in frames])).parts) if frames else 0
    for above in range(common + 1):
        if any(is_file(images, str(PurePosixPath(*frame.parts[above:]))) for frame in frames):
            return above
    return 0


def _attributes(entry: Entry) -> dict[str, str]:
    """The video that a frame is from, which is its folder, and the animal."""
    folder = PurePosixPath(entry.frame).parent.name
    video = {"video": folder} if folder not in ("", "labeled-data") else {}
    return {**video, **({"individual": entry.individual} if entry.individual else {})}


@recognises("dlc")
def is_dlc(path: Path, text: str) -> bool:
    """Whether the first header row is ``scorer``, or the path is a folder with such files."""
    is_folder = path.is_dir() and next(path.rglob(FILES), None) is not None
    return is_folder or [name.lower() for name in header_of(text, path)[:1]] == [HEADERS[0]]
