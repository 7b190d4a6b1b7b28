"""What label files say of faces beside their points, as columns of a `FaceTable`: subsets, hidden points, boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.data.labels.face import LabelledFace

# An array of texts has the longest one's length in every row. Real files have ten attributes of one or two words.
MAX_NAMES = 100
MAX_VALUE_LENGTH = 100  # characters


def attributes_of(faces: Sequence[LabelledFace]) -> dict[str, np.ndarray]:
    """The subsets of N faces, str (N,) by name; "" where a face has none of that name.

    Raises:
        UserError: there are too many names, or a value is too long.
    """
    names = dict.fromkeys(name for face in faces for name in face.attributes)
    if len(names) > MAX_NAMES:
        raise UserError(
            f"{faces[0].where}: the faces of its file have {len(names)} different attributes, such as "
            f"{list(names)[-1][:40]!r}; keep at most {MAX_NAMES}"
        )
    for face in faces:
        check_attributes(face)
    return {name: np.array([face.attributes.get(name, "") for face in faces], str) for name in names}


def check_attributes(face: LabelledFace) -> None:
    """Refuse long values, which every row of the table would have to hold.

    Raises:
        UserError: a value is too long.
    """
    if long := next((name for name, value in face.attributes.items() if len(value) > MAX_VALUE_LENGTH), None):
        raise UserError(
            f"{face.where}: attribute {long[:40]!r} has more than {MAX_VALUE_LENGTH} characters; shorten it"
        )


def visible_of(faces: Sequence[LabelledFace], mask: np.ndarray) -> np.ndarray | None:
    """COCO's v of N faces, uint8 (N, K): 2 where a labelled point (``mask``) has none; None if no face states it."""
    if all(face.visible is None for face in faces):
        return None
    stated = [np.full(mask.shape[1], 2) if face.visible is None else face.visible for face in faces]
    return np.where(mask, stated, 0).astype(np.uint8)


def boxes_of(faces: Sequence[LabelledFace], crops: Sequence[Crop]) -> np.ndarray | None:
    """The faces' boxes, float32 (N, 4), in pixels of their crops; NaN where a face has none; None if no face has."""
    if all(face.box is None for face in faces):
        return None
    corners = [np.full((2, 2), np.nan) if face.box is None else np.reshape(face.box, (2, 2)) for face in faces]
    moved = [crop.to_crop(pair - 0.5) + 0.5 for crop, pair in zip(crops, corners, strict=True)]  # edges, not centres
    return np.reshape(moved, (len(faces), 4)).astype(np.float32)
