"""``format=labelme``: a JSON file for each photo, to correct the points in labelme, AnyLabeling or X-AnyLabeling.

Points are shapes named as in the scheme. The points and the box of a face have the same ``group_id``. Attributes are
X-AnyLabeling's ``attributes`` of the box, or of all points if the face has no box; labelme keeps them. A hidden point
has the flag ``occluded``. Coordinates count from the photo's edge.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from facekp.core.files import write_json
from facekp.core.keypoints import Keypoints
from facekp.data.labels.boxes import EDGE
from facekp.data.labels.face import LabelledFace
from facekp.data.writers.base import (
    DIGITS,
    FACE,
    WRITERS,
    LabelFile,
    Written,
    faces_by_photo,
    label_names,
    labelled_points,
    photo_size,
)

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
    return Written(folder, "labelme")


def _shapes(faces: Sequence[LabelledFace], keypoints: Keypoints) -> Iterator[dict[str, Any]]:
    for group, face in enumerate(faces, start=1):
        if face.box is not None:
            left, top, right, bottom = face.box
            yield _shape("rectangle", FACE, [[left, top], [right, bottom]], group, face.attributes)
        for name, x, y, is_hidden in labelled_points(face, keypoints):
            attributes = face.attributes if face.box is None else {}
            yield _shape("point", name, [[x + EDGE, y + EDGE]], group, attributes, is_hidden)


def _shape(
    kind: str, label: str, points: list[list[float]], group: int, attributes: Any, is_hidden: bool = False
) -> dict[str, Any]:
    shape = {
        "label": label,
        "points": [[round(value, DIGITS) for value in point] for point in points],
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {"occluded": True} if is_hidden else {},
        "mask": None,
    }
    return shape | ({"attributes": dict(attributes)} if attributes else {})


def _path_from(folder: Path, photo: Path) -> str:
    """The photo's path as seen from a folder, or its absolute path if they are on different drives."""
    try:
        return Path(os.path.relpath(photo, folder)).as_posix()
    except ValueError:
        return photo.absolute().as_posix()
