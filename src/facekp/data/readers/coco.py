"""``data=coco``: photos, and COCO's JSON of keypoints in the format of pycocotools.

- ``images`` have ``id`` and ``file_name``;
- ``annotations`` have ``id``, ``image_id``, ``category_id``, ``keypoints`` (x, y, v for each point; v = 0 or null: not
  labelled), and often ``bbox`` (x, y, width, height) and ``iscrowd``;
- ``categories`` name their ``keypoints``.

COCO counts pixels from 0 and places the point of a pixel at its number. So points are used unchanged: an integer is a
pixel centre. A bbox has edges: [0, 0, W, H] is the whole photo.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import Text
from facekp.data.label_json import number_of, read_json, shown
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings

LONGEST_ID = 18  # characters; int64 can hold as many digits


class CocoSettings(PhotoDataSettings):
    """``data=coco``.

    Attributes:
        category: name of the category to read; None: the only one that has keypoints.
    """

    category: Text | None


@READERS.register("coco")
def read_coco(settings: CocoSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read the faces of a category, sorted by photo; ``row`` of a face is the annotation's id.

    Crowds and annotations without a labelled point are skipped.

    Args:
        settings: names the file and the category.
        keypoints: the scheme; it must have the category's point names, in any order.

    Raises:
        UserError: the first fault of the file, or the scheme's names differ from the category's.
    """
    path = settings.label_file
    content = _read_json(path)
    photos = _photos_by_id(path, content["images"])
    category = _choose_category(path, content["categories"], settings.category)
    order = _point_order(path, category, keypoints)
    wanted = _id_of(f"{path}: categories", category, "id")
    faces: dict[int, LabelledFace] = {}
    for annotation in content["annotations"]:
        where = _where(path, "annotations", annotation)
        if annotation.get("iscrowd") or _id_of(where, annotation, "category_id") != wanted:
            continue
        face = _parse_face(path, annotation, photos, order)
        if face is None:
            continue
        if face.row in faces:
            raise UserError(f"{face.where}: its id is duplicated; give every annotation a different id")
        faces[face.row] = face
    if not faces:
        raise UserError(f"{path}: category {category.get('name')!r} has no annotation with a labelled point")
    return sorted(faces.values(), key=lambda face: face.name)


def _photos_by_id(path: Path, photos: Sequence[dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    by_id: dict[int | str, dict[str, Any]] = {}
    for photo in photos:
        name = _id_of(f"{path}: images", photo, "id")
        if name in by_id:
            files = " and ".join(str(one.get("file_name")) for one in (by_id[name], photo))
            raise UserError(
                f"{path}: images: id {name!r} is duplicated, in {files}; give every image a different id, and its "
                "annotations the same image_id"
            )
        by_id[name] = photo
    return by_id


def _read_json(path: Path) -> dict[str, list[dict[str, Any]]]:
    content = read_json(path, "a file of COCO keypoints")
    for key in ("images", "annotations", "categories"):
        items = content.get(key) if isinstance(content, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UserError(f"{path}: {key} is missing or not a list of objects; give a file of COCO keypoints")
    return content


def _where(path: Path, part: str, item: Mapping[str, Any]) -> str:
    return f"{path}: {part}, id {item['id']}" if "id" in item else f"{path}: {part}"


def _id_of(where: str, item: Mapping[str, Any], key: str) -> int | str:
    """An id: a whole number, also one that was written as a text or with a decimal point, or a text."""
    value = item.get(key)
    if isinstance(value, str) and value.strip():
        value = value.strip()
        is_number = value.removeprefix("-").isdecimal() and len(value) <= LONGEST_ID
        return int(value) if is_number else value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and _is_whole(value):
        return int(value)
    raise UserError(f"{where}: {key} is {shown(value)}; give a whole number of at most {LONGEST_ID - 1} digits")


def _is_whole(value: float) -> bool:
    return abs(value) < 10 ** (LONGEST_ID - 1) and value == int(value)


def _choose_category(path: Path, categories: Sequence[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    usable = {
        str(category.get("name")): {**category, "name": str(category.get("name"))}
        for category in categories
        if category.get("keypoints")
    }
    names = ", ".join(usable) or "none"
    if wanted is None and len(usable) != 1:
        raise UserError(f"{path}: categories with keypoints: {names}; choose one with data.category=NAME")
    if wanted is not None and wanted not in usable:
        raise UserError(f"data.category={wanted}: {path} has no such category with keypoints; choose one of: {names}")
    return usable[wanted] if wanted is not None else next(iter(usable.values()))


def _point_order(path: Path, category: Mapping[str, Any], keypoints: Keypoints) -> list[int]:
    """The position of each point of the scheme in the category's list."""
    names = [str(name) for name in category["keypoints"]]
    odd = [name for name in names if name not in keypoints.names] + [n for n in keypoints.names if n not in names]
    if odd or len(set(names)) != len(names):
        raise UserError(
            f"{path}: category {category.get('name')!r} has other points than keypoints {keypoints.name} "
            f"({(odd or ['a name is duplicated'])[0]}); choose keypoints=NAME of a scheme with "
            f"names: [{', '.join(names)}]"
        )
    return [names.index(name) for name in keypoints.names]


def _parse_face(
    path: Path, annotation: Mapping[str, Any], photos: Mapping[int | str, Mapping[str, Any]], order: Sequence[int]
) -> LabelledFace | None:
    """The face of an annotation; None without a labelled point."""
    where = _where(path, "annotations", annotation)
    points = _parse_points(annotation, where, len(order))
    if np.isnan(points).all():
        return None
    row = _id_of(f"{path}: annotations", annotation, "id")
    if not isinstance(row, int):
        raise UserError(f"{path}: annotations: id is {shown(row)}; give a whole number")
    photo = photos.get(_id_of(where, annotation, "image_id"))
    if photo is None:
        raise UserError(f"{where}: image_id {annotation.get('image_id')!r} is not among images; add it there")
    name = photo.get("file_name")
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{_where(path, 'images', photo)}: file_name is {name!r}; give the photo's path")
    return LabelledFace(
        name=name,
        points=points[order],
        box=_parse_box(annotation, where),
        source=0,
        row=row,
        where=where,
        size=_parse_size(photo, _where(path, "images", photo)),
    )


def _parse_points(annotation: Mapping[str, Any], where: str, points: int) -> np.ndarray:
    """(points, 2) in the category's order; NaN where v is 0, as coordinates have no meaning there."""
    values = annotation.get("keypoints")
    if values is None or values == []:
        return np.full((points, 2), np.nan)
    if not isinstance(values, list) or len(values) != 3 * points:
        shown = f"{len(values)} values" if isinstance(values, list) else repr(values)[:40]
        raise UserError(
            f"{where}: keypoints are not {points} times x, y, v ({shown}); correct or remove the annotation"
        )
    numbers = np.array([number_of(value) for value in values]).reshape(-1, 3)
    triples = [values[i : i + 3] for i in range(0, len(values), 3)]
    unlabelled = (numbers[:, 2] == 0) | np.array([triple == [None, None, None] for triple in triples])
    faulty = np.isnan(numbers).any(axis=1) & ~unlabelled
    if faulty.any():
        at = int(faulty.argmax())
        raise UserError(
            f"{where}: point {at + 1} of its keypoints is {triples[at]}, not x, y, v in finite numbers; write 0, 0, 0 "
            "for a point without a label"
        )
    return np.where((numbers[:, 2:] > 0), numbers[:, :2], np.nan)


def _parse_size(photo: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    """(W, H); None where it is not stated, or as null or 0."""
    stated = [photo.get(key) for key in ("width", "height")]
    if any(value in (None, 0) for value in stated):
        return None
    width, height = (number_of(value) for value in stated)
    if not (width >= 1 and height >= 1):
        raise UserError(
            f"{where}: width and height are {stated[0]!r} and {stated[1]!r}; give pixels, or leave them out"
        )
    return int(width), int(height)


def _parse_box(annotation: Mapping[str, Any], where: str) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom edge; None without a bbox, or with an empty one, which some exporters write instead."""
    given = annotation.get("bbox")
    if not given or (isinstance(given, list) and all(value is None for value in given)):
        return None
    numbers = [number_of(value) for value in given] if isinstance(given, list) else []
    if len(numbers) != 4 or any(math.isnan(number) for number in numbers):
        raise UserError(f"{where}: bbox {given!r} is not x, y, width, height in finite numbers; correct or remove it")
    left, top, width, height = numbers
    return (left, top, left + width, top + height) if width > 0 and height > 0 else None
