"""``format=labelme``: a JSON file for each photo, to correct the points in labelme, AnyLabeling or X-AnyLabeling.

Points are shapes named as in the scheme. The points and the box of a face have the same ``group_id``. Attributes are
X-AnyLabeling's ``attributes`` of the box, or of all points if the face has no box; labelme keeps them. A hidden point
has the flag ``occluded``; so attributes that say that a face is hidden need its box. Coordinates count from the photo's
edge.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from facekp.core.console import count
from facekp.core.files import write_json
from facekp.core.keypoints import Keypoints
from facekp.data.labels.boxes import EDGE
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.words import is_hidden
from facekp.data.writers.base import (
    DIGITS,
    FACE,
    WRITERS,
    LabelFile,
    Written,
    faces_by_photo,
    has_points,
    label_names,
    labelled_points,
    photo_size,
)

log = logging.getLogger(__name__)
VERSION = "5.4.1"  # of labelme, which writes files of this form


@WRITERS.register("labelme")
def write_labelme(folder: Path, file: LabelFile) -> Written:
    """Write a file for each photo, in the photo's subfolder. ``imagePath`` leads from there to the photo.

    Raises:
        UserError: two photos differ only in their ending.
        CannotWrite: a file can't be written.
    """
    photos = faces_by_photo(file.faces)
    for photo, name in label_names(photos, ".json").items():
        path = folder / name
        width, height = photo_size(file, photos[photo][0]) or (None, None)
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": list(_shapes(photos[photo], file.keypoints)),
            "imagePath": _path_from(path.parent, Path(file.settings.images) / photo),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        write_json(path, content, durable=False)
    without_box = [face for face in file.faces if face.box is None and has_points(face)]
    if lost := sum(len(face.attributes) - len(_attributes_for_points(face)) for face in without_box):
        log.warning("%s left out, which would mark all points of a face as hidden", count(lost, "attribute"))
    return Written(folder, "labelme")


def _shapes(faces: Sequence[LabelledFace], keypoints: Keypoints) -> Iterator[dict[str, Any]]:
    for group, face in enumerate(faces, start=1):
        if face.box is not None:
            left, top, right, bottom = face.box
            yield _shape("rectangle", FACE, [[left, top], [right, bottom]], group, face.attributes)
        attributes = _attributes_for_points(face) if face.box is None else {}
        for name, x, y, hidden in labelled_points(face, keypoints):
            yield _shape("point", name, [[x + EDGE, y + EDGE]], group, attributes, hidden)


def _attributes_for_points(face: LabelledFace) -> dict[str, str]:
    """The face's attributes, apart from those that would say of each point whether it is hidden."""
    return {name: value for name, value in face.attributes.items() if not (is_hidden(name) or is_hidden(value))}


def _shape(
    kind: str, label: str, points: list[list[float]], group: int, attributes: Mapping[str, str], hidden: bool = False
) -> dict[str, Any]:
    shape = {
        "label": label,
        "points": [[round(value, DIGITS) for value in point] for point in points],
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {"occluded": True} if hidden else {},
        "mask": None,
    }
    return shape | ({"attributes": dict(attributes)} if attributes else {})


def _path_from(folder: Path, photo: Path) -> str:
    """The photo's path as seen from a folder, or its absolute path if they are on different drives."""
    try:
        return Path(os.path.relpath(photo, folder)).as_posix()
    except ValueError:
        return photo.absolute().as_posix()
