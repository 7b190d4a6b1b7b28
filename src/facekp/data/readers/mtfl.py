r"""``data=mtfl``: the lists of MTFL (training.txt, testing.txt), a line for each face with five points.

::

    lfw_5590\Aaron_Eckhart_0001.jpg 107.25 147.75 126.25 106.25 140.75 108.75 113.25 143.75 158.75 162.75 1 2 2 3

A line has the photo, x of the five points, their y, and gender, smile, glasses and head pose as numbers from 1.
MTFL's left is the left of the image: its left eye is the person's right one, which facekp calls right. Coordinates are
used unchanged.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.images import photo_endings
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of, numbers_of
from facekp.data.labels.point_names import index_by_name
from facekp.data.labels.text import read_fields
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

POINTS = (  # facekp's names, by the person's side, in the order of a line
    "right_eye_center",
    "left_eye_center",
    "nose_tip",
    "mouth_right_corner",
    "mouth_left_corner",
)
ATTRIBUTES = {  # in the order of a line; the words for 1, 2 and so on
    "gender": ("male", "female"),
    "smile": ("yes", "no"),
    "glasses": ("yes", "no"),
    "pose": ("left profile", "left", "frontal", "right", "right profile"),
}
VALUES = 2 * len(POINTS)  # of the points on a line
FIELDS = 1 + VALUES + len(ATTRIBUTES)


@READERS.register("mtfl")
def read_mtfl(settings: PhotoDataSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read the faces of a list; ``row`` of a face is its line, from 1.

    Raises:
        UserError: the first fault of the list.
    """
    path = settings.label_file
    index = index_by_name(POINTS, keypoints, str(path))
    order = [index[name] for name in POINTS]

    def parse(line: tuple[int, list[str]]) -> LabelledFace:
        number, fields = line
        where = f"{path}: line {number}"
        if len(fields) != FIELDS:
            raise UserError(
                f"{where}: {len(fields)} fields, but MTFL has {FIELDS}: the photo, {VALUES} coordinates, "
                f"{', '.join(ATTRIBUTES)}; correct the line"
            )
        points = np.empty((len(POINTS), 2))
        points[order] = np.reshape(numbers_of(fields[1 : 1 + VALUES], where, "x of the five points, then y"), (2, -1)).T
        name, attributes = fields[0].replace("\\", "/"), _attributes(fields[1 + VALUES :], where)
        return LabelledFace(name, points, None, 0, number, where, attributes=attributes)

    return collect_faces(read_fields(path), parse, path, settings.skip_broken)


@names_points("mtfl")
def point_names(path: Path) -> list[str]:
    """The five points with facekp's names, in the order of a line."""
    return list(POINTS)


@recognises("mtfl")
def is_mtfl(path: Path, text: str) -> bool:
    """Whether the first line has a photo, ten coordinates and four numbers of attributes."""
    fields = text.lstrip().partition("\n")[0].split()
    if len(fields) != FIELDS or Path(fields[0]).suffix.lower() not in photo_endings():
        return False
    values, attributes = fields[1 : 1 + VALUES], fields[1 + VALUES :]
    return not np.isnan([number_of(field) for field in values]).any() and all(map(str.isdecimal, attributes))


def _attributes(fields: list[str], where: str) -> dict[str, str]:
    attributes = {}
    for (name, words), field in zip(ATTRIBUTES.items(), fields, strict=True):
        numbers = {str(number): word for number, word in enumerate(words, start=1)}
        if field not in numbers:
            raise UserError(f"{where}, {name}: {field[:40]!r} is not a value; write 1 to {len(words)}")
        attributes[name] = numbers[field]
    return attributes
