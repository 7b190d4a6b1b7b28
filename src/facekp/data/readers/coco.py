"""COCO's JSON of keypoints, as pycocotools reads it: a file comes in, the faces of one category go out.

``images`` have ``id`` and ``file_name``; ``annotations`` have ``id``, ``image_id``, ``category_id``, ``keypoints``
(x, y, v for each point; v = 0: not labelled) and often ``bbox`` (x, y, width, height) and ``iscrowd``; ``categories``
name their ``keypoints``. COCO counts pixels from 0 and puts a labelled pixel's point at its number, so points are taken
as they stand: an integer is a pixel's centre. A bbox has edges, [0, 0, W, H] is the whole photo.
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
from facekp.data.crops import LabelledFace


def read_faces(path: Path, keypoints: Keypoints, category: str | None) -> list[LabelledFace]:
    """The faces of a category, photo by photo; ``row`` is the annotation's id.

    Crowds and annotations without a labelled point are passed over.

    Args:
        path: the JSON file.
        keypoints: the scheme; its names must be the category's, in any order.
        category: its name; None: the only one that has keypoints.

    Raises:
        UserError: the file's first fault, or the scheme's names are not the category's.
    """
    content = _content(path)
    photos = {_get(path, "images", one, "id", int): one for one in content["images"]}
    chosen = _category(path, content["categories"], category)
    order = _order(path, chosen, keypoints)
    faces: dict[int, LabelledFace] = {}
    for one in content["annotations"]:
        if one.get("category_id") != chosen["id"] or one.get("iscrowd") or not _labelled(path, one, len(order)):
            continue
        face = _face(path, one, photos, order)
        if face.row in faces:
            raise UserError(f"{face.place}: its id stands twice; give every annotation its own")
        faces[face.row] = face
    if not faces:
        raise UserError(f"{path}: category {chosen['name']!r} has no annotation with a labelled point")
    return sorted(faces.values(), key=lambda face: face.name)


def _content(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"data.labels={path}: can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"data.labels={path}: is no JSON ({error}); give a file of COCO keypoints") from error
    for key in ("images", "annotations", "categories"):
        own = content.get(key) if isinstance(content, dict) else None
        if not isinstance(own, list) or not all(isinstance(one, dict) for one in own):
            raise UserError(f"{path}: {key} is missing or no list of objects; give a file of COCO keypoints")
    return content


def _get(path: Path, part: str, one: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(one.get(key), kind):
        told = f"{part}, id {one['id']}" if key != "id" and "id" in one else part
        raise UserError(f"{path}: {told}: {key} is {one.get(key)!r}; COCO has {kind.__name__} there")
    return one[key]


def _category(path: Path, categories: Sequence[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    able = {str(one.get("name")): one for one in categories if one.get("keypoints")}
    names = ", ".join(able) or "none"
    if wanted is None and len(able) != 1:
        raise UserError(f"{path}: categories with keypoints: {names}; choose one with data.category=NAME")
    if wanted is not None and wanted not in able:
        raise UserError(f"data.category={wanted}: {path} has no such category with keypoints; choose one of: {names}")
    return able[wanted] if wanted is not None else next(iter(able.values()))


def _order(path: Path, category: Mapping[str, Any], keypoints: Keypoints) -> list[int]:
    """Where each point of the scheme stands in the category's list."""
    names = [str(name) for name in category["keypoints"]]
    odd = [name for name in names if name not in keypoints.names] + [n for n in keypoints.names if n not in names]
    if odd or len(set(names)) != len(names):
        raise UserError(
            f"{path}: category {category.get('name')!r} has other points than keypoints {keypoints.name} "
            f"({(odd or ['one stands twice'])[0]}); choose keypoints=NAME of a scheme with names: [{', '.join(names)}]"
        )
    return [names.index(name) for name in keypoints.names]


def _labelled(path: Path, annotation: Mapping[str, Any], points: int) -> bool:
    """Whether a point is labelled; pixels at v = 0 mean nothing."""
    values = _get(path, "annotations", annotation, "keypoints", list) if "keypoints" in annotation else []
    if not values:
        return False
    if len(values) != 3 * points or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in values):
        told = f"{path}: annotations, id {annotation.get('id')}: keypoints"
        raise UserError(f"{told} are not {points} times x, y, v in finite numbers; correct or remove the annotation")
    return any(values[2::3])


def _face(
    path: Path, annotation: Mapping[str, Any], photos: Mapping[int, Mapping[str, Any]], order: Sequence[int]
) -> LabelledFace:
    row = _get(path, "annotations", annotation, "id", int)
    place = f"{path}: annotations, id {row}"
    photo = photos.get(annotation.get("image_id", None))
    if photo is None:
        raise UserError(f"{place}: image_id {annotation.get('image_id')!r} is not among images; add it there")
    values = np.array(annotation["keypoints"], np.float64).reshape(-1, 3)[order]
    return LabelledFace(
        name=_get(path, "images", photo, "file_name", str),
        points=np.where(values[:, 2:] > 0, values[:, :2], np.nan),
        box=_box(annotation, place),
        source=0,
        row=row,
        place=place,
        size=(photo["width"], photo["height"]) if {"width", "height"} <= photo.keys() else None,
    )


def _box(annotation: Mapping[str, Any], place: str) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom edge; None where there is none, or one without area, as exporters write for none."""
    given = annotation.get("bbox")
    if not given:
        return None
    if len(given) != 4 or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in given):
        raise UserError(f"{place}: bbox {given!r} is not x, y, width, height in finite numbers; correct or remove it")
    left, top, width, height = given
    return (left, top, left + width, top + height) if width > 0 and height > 0 else None
