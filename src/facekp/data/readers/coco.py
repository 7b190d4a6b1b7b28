"""``data=coco``: photos, and COCO's JSON of keypoints, as pose libraries, label tools and pycocotools write it.

- ``images`` have ``id`` and ``file_name``;
- ``annotations`` have ``id``, ``image_id``, ``category_id``, ``keypoints`` (x, y, v for each point), and often ``bbox``
  and ``iscrowd`` (`facekp.data.coco.annotations`);
- ``categories`` name their ``keypoints``, or do not: then the points are those of the scheme, in its order.

COCO counts pixels from 0 and places the point of a pixel at its number. So points are used unchanged: an integer is a
pixel centre. A bbox has edges: [0, 0, W, H] is the whole photo.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import Text
from facekp.data.coco.annotations import SOURCE, Part, is_crowd, parse_face, states_visibility
from facekp.data.coco.categories import (
    categories_with_points,
    category_ids,
    category_of,
    choose_categories,
    number_of_points,
    point_orders,
)
from facekp.data.coco.file import CocoFile, Id, id_of, read_coco_file
from facekp.data.labels.checks import find_contradiction
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import shown
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

PhotoFace = tuple[Mapping[str, Any], LabelledFace]  # an entry of ``images``, and a face of it


class CocoSettings(PhotoDataSettings):
    """``data=coco``.

    Attributes:
        category: name of the category to read, or a list of names of categories with the same points; ``all``: every
            category with points; None: the only one.
        part: part of the body in a whole-body file, whose points are ``<part>_kpts`` and whose box is ``<part>_box``;
            None: ``keypoints`` and ``bbox``.
        occluded: whether points with v = 1, which are labelled but hidden, count; False: they are missing.
    """

    category: Text | tuple[Text, ...] | None
    part: Literal["face", "lefthand", "righthand", "foot"] | None = None
    occluded: bool = True


@READERS.register("coco")
def read_coco(settings: CocoSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read the faces of the chosen categories, sorted by photo; ``row`` of a face is the annotation's id.

    Where ids are texts, ``row`` is the position of the annotation, counted from 1. Crowds and annotations without a
    labelled point are skipped.

    Args:
        settings: names the file and what to read of it.
        keypoints: the scheme. It must have the category's point names, in any order, or as many points.

    Raises:
        UserError: the first fault of the file, or the scheme's points differ from the category's.
    """
    file, part = read_coco_file(settings.label_file), Part(settings.part)
    usable = categories_with_points(file, part.points)
    orders = point_orders(file, choose_categories(file, usable, settings.category), keypoints)
    has_hidden = states_visibility(file, part.points)
    if not settings.occluded and not has_hidden:
        raise UserError(
            f"data.occluded=false: no point of {file.path} has v = 2, so all would be missing; set data.occluded=true"
        )
    row_of, known = _rows(file), category_ids(file)
    others: dict[str, list[PhotoFace]] = {}  # the faces so far, by file name

    def parse(entry: tuple[int, Mapping[str, Any]]) -> LabelledFace | None:
        position, annotation = entry
        category, where = category_of(file, annotation), file.where("annotations", annotation)
        is_unknown = category not in known and number_of_points(annotation.get(part.points)) > 0
        if category not in orders and not is_unknown:
            return None
        if is_crowd(annotation, where) or not part.is_valid(annotation):
            return None
        if is_unknown:
            raise UserError(f"{where}: category_id {shown(category)} is not among categories; add it there")
        face = parse_face(file, annotation, orders[category], part, settings.occluded, row_of(position))
        if face is None:
            return None
        photo = file.photo_of(annotation, where)
        of_photo = others.setdefault(posixpath.normpath(face.name.strip().replace("\\", "/")), [])
        _check_photos(photo, face, of_photo)
        of_photo.append((photo, face))
        return _with_source(face if has_hidden else replace(face, visible=None), keypoints)

    faces = collect_faces(enumerate(file.annotations), parse, file.path, settings.skip_broken)
    return sorted(faces, key=lambda face: face.name)


def _check_photos(photo: Mapping[str, Any], face: LabelledFace, others: Sequence[PhotoFace]) -> None:
    """Refuse a face of a second entry of ``images`` with the same file name, if the two may be different photos.

    Raises:
        UserError: the entries have different sizes, or different points for the same face.
    """
    others = [other for other in others if other[0] is not photo]
    sizes = ((entry, other.size) for entry, other in others if face.size and other.size and other.size != face.size)
    entry, fault = next(((entry, f"sizes {size} and {face.size}") for entry, size in sizes), (None, ""))
    if entry is None:
        at = find_contradiction(face.points, [other.points for _, other in others])
        entry, fault = (None, "") if at is None else (others[at][0], "different points for the same face")
    if entry is not None:
        raise UserError(
            f"{face.where}: images, ids {shown(entry['id'])} and {shown(photo['id'])} have the same file_name "
            f"{shown(face.name)}, but {fault}; remove one of them, or name photos of the same name with their folders"
        )


def _with_source(face: LabelledFace, keypoints: Keypoints) -> LabelledFace:
    """The face with the labelling convention in its attribute `SOURCE`, which ``facekp.data.convert`` writes."""
    name, sources = face.attributes.get(SOURCE), keypoints.source_names
    if len(sources) < 2 or name not in sources:
        return face
    others = {key: value for key, value in face.attributes.items() if key != SOURCE}
    return replace(face, source=sources.index(name), attributes=others)


def _rows(file: CocoFile) -> Callable[[int], int]:
    """Gives the number of the annotation at a position.

    It is the annotation's id, or, if an id of the file is a text or none has an id, the position from 1 of the first
    annotation with that id.
    """
    where = f"{file.path}: annotations"
    if not any("id" in annotation for annotation in file.annotations):
        return lambda position: position + 1
    ids: list[Id | None] = []
    for annotation in file.annotations:
        try:
            ids.append(id_of(where, annotation, "id"))
        except UserError:  # a fault of one face, which is reported where the face is parsed
            ids.append(None)
    first = {name: position for position, name in reversed(list(enumerate(ids, start=1)))}
    are_texts = any(isinstance(name, str) for name in ids)

    def row_of(position: int) -> int:
        number = id_of(f"{where}, entry {position + 1}", file.annotations[position], "id")
        return first[number] if are_texts else int(number)

    return row_of


@names_points("coco", by_settings=True)
def point_names(path: Path, settings: CocoSettings) -> list[str]:
    """The points that the chosen category names, or as many numbers as most of its annotations have points."""
    file = read_coco_file(path)
    usable = categories_with_points(file, Part(settings.part).points)
    for category in choose_categories(file, usable, settings.category):
        if category.point_names:
            return list(category.point_names)
        if category.counts:
            return [str(number) for number in range(category.counts.most_common(1)[0][0])]
    raise UserError(f"{path}: no annotation has keypoints; give a file of COCO keypoints")


@recognises("coco")
def is_coco(path: Path, text: str) -> bool:
    """Whether the text is an object with the lists of a COCO file."""
    return text.lstrip().startswith("{") and '"annotations"' in text and '"images"' in text
