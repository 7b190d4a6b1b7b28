"""``format=yolo``: a pose dataset for Ultralytics YOLO, with copies of the photos.

``images/train/a.jpg`` has the labels ``labels/train/a.txt``. The attribute ``split`` (train, val, test) chooses the
folder; if no face has it, the last fifth of the photos by name are val. Each face needs a box; without one it is the
smallest around the points. YOLO refuses what lies outside the photo: boxes are cut there, points have no label.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.core.files import atomic, write_text, write_yaml
from facekp.core.keypoints import Keypoints
from facekp.data.labels.boxes import EDGE
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.words import SPLIT, SPLITS
from facekp.data.writers.base import (
    FACE,
    WRITERS,
    LabelFile,
    Written,
    box_around,
    cut_to_photo,
    faces_by_photo,
    label_names,
    log_added_boxes,
    log_points_outside,
    required_size,
    visibility,
)
from facekp.data.yolo.photos import IMAGES, LABELS

log = logging.getLogger(__name__)
VAL_PARTS = 5  # one of which is val
DECIMALS = 6  # of fractions of the photo


@WRITERS.register("yolo")
def write_yolo(folder: Path, file: LabelFile) -> Written:
    """Write ``data.yaml``, ``images`` and ``labels``.

    Raises:
        UserError: a photo is missing, or two photos differ only in their ending.
        CannotWrite: a file can't be written.
    """
    photos = faces_by_photo(file.faces)
    copies = {photo: _name_of_copy(photo) for photo in photos}
    names, splits = label_names(copies.values(), ".txt"), _splits(photos)
    written = []
    for photo, faces in photos.items():
        size, split, copy = required_size(file, faces[0]), splits[photo], copies[photo]
        cut = cut_to_photo(faces, size)
        written += cut
        text = "".join(f"{_line(face, size)}\n" for face in cut)
        write_text(folder / LABELS / split / names[copy], text, durable=False)
        _copy(Path(file.settings.images) / photo, folder / IMAGES / split / copy, faces[0])
    write_yaml(folder / "data.yaml", _content(file.keypoints, set(splits.values())))
    added = log_added_boxes(written)
    log_points_outside(file.faces, written)
    return Written(folder / "data.yaml", "yolo", images=folder, kept_attributes=(SPLIT,), added_boxes=added)


def _name_of_copy(photo: str) -> str:
    """The photo's path without folders called images or labels.

    To find the labels of a photo, YOLO replaces the last folder ``images`` in its path by ``labels``.
    """
    return str(PurePosixPath(*(part for part in PurePosixPath(photo).parts if part.casefold() not in (IMAGES, LABELS))))


def _splits(photos: dict[str, list[LabelledFace]]) -> dict[str, str]:
    """The split of each photo."""
    stated = {photo: faces[0].attributes.get(SPLIT) for photo, faces in photos.items()}
    if any(split in SPLITS for split in stated.values()):
        return {photo: split if split in SPLITS else SPLITS[0] for photo, split in stated.items()}
    n_val = max(len(photos) // VAL_PARTS, min(len(photos) - 1, 1))
    log.warning("no photo has a split: the last %d of %s by name are val", n_val, count(len(photos), "photo"))
    names = sorted(photos)
    return dict.fromkeys(names, "train") | dict.fromkeys(names[len(names) - n_val :], "val")


def _line(face: LabelledFace, size: tuple[int, int]) -> str:
    """The line of a face: class, centre and size of the box, and x, y, v of each point."""
    left, top, right, bottom = (edge / size[i % 2] for i, edge in enumerate(box_around(face)))
    box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    points = np.nan_to_num((face.points + EDGE) / size)
    labels = np.column_stack((points, visibility(face)))
    return " ".join(["0", *(f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".") for value in (*box, *labels.ravel()))])


def _copy(photo: Path, target: Path, face: LabelledFace) -> None:
    """Copy a photo.

    Raises:
        UserError: it can't be read.
        CannotWrite: the copy can't be written.
    """
    try:
        opened = photo.open("rb")
    except OSError as error:
        raise UserError(
            f"{face.where}: {photo}: can't be copied ({error.strerror or error}); name the folder of the photos with "
            "images=FOLDER"
        ) from error
    with opened, atomic(target, durable=False) as draft, draft.open("wb") as copy:
        shutil.copyfileobj(opened, copy)


def _content(keypoints: Keypoints, splits: Collection[str]) -> dict[str, Any]:
    """The dataset's YAML. Its paths are relative to it."""
    folders = {split: f"{IMAGES}/{split}" for split in SPLITS if split in splits}
    return {
        **folders,
        "kpt_shape": [len(keypoints.names), 3],
        "flip_idx": keypoints.flip_order().tolist(),
        "names": {0: FACE},
        "kpt_names": {0: list(keypoints.names)},
    }
