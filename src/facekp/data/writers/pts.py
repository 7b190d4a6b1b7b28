"""``format=pts``: a ``.pts`` file for each photo, as 300-W has them: points in the scheme's order, counted from 1."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from facekp.core.errors import UserError
from facekp.core.files import write_text
from facekp.data.readers.pts import ENDING, FIRST_PIXEL
from facekp.data.writers.base import DIGITS, WRITERS, LabelFile, Written, faces_by_photo, label_names


@WRITERS.register("pts")
def write_pts(folder: Path, file: LabelFile) -> Written:
    """Write a file for each photo, in the photo's subfolder; ``nan nan`` is a point without a label.

    Raises:
        UserError: a photo has several faces, or two photos differ only in their ending.
        CannotWrite: a file can't be written.
    """
    photos = faces_by_photo(file.faces)
    for photo, name in label_names(photos, ENDING).items():
        face, *others = photos[photo]
        if others:
            raise UserError(
                f"{others[0].where}: {photo} has {len(others) + 1} faces, but a .pts file is of one; choose another "
                "format"
            )
        write_text(folder / name, "\n".join(_lines(face.points)) + "\n", durable=False)
    return Written(folder, "pts", keeps_boxes=False, keeps_hidden=False, kept_attributes=())


def _lines(points: np.ndarray) -> Iterable[str]:
    coordinates = (f"{x:.{DIGITS}f} {y:.{DIGITS}f}" for x, y in points + FIRST_PIXEL)
    return ["version: 1", f"n_points: {len(points)}", "{", *coordinates, "}"]
