"""A face from an annotation of a COCO file: points, visibility, box, attributes.

- ``keypoints`` are x, y, v for each point. v = 1: labelled but hidden; 2: in view; 0: not labelled. Three nulls, and
  three negative numbers, are not labelled, either.
- ``bbox`` is x, y, width, height. Without it, ``center`` and ``scale`` give the box, as pose libraries write them.
- ``attributes`` and ``flags``, and other keys with a text or true or false, are the face's attributes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from facekp.core.errors import UserError
from facekp.data.coco.file import CocoFile
from facekp.data.labels.crop_labels import MAX_VALUE_LENGTH
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.json_values import is_short, number_of, short_texts, shown, size_in

SCALE = 200  # pixels of the box's side for a scale of 1
MAX_TEXT_LENGTH = 60  # characters of a text beside the attributes; longer ones are descriptions
SOURCE = "source"  # attribute with the labelling convention, where a scheme has several
NO_ATTRIBUTES = ("id", "image_id", "category_id", "file_name", "caption")  # texts that differ from face to face


class Part:
    """The keys that hold the points and the box of a part of the body.

    Args:
        name: such as ``face``, for ``face_kpts`` and ``face_box`` of a whole-body file; None: ``keypoints``, ``bbox``.
    """

    def __init__(self, name: str | None) -> None:
        self.points, self.box = ("keypoints", "bbox") if name is None else (f"{name}_kpts", f"{name}_box")
        self.valid = None if name is None else f"{name}_valid"

    def is_valid(self, annotation: Mapping[str, Any]) -> bool:
        """Whether the annotation does not say that the part is not labelled."""
        return self.valid is None or annotation.get(self.valid) is not False


def is_crowd(annotation: Mapping[str, Any], where: str) -> bool:
    """Whether an annotation is of a crowd, whose ``iscrowd`` is not 0.

    Raises:
        UserError: ``iscrowd`` is neither a number nor true or false.
    """
    value = annotation.get("iscrowd")
    number = float(value or 0) if value is None or isinstance(value, bool) else number_of(value)
    if math.isnan(number):
        raise UserError(f"{where}: iscrowd is {shown(value)}; write 0 for a face, 1 for a crowd")
    return number != 0


def states_visibility(file: CocoFile, key: str) -> bool:
    """Whether a point of the file has v = 2; otherwise v = 1 means labelled, and what is hidden is not stated."""
    values = (annotation.get(key) for annotation in file.annotations)
    return any(isinstance(v, list) and any(two in v[2::3] for two in (2, "2", "2.0")) for v in values)


def parse_face(
    file: CocoFile, annotation: Mapping[str, Any], order: np.ndarray, part: Part, occluded: bool, row: int
) -> LabelledFace | None:
    """The face of an annotation; None without a labelled point.

    Args:
        file: of the annotation.
        annotation: the entry.
        order: int (K,), the position of each point of the scheme in the annotation's list.
        part: which keys to read.
        occluded: whether points with v = 1 count; False: they are missing.
        row: number of the face.

    Raises:
        UserError: something of it is not valid.
    """
    where = file.where("annotations", annotation)
    points, visible = _parse_points(annotation.get(part.points), where, len(order), part.points)
    if not occluded:
        points = np.where((visible == 1)[:, None], np.nan, points)
    if np.isnan(points).all():
        return None
    photo = file.photo_of(annotation, where)
    return LabelledFace(
        name=photo["file_name"],
        points=points[order],
        box=_parse_box(annotation, part.box, where),
        source=0,
        row=row,
        where=where,
        size=size_in(photo, ("width", "height"), file.where("images", photo)),
        attributes=_attributes(annotation),
        visible=visible[order],
    )


def _parse_points(values: Any, where: str, points: int, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(points, 2) in the file's order, NaN where v is 0, as coordinates mean nothing there; and v, uint8 (points,)."""
    if values is None or values == []:
        return np.full((points, 2), np.nan), np.zeros(points, np.uint8)
    if not isinstance(values, list) or len(values) != 3 * points:
        what = f"{len(values)} values" if isinstance(values, list) else shown(values)
        raise UserError(f"{where}: {key} are not {points} times x, y, v ({what}); correct or remove the annotation")
    numbers = np.array([number_of(value) for value in values]).reshape(-1, 3)
    triples = [values[i : i + 3] for i in range(0, len(values), 3)]
    unlabelled = (numbers[:, 2] == 0) | np.array([triple == [None, None, None] for triple in triples])
    unlabelled |= (numbers < 0).all(axis=1)
    faulty = np.isnan(numbers).any(axis=1) & ~unlabelled
    if faulty.any():
        at = int(faulty.argmax())
        raise UserError(
            f"{where}: point {at + 1} of its {key} is {shown(triples[at])}, not x, y, v in finite numbers; write "
            "0, 0, 0 for a point without a label"
        )
    v = np.where(unlabelled, 0, numbers[:, 2])
    if (v < 0).any():
        at = int((v < 0).argmax())
        raise UserError(
            f"{where}: point {at + 1} of its {key} has v = {shown(triples[at][2])}; write 0 (no label), 1 (hidden) or "
            "2 (in view)"
        )
    return np.where(v[:, None] > 0, numbers[:, :2], np.nan), np.where(v > 0, np.where(v == 1, 1, 2), 0).astype(np.uint8)


def _parse_box(annotation: Mapping[str, Any], key: str, where: str) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom edge; None without a box, or with an empty one, which some exporters write instead."""
    given = annotation.get(key)
    if not given or (isinstance(given, list) and all(value is None for value in given)):
        return _box_around_centre(annotation) if key == "bbox" else None
    numbers = [number_of(value) for value in given] if isinstance(given, list) else []
    if len(numbers) != 4 or any(math.isnan(number) for number in numbers):
        raise UserError(
            f"{where}: {key} {shown(given)} is not x, y, width, height in finite numbers; correct or remove it"
        )
    left, top, width, height = numbers
    if width < 0 or height < 0:
        raise UserError(f"{where}: {key} {shown(given)} has a negative width or height; correct or remove it")
    return (left, top, left + width, top + height) if width and height else None


def _box_around_centre(annotation: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """The box that ``center`` and ``scale`` describe; None without them."""
    centre, scale = annotation.get("center"), annotation.get("scale")
    if not isinstance(centre, list) or scale is None:
        return None
    sides = [SCALE * number_of(value) for value in (scale if isinstance(scale, list) else [scale, scale])]
    middle = [number_of(value) for value in centre]
    if len(middle) != 2 or len(sides) != 2 or not all(side > 0 for side in sides) or any(map(math.isnan, middle)):
        return None
    (x, y), (width, height) = middle, sides
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _attributes(annotation: Mapping[str, Any]) -> dict[str, str]:
    """Texts, numbers and flags by name, as texts; a flag is 1 or 0."""
    flags: Any = annotation.get("flags")
    values = {key: value for key, value in annotation.items() if isinstance(value, (str, bool))}
    values = {key: value for key, value in values.items() if key not in NO_ATTRIBUTES}
    values = {key: value for key, value in values.items() if is_short(value, MAX_TEXT_LENGTH)}
    for given in (annotation.get("attributes"), dict.fromkeys(flags, True) if _are_names(flags) else flags):
        values |= given if isinstance(given, Mapping) else {}
    return short_texts({key: value for key, value in values.items() if len(key) <= MAX_TEXT_LENGTH}, MAX_VALUE_LENGTH)


def _are_names(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
