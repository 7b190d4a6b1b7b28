"""``data=wflw``: WFLW's lists, a line for each face.

A line holds x and y of every point, in the scheme's order, the face's box (left, top, right, bottom), six flags, and
the photo's name. Lists without boxes and flags are read too. Coordinates are used unchanged: pixels, counted from 0.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.images import photo_endings
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of, numbers_of
from facekp.data.labels.point_names import SCHEME
from facekp.data.labels.text import read_fields
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

FLAGS = {  # in the order of a line; the words for 0 and 1
    "pose": ("normal", "large"),
    "expression": ("normal", "exaggerated"),
    "illumination": ("normal", "extreme"),
    "make-up": ("no", "yes"),
    "occlusion": ("no", "yes"),
    "blur": ("no", "yes"),
}
EXPECTED = "coordinates, then the photo's name"
EXTRA = 4 + len(FLAGS)  # fields of the box and the flags


class WflwSettings(PhotoDataSettings):
    """``data=wflw``."""

    boxes_have_sizes: ClassVar[bool] = False


@READERS.register("wflw")
def read_wflw(settings: WflwSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read the faces of a list; ``row`` of a face is its line, from 1.

    Raises:
        UserError: the first fault of the file.
    """
    path = settings.label_file

    def parse(line: tuple[int, list[str]]) -> LabelledFace:
        number, fields = line
        return _parse_face(fields, number, f"{path}: line {number}", keypoints)

    return collect_faces(read_fields(path), parse, path, settings.skip_broken)


@names_points("wflw")
def point_names(path: Path) -> list[str]:
    """As many numbers as the first line has points."""
    fields = _with_blanks_in_name(next(read_fields(path), (1, []))[1])
    has_flags = len(fields) > EXTRA and set(fields[-1 - len(FLAGS) : -1]) <= {"0", "1"}
    return [str(number) for number in range((len(fields) - 1 - has_flags * EXTRA) // 2)]


def _parse_face(fields: list[str], row: int, where: str, keypoints: Keypoints) -> LabelledFace:
    points = 2 * len(keypoints.names)
    given, lengths = len(fields), (points + 1, points + EXTRA + 1)
    if given not in lengths:
        fields = _with_blanks_in_name(fields)
    if len(fields) not in lengths:
        raise UserError(
            f"{where}: {given} fields, but keypoints {keypoints.name} has {points} coordinates: give "
            f"{points + 1}, or {points + EXTRA + 1} with box and flags, or choose {SCHEME} of the list's scheme"
        )
    coordinates = np.array(numbers_of(fields[:points], where, EXPECTED)).reshape(-1, 2)
    rest = fields[points:-1]
    left, top, right, bottom = numbers_of(rest[:4], where, EXPECTED) if rest else [np.nan] * 4
    return LabelledFace(
        name=fields[-1],
        points=coordinates,
        box=(left, top, right, bottom) if rest else None,
        source=0,
        row=row,
        where=where,
        attributes=_parse_flags(rest[4:], where),
    )


def _with_blanks_in_name(fields: list[str]) -> list[str]:
    """The fields with all those after the leading numbers as one: the photo's name may hold blanks."""
    numbers = next((i for i, field in enumerate(fields[:-1]) if math.isnan(number_of(field))), len(fields) - 1)
    name = " ".join(fields[numbers:])
    is_photo = Path(name).suffix.lower() in photo_endings()
    return [*fields[:numbers], name] if is_photo else fields


def _parse_flags(fields: list[str], where: str) -> dict[str, str]:
    flags = {}
    for (name, words), field in zip(FLAGS.items() if fields else (), fields, strict=True):
        if field not in ("0", "1"):
            raise UserError(f"{where}, {name}: {field[:40]!r} is not a flag; write 0 or 1")
        flags[name] = words[int(field)]
    return flags


@recognises("wflw")
def is_wflw(path: Path, text: str) -> bool:
    """Whether the first line has pairs of numbers, separated by blanks, and then a name."""
    fields = _with_blanks_in_name(text.strip().partition("\n")[0].split())
    are_numbers = [not math.isnan(number_of(field)) for field in fields]
    return len(fields) > 4 and len(fields) % 2 == 1 and all(are_numbers[:-1]) and not are_numbers[-1]
