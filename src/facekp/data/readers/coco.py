"""``data=coco``: photos, and COCO's JSON of keypoints in the format of pycocotools.

- ``images`` have ``id`` and ``file_name``;
- ``annotations`` have ``id``, ``image_id``, ``category_id``, ``keypoints`` (x, y, v for each point; v = 0: not
  labelled), and often ``bbox`` (x, y, width, height) and ``iscrowd``;
- ``categories`` name their ``keypoints``.

COCO counts pixels from 0 and places the point of a pixel at its number. So points are used unchanged: an integer is a
pixel centre. A bbox has edges: [0, 0, W, H] is the whole photo.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import Text
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings


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
    photos = {_get(path, "images", photo, "id", int): photo for photo in content["images"]}
    category = _choose_category(path, content["categories"], settings.category)
    order = _point_order(path, category, keypoints)
    faces: dict[int, LabelledFace] = {}
    for annotation in content["annotations"]:
        if annotation.get("category_id") != category["id"] or annotation.get("iscrowd"):
            continue
        if not _is_labelled(path, annotation, len(order)):
            continue
        face = _parse_face(path, annotation, photos, order)
        if face.row in faces:
            raise UserError(f"{face.where}: its id is duplicated; give every annotation a different id")
        faces[face.row] = face
    if not faces:
        raise UserError(f"{path}: category {category['name']!r} has no annotation with a labelled point")
    return sorted(faces.values(), key=lambda face: face.name)


def _read_json(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"data.labels={path}: can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"data.labels={path}: not valid JSON ({error}); give a file of COCO keypoints") from error
    for key in ("images", "annotations", "categories"):
        items = content.get(key) if isinstance(content, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UserError(f"{path}: {key} is missing or not a list of objects; give a file of COCO keypoints")
    return content


def _get(path: Path, part: str, item: Mapping[str, Any], key: str, kind: type) -> Any:
    """A value of an object, checked for its type."""
    if not isinstance(item.get(key), kind):
        where = f"{part}, id {item['id']}" if key != "id" and "id" in item else part
        raise UserError(f"{path}: {where}: {key} is {item.get(key)!r}; it must be of type {kind.__name__}")
    return item[key]


def _choose_category(path: Path, categories: Sequence[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    usable = {str(category.get("name")): category for category in categories if category.get("keypoints")}
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


def _is_labelled(path: Path, annotation: Mapping[str, Any], points: int) -> bool:
    """Whether any point is labelled; coordinates with v = 0 have no meaning."""
    values = _get(path, "annotations", annotation, "keypoints", list) if "keypoints" in annotation else []
    if not values:
        return False
    if len(values) != 3 * points or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in values):
        where = f"{path}: annotations, id {annotation.get('id')}: keypoints"
        raise UserError(f"{where} are not {points} times x, y, v in finite numbers; correct or remove the annotation")
    return any(values[2::3])


def _parse_face(
    path: Path, annotation: Mapping[str, Any], photos: Mapping[int, Mapping[str, Any]], order: Sequence[int]
) -> LabelledFace:
    row = _get(path, "annotations", annotation, "id", int)
    where = f"{path}: annotations, id {row}"
    photo = photos.get(annotation.get("image_id", None))
    if photo is None:
        raise UserError(f"{where}: image_id {annotation.get('image_id')!r} is not among images; add it there")
    values = np.array(annotation["keypoints"], np.float64).reshape(-1, 3)[order]
    return LabelledFace(
        name=_get(path, "images", photo, "file_name", str),
        points=np.where(values[:, 2:] > 0, values[:, :2], np.nan),
        box=_parse_box(annotation, where),
        source=0,
        row=row,
        where=where,
        size=(photo["width"], photo["height"]) if {"width", "height"} <= photo.keys() else None,
    )


def _parse_box(annotation: Mapping[str, Any], where: str) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom edge; None without a bbox, or with an empty one, which some exporters write instead."""
    given = annotation.get("bbox")
    if not given:
        return None
    if len(given) != 4 or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in given):
        raise UserError(f"{where}: bbox {given!r} is not x, y, width, height in finite numbers; correct or remove it")
    left, top, width, height = given
    return (left, top, left + width, top + height) if width > 0 and height > 0 else None
