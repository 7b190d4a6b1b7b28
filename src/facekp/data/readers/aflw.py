"""``data=aflw``: AFLW's database ``aflw.sqlite``, with up to 21 visible points of each face.

Tables and columns are those of AFLW's own tools (``facedbsql``), see `NEEDED` and `OPTIONAL`. A hidden point has no
row. Pixels count from 0: the tools draw points and rectangles with OpenCV, at their coordinates.

AFLW's left is the left of the image: where its tools calculate the upward direction of a face, ``RightEye`` lies to the
right of ``LeftEye``. So ``LeftEyeCenter`` is the person's right eye, which facekp calls right.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.untrusted import check_regular
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of, shown
from facekp.data.labels.point_names import PointLabel, index_by_name, place_points
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

log = logging.getLogger(__name__)

POINTS = {  # AFLW's names, by the side of the image, in its order: facekp's names, by the person's side
    "LeftBrowLeftCorner": "right_eyebrow_outer_end",
    "LeftBrowCenter": "right_eyebrow_center",
    "LeftBrowRightCorner": "right_eyebrow_inner_end",
    "RightBrowLeftCorner": "left_eyebrow_inner_end",
    "RightBrowCenter": "left_eyebrow_center",
    "RightBrowRightCorner": "left_eyebrow_outer_end",
    "LeftEyeLeftCorner": "right_eye_outer_corner",
    "LeftEyeCenter": "right_eye_center",
    "LeftEyeRightCorner": "right_eye_inner_corner",
    "RightEyeLeftCorner": "left_eye_inner_corner",
    "RightEyeCenter": "left_eye_center",
    "RightEyeRightCorner": "left_eye_outer_corner",
    "NoseLeft": "nose_right",
    "NoseCenter": "nose_tip",
    "NoseRight": "nose_left",
    "MouthLeftCorner": "mouth_right_corner",
    "MouthCenter": "mouth_center",
    "MouthRightCorner": "mouth_left_corner",
    "ChinCenter": "chin",
}
EARS = {"LeftEar": "right_ear", "RightEar": "left_ear"}  # points that a scheme may lack
ALL = POINTS | EARS
NO_POINT = (-1, -1)  # coordinates that AFLW's tools give a point without a label
ATTRIBUTES: dict[str, dict[Any, str]] = {  # columns of FaceMetadata, and the words for their values
    "sex": {"m": "male", "f": "female"},
    "occluded": {0: "0", 1: "1"},
    "glasses": {0: "0", 1: "1"},
}
FOLDERS = ("", "flickr/", "data/flickr/", "aflw/data/flickr/")  # in which filepath is, from the photos' folder
NEEDED = {
    "Faces": "face_id, file_id, db_id",
    "FaceImages": "db_id, file_id, filepath",
    "FeatureCoordTypes": "feature_id, descr",
    "FeatureCoords": "face_id, feature_id, x, y",
}
OPTIONAL = {
    "FaceRect": "face_id, x, y, w, h, annot_type_id",
    "FaceMetadata": f"face_id, {', '.join(ATTRIBUTES)}",
}
MAGIC = b"SQLite format 3\0"  # first bytes of the file
ENDINGS = (".sqlite", ".sqlite3", ".db")
MAX_FILE_BYTES = 2**30
MAX_VALUE_BYTES = 2**20  # of a text in the file
STEPS = 100_000  # of SQLite's machine between two looks at the number of steps
MAX_STEPS = 50_000_000  # of one table; 21 points of each of AFLW's 25,993 faces take 4.4 million, as counted


class AflwSettings(PhotoDataSettings):
    """``data=aflw``; ``images`` is the folder ``flickr`` or one above it."""


class Tables(NamedTuple):
    """What the file says, by its ids, which a damaged file may hold in any type.

    Attributes:
        faces: face, file and database.
        photos: paths of the photos, by database and file; one, unless the file contradicts itself.
        types: AFLW's name of each point.
        coords: point, x and y, by face.
        boxes: x, y, width and height, by face.
        attributes: values of `ATTRIBUTES`, by face.
    """

    faces: list[tuple[Any, Any, Any]]
    photos: Mapping[tuple[Any, Any], set[Any]]
    types: dict[Any, Any]
    coords: Mapping[Any, list[tuple[Any, Any, Any]]]
    boxes: dict[Any, tuple[Any, ...]]
    attributes: dict[Any, tuple[Any, ...]]


@READERS.register("aflw")
def read_aflw(settings: AflwSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read all faces with points; ``row`` of a face is its face_id.

    Raises:
        UserError: the first fault of the file.
    """
    path = settings.label_file
    tables = _read(path)
    index = _index(tables, keypoints, path)
    prefix = _prefix(tables.photos.values(), Path(settings.images).expanduser())

    def parse(face: tuple[Any, Any, Any]) -> LabelledFace | None:
        face_id, file_id, db_id = face
        where = f"{path}: face {shown(face_id)}"
        if face_id not in tables.coords:
            return None
        points = place_points(_labels(tables, face_id, index, where), index, keypoints)
        if np.isnan(points).all():
            return None
        return LabelledFace(
            name=prefix + _photo(tables, db_id, file_id, where),
            points=points,
            box=_box(tables, face_id, where),
            source=0,
            row=_row(face_id, where),
            where=where,
            attributes=_attributes(tables, face_id),
        )

    return collect_faces(tables.faces, parse, path, settings.skip_broken)


@names_points("aflw")
def point_names(path: Path) -> list[str]:
    """The 19 points without the ears, with facekp's names, in AFLW's order."""
    return list(POINTS.values())


@recognises("aflw")
def is_aflw(path: Path, text: str) -> bool:
    """Whether the file is a database of SQLite, by its ending and first bytes."""
    if path.suffix.lower() not in ENDINGS or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _read(path: Path) -> Tables:
    """Read the tables.

    Raises:
        UserError: the file can't be read, or is not AFLW's.
    """
    try:
        import sqlite3
    except ImportError as error:
        raise UserError("data=aflw: needs Python's module sqlite3; install a Python that has it") from error
    try:
        check_regular(path, MAX_FILE_BYTES)
        # Immutable: SQLite writes no files, and reads none but this one.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
            for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}")
            return _tables(connection, path)
    except OSError as error:
        raise UserError(f"data.labels={path}: can't be read ({error.strerror or error})") from error
    except sqlite3.Error as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"data.labels={path}: can't be read as AFLW's database ({reason}); download it again"
        ) from error


def _tables(connection: Any, path: Path) -> Tables:
    # Views and virtual tables have no root page; reading them could run anything that SQLite can.
    found = connection.execute("SELECT lower(name) FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
    present = {name for (name,) in found}
    missing = [name for name in NEEDED if name.lower() not in present]
    if missing:
        raise UserError(f"data.labels={path}: has no table {missing[0]}; give AFLW's aflw.sqlite")

    def rows(table: str, order: str = "") -> Iterator[tuple[Any, ...]]:
        steps = 0

        def is_too_long() -> bool:
            nonlocal steps
            steps += STEPS
            return steps > MAX_STEPS

        connection.set_progress_handler(is_too_long, STEPS)
        columns = (NEEDED | OPTIONAL)[table]
        return iter(connection.execute(f"SELECT {columns} FROM {table} {order}") if table.lower() in present else ())

    photos, coords = defaultdict(set), defaultdict(list)
    for db_id, file_id, filepath in rows("FaceImages"):
        photos[db_id, file_id].add(filepath)
    for face_id, *point in rows("FeatureCoords"):
        coords[face_id].append(tuple(point))
    boxes: dict[Any, tuple[Any, ...]] = {}
    for face_id, *box, _ in rows("FaceRect", "ORDER BY annot_type_id"):
        boxes.setdefault(face_id, tuple(box))
    return Tables(
        faces=list(rows("Faces")),
        photos=photos,
        types=dict(rows("FeatureCoordTypes")),
        coords=coords,
        boxes=boxes,
        attributes={face_id: tuple(values) for face_id, *values in rows("FaceMetadata")},
    )


def _index(tables: Tables, keypoints: Keypoints, path: Path) -> dict[str, int]:
    """The scheme's index of each of its points, by facekp's name; a log line if the scheme lacks some of AFLW's.

    Raises:
        UserError: the scheme has others than AFLW's points, or lacks more than the ears.
    """
    ears = [name for name in EARS.values() if name in keypoints.names]
    index = index_by_name([*POINTS.values(), *ears], keypoints, str(path))
    used = {tables.types.get(feature) for coords in tables.coords.values() for feature, _, _ in coords}
    if left_out := [name for name, point in EARS.items() if name in used and point not in index]:
        log.info("%s: %s left out, which keypoints %s lacks", path, " and ".join(left_out), keypoints.name)
    return index


def _labels(tables: Tables, face_id: Any, index: Mapping[str, int], where: str) -> Iterator[PointLabel]:
    for feature_id, x, y in tables.coords[face_id]:
        name = tables.types.get(feature_id)
        if name not in ALL:
            raise UserError(
                f"{where}: feature_id {shown(feature_id)}, which is {shown(name)} in FeatureCoordTypes, is not one of "
                "AFLW's points; remove it"
            )
        if ALL[name] in index and (x, y) != NO_POINT:
            place = f"{where}, {name}"
            yield PointLabel(ALL[name], _number(x, place), _number(y, place), where)


def _number(value: Any, where: str) -> float:
    number = number_of(value)
    if np.isnan(number):
        raise UserError(f"{where}: {shown(value)} is not a finite number; give pixels of the photo")
    return number


def _photo(tables: Tables, db_id: Any, file_id: Any, where: str) -> str:
    names = tables.photos.get((db_id, file_id), set())
    if len(names) != 1:
        fault = "has no photo" if not names else f"has {len(names)} photos"
        raise UserError(f"{where}: its file_id {shown(file_id)} {fault} in FaceImages; keep one for each file_id")
    (name,) = names
    if not isinstance(name, str) or not name:
        raise UserError(f"{where}: its filepath in FaceImages is {shown(name)}; give the photo's path")
    return name


def _box(tables: Tables, face_id: Any, where: str) -> tuple[float, float, float, float] | None:
    if face_id not in tables.boxes:
        return None
    left, top, width, height = (_number(value, f"{where}, FaceRect") for value in tables.boxes[face_id])
    return left, top, left + width, top + height


def _row(face_id: Any, where: str) -> int:
    if not isinstance(face_id, int):
        raise UserError(f"{where}: its face_id is not a whole number; correct it")
    return face_id


def _attributes(tables: Tables, face_id: Any) -> dict[str, str]:
    """The words for what is stated; AFLW leaves out sex where it is unknown."""
    values = zip(ATTRIBUTES.items(), tables.attributes.get(face_id, ()), strict=False)
    return {name: words[value] for (name, words), value in values if value in words}


def _prefix(photos: Iterable[set[Any]], folder: Path) -> str:
    """The first of `FOLDERS` that has one of the photos; "" if none has."""
    names = {name for names in photos for name in names if isinstance(name, str)}
    found = (prefix for prefix in FOLDERS if any(os.path.isfile(folder / f"{prefix}{name}") for name in names))
    return next(found, "")
