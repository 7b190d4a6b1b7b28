"""``data=celeba``: CelebA's lists of landmarks, of the aligned photos or of those in the wild, as text or as CSV.

::

    202599
    lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y
    000001.jpg  69  109  106  113   77  142   73  152  108  154

Each line is a photo, which shows one face. The first line, the number of the others, may be absent. A CSV has a column
``image_id`` before these.

CelebA's left is the left of the image: ``lefteye`` is the person's right eye, which facekp calls right. Coordinates are
used unchanged: CelebA-HQ, made from the same lists, takes an integer for a pixel centre, too. Boxes, attributes and the
partition are in lists of the same form.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import FilePath
from facekp.data.images import photo_endings
from facekp.data.labels.checks import MIN_FACES
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of
from facekp.data.labels.point_names import index_by_name
from facekp.data.labels.text import parse_csv, read_text
from facekp.data.labels.words import SPLIT
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

log = logging.getLogger(__name__)

POINTS = {  # CelebA's names, by the side of the image: facekp's names, by the person's side
    "lefteye": "right_eye_center",
    "righteye": "left_eye_center",
    "nose": "nose_tip",
    "leftmouth": "mouth_right_corner",
    "rightmouth": "mouth_left_corner",
}
COLUMNS = [f"{name}_{axis}" for name in POINTS for axis in "xy"]
BOX = ["x_1", "y_1", "width", "height"]
NAME = "image_id"  # column of the photo's name
SPLITS = {"0": "train", "1": "val", "2": "test"}  # by the number in the partition
FLAGS = {"1": "1", "-1": "0", "0": "0"}  # values of an attribute; some copies have 0 in place of -1
ALIGNED = "list_landmarks_align_celeba"  # name, without endings, of the list of the aligned photos
ALIGNED_SIZE = (178, 218)  # width and height of the aligned photos
MAX_HEAD = 1000  # characters of a list's first two lines


class CelebaSettings(PhotoDataSettings):
    """``data=celeba``; ``labels`` is a list of landmarks.

    Attributes:
        box_list: list_bbox_celeba, which belongs to the photos that are not aligned; None: no boxes.
        attribute_list: list_attr_celeba, whose 40 attributes the faces get; None: none of them.
        partition_list: list_eval_partition, from which the faces get the attribute ``split``; None: none.
    """

    box_list: FilePath | None
    attribute_list: FilePath | None
    partition_list: FilePath | None


@READERS.register("celeba")
def read_celeba(settings: CelebaSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read the faces of a list; ``row`` of a face is its line, from 1.

    Raises:
        UserError: the first fault of a list, or its left and right are exchanged.
    """
    path = settings.label_file
    columns, rows = _read_list(path, COLUMNS)
    order = _columns_of_points(columns, keypoints, path)
    is_aligned = path.name.lower().partition(".")[0] == ALIGNED
    if is_aligned and settings.box_list is not None:
        raise UserError(
            f"data.box_list={settings.box_list}: has boxes in the photos that are not aligned, but {path} is of the "
            "aligned ones; set data.box_list=null"
        )
    boxes, attributes, partition = (
        None if file is None else PhotoList(Path(file).expanduser(), key, names)
        for file, key, names in (
            (settings.box_list, "box_list", BOX),
            (settings.attribute_list, "attribute_list", None),
            (settings.partition_list, "partition_list", ["partition"]),
        )
    )
    line_of: dict[str, int] = {}

    def parse(row: Row) -> LabelledFace:
        where = f"{path}: line {row.line}"
        first = line_of.setdefault(row.name, row.line)
        if first != row.line:
            raise UserError(f"{where}: {row.name} is on line {first} already; keep one of the two lines")
        flags = {} if attributes is None else _flags(attributes, row.name, where)
        split = {} if partition is None else _split(partition, row.name, where)
        return LabelledFace(
            name=row.name,
            points=np.array(_numbers(row.fields(len(columns), path), columns, where))[order],
            box=None if boxes is None else _box(boxes, row.name, where),
            source=0,
            row=row.line,
            where=where,
            size=ALIGNED_SIZE if is_aligned else None,
            attributes=split | flags,
        )

    faces = collect_faces(rows, parse, path, settings.skip_broken)
    _check_sides(faces, keypoints, path)
    return faces


@names_points("celeba")
def point_names(path: Path) -> list[str]:
    """The five points with facekp's names, in CelebA's order."""
    return list(POINTS.values())


@recognises("celeba")
def is_celeba(path: Path, text: str) -> bool:
    """Whether one of the first two lines names the coordinates of the five points."""
    heads = (re.split(r"[\s,;]+", line.strip()) for line in text[:MAX_HEAD].split("\n", 2)[:2])
    return any(sorted(set(head) - {NAME}) == sorted(COLUMNS) for head in heads)


class Row(NamedTuple):
    """A line of a list: its number from 1, the photo's name, and the text after it."""

    line: int
    name: str
    rest: str

    def fields(self, expected: int, path: Path) -> list[str]:
        """The fields after the name.

        Raises:
            UserError: there are more or fewer than expected.
        """
        fields = self.rest.split()
        if len(fields) != expected:
            raise UserError(
                f"{path}: line {self.line}: {len(fields)} fields after the name, but the list has {expected} columns; "
                "give one field for each column"
            )
        return fields


class PhotoList:
    """A list of boxes, of attributes or of the partition.

    Args:
        path: of the list.
        key: the setting that names it, for messages.
        columns: names of its columns; None: it names them itself.

    Raises:
        UserError: it can't be read, has other columns, or names a photo twice.
    """

    def __init__(self, path: Path, key: str, columns: list[str] | None) -> None:
        self.path, self.key = path, key
        self.rows: dict[str, Row] = {}
        try:
            self.columns, rows = _read_list(path, columns)
            for row in rows:
                first = self.rows.setdefault(row.name, row)
                if first is not row:
                    raise UserError(f"{path}: line {row.line}: {row.name} is on line {first.line} already; keep one")
        except UserError as error:
            raise UserError(f"data.{key}={str(error).removeprefix('data.labels=')}") from error

    def find(self, name: str, where: str) -> tuple[list[str], int]:
        """The fields of a photo, and their line.

        Raises:
            UserError: it has no line, or more or fewer fields than the list has columns.
        """
        row = self.rows.get(name)
        if row is None:
            raise UserError(f"{where}: {name} is not in {self.path}; add it there, or set data.{self.key}=null")
        return row.fields(len(self.columns), self.path), row.line


def _read_list(path: Path, columns: list[str] | None) -> tuple[list[str], Iterator[Row]]:
    """The names of the columns after the photo's name, and the rows.

    Args:
        path: of a list with blanks or commas between the fields.
        columns: that it must have, in any order; a list without a header has them in this order. None: any.

    Raises:
        UserError: it can't be read, or has other columns.
    """
    text = read_text(path)
    rows = _csv_rows(text, path) if set(",;") & set(text.partition("\n")[0]) else _blank_rows(text)
    head = list(islice(rows, 2))
    stated = int(head.pop(0).name[:9]) if head and head[0].name.isdecimal() and not head[0].rest else None
    if not head:
        raise UserError(f"data.labels={path}: is empty; give CelebA's list")
    first = head[0]
    has_header = not _is_photo(first.name)
    if not has_header and columns is None:
        raise UserError(f"{path}: line {first.line}: names no columns; give CelebA's list with its header")
    given = [name for name in (first.name, *first.rest.split()) if name != NAME] if has_header else list(columns or ())
    if columns is not None and sorted(given) != sorted(columns):
        raise UserError(
            f"{path}: line {first.line}: its columns are {' '.join(given)[:120]}; give CelebA's list with the columns "
            f"{' '.join(columns)}"
        )
    if len(set(given)) < len(given):
        raise UserError(f"{path}: line {first.line}: a column is duplicated; give CelebA's list")
    return given, _counted(chain(head[1:] if has_header else head, rows), stated, path)


def _is_photo(name: str) -> bool:
    return Path(name).suffix.lower() in photo_endings()


def _blank_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if parts := line.split(maxsplit=1):
            yield Row(number, parts[0], parts[1].rstrip() if len(parts) > 1 else "")


def _csv_rows(text: str, path: Path) -> Iterator[Row]:
    """The header, whose first column is called `NAME` here, and the other rows; a CSV has no blanks in fields."""
    table = parse_csv(text, path)
    name = table.header[0] if table.header else ""
    yield Row(1, name if _is_photo(name) else NAME, " ".join(table.header[1:]))
    for number, (name, *fields) in table.rows:
        yield Row(number, name, " ".join(fields))


def _counted(rows: Iterator[Row], stated: int | None, path: Path) -> Iterator[Row]:
    """The rows; a warning if there are more or fewer than the list states."""
    count = 0
    for row in rows:
        count += 1
        yield row
    if stated is not None and stated != count:
        log.warning("%s: states %d lines, but has %d; if it was cut off, download it again", path, stated, count)


def _columns_of_points(columns: Sequence[str], keypoints: Keypoints, path: Path) -> np.ndarray:
    """int (K, 2): the columns of x and y of each point of the scheme.

    Raises:
        UserError: the scheme has other points.
    """
    index = index_by_name(POINTS.values(), keypoints, str(path))
    order = np.empty((len(POINTS), 2), int)
    for name, point in POINTS.items():
        order[index[point]] = columns.index(f"{name}_x"), columns.index(f"{name}_y")
    return order


def _numbers(fields: Sequence[str], columns: Sequence[str], where: str) -> list[float]:
    values = list(map(number_of, fields))
    if any(map(math.isnan, values)):
        at = next(at for at, value in enumerate(values) if math.isnan(value))
        raise UserError(f"{where}, {columns[at]}: {fields[at][:40]!r} is not a finite number; give pixels of the photo")
    return values


def _box(boxes: PhotoList, name: str, where: str) -> tuple[float, float, float, float] | None:
    """The edges; None for a box without width and height, as CelebA's list has one."""
    fields, line = boxes.find(name, where)
    numbers = _numbers(fields, boxes.columns, f"{boxes.path}: line {line}")
    left, top, width, height = (numbers[boxes.columns.index(column)] for column in BOX)
    return None if width == height == 0 else (left, top, left + width, top + height)


def _flags(attributes: PhotoList, name: str, where: str) -> dict[str, str]:
    fields, line = attributes.find(name, where)
    unknown = set(fields) - FLAGS.keys()
    if unknown:
        at = next(at for at, field in enumerate(fields) if field in unknown)
        raise UserError(
            f"{attributes.path}: line {line}, {attributes.columns[at]}: {fields[at][:40]!r} is not an attribute; "
            "write 1 or -1"
        )
    return dict(zip(attributes.columns, map(FLAGS.__getitem__, fields), strict=True))


def _split(partition: PhotoList, name: str, where: str) -> dict[str, str]:
    (field,), line = partition.find(name, where)
    if field not in SPLITS:
        raise UserError(
            f"{partition.path}: line {line}: {field[:40]!r} is not a part; write 0 (train), 1 (val) or 2 (test)"
        )
    return {SPLIT: SPLITS[field]}


def _check_sides(faces: Sequence[LabelledFace], keypoints: Keypoints, path: Path) -> None:
    """Refuse a list whose left is the person's.

    Raises:
        UserError: in most faces, ``lefteye`` is to the right of ``righteye``.
    """
    left, right = (keypoints.names.index(POINTS[eye]) for eye in ("lefteye", "righteye"))
    exchanged = sum(bool(face.points[left, 0] > face.points[right, 0]) for face in faces)
    if len(faces) >= MIN_FACES and 2 * exchanged > len(faces):
        raise UserError(
            f"{path}: lefteye is to the right of righteye in {exchanged} of {len(faces)} faces, but CelebA's left is "
            "the left of the image; exchange the names lefteye and righteye, leftmouth and rightmouth in the header"
        )
