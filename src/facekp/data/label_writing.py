"""Writes the faces of a label file as a CSV for ``data=folder``, or as COCO JSON; both keep all that faces have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import UnidentifiedImageError

from facekp.core.files import write_csv
from facekp.data.coco.annotations import SOURCE as SOURCE_ATTRIBUTE
from facekp.data.coco.writing import CATEGORY, write_coco_file
from facekp.data.images import UnreadableImage, upright_size
from facekp.data.label_file import LabelFile
from facekp.data.labels.face import LabelledFace
from facekp.data.readers.photo_csv import ATTRIBUTE, BOX, NAME, SOURCE


def write_photo_csv(path: Path, file: LabelFile) -> None:
    """Write the faces as `facekp.data.readers.photo_csv` reads them; columns that no face needs are left out.

    Raises:
        CannotWrite: the file can't be written.
    """
    faces, scheme = file.faces, file.keypoints
    columns: dict[str, Any] = {NAME: [face.name for face in faces]}
    points = np.array([face.points for face in faces]).reshape(len(faces), -1)
    columns |= dict(zip(scheme.columns, points.T, strict=True))
    if any(face.box is not None for face in faces):
        columns |= dict(zip(BOX, np.array([face.box or [np.nan] * 4 for face in faces]).T, strict=True))
    if any(face.source for face in faces):
        columns[SOURCE] = [scheme.source_names[face.source] for face in faces]
    if any(face.visible is not None for face in faces):
        visible = np.array([_visible(face) for face in faces])
        columns |= {f"{name}_v": v for name, v in zip(scheme.names, visible.T, strict=True)}
    for name in dict.fromkeys(name for face in faces for name in face.attributes):
        columns[f"{ATTRIBUTE}{name}"] = [face.attributes.get(name, "") for face in faces]
    write_csv(path, pd.DataFrame(columns))


def write_coco_labels(path: Path, file: LabelFile) -> None:
    """Write the faces as COCO JSON, with v of every point and the subsets as ``attributes``.

    Raises:
        CannotWrite: the file can't be written.
    """
    photos = {face.name: face for face in reversed(file.faces)}
    numbers = {name: number for number, name in enumerate(sorted(photos), start=1)}
    folder = Path(file.settings.images)
    images = (
        {"id": number, "file_name": name, **_size(folder / name, photos[name])} for name, number in numbers.items()
    )
    annotations = _annotations(file, numbers)
    description = f"labels of {file.settings.label_file.name}"
    write_coco_file(path, str(folder), file.keypoints, images, annotations, description)


WRITERS: dict[str, tuple[str, Callable[[Path, LabelFile], None]]] = {
    "csv": ("labels.csv", write_photo_csv),
    "coco": ("labels.json", write_coco_labels),
}
"""By format: the name of the file in the output folder, and what writes it."""


def _visible(face: LabelledFace) -> np.ndarray:
    """COCO's v, int (K,): 2 for a labelled point of a face that does not state it."""
    labelled = ~np.isnan(face.points[:, 0])
    return np.where(labelled, 2 if face.visible is None else face.visible, 0)


def _size(photo: Path, face: LabelledFace) -> dict[str, int]:
    """Width and height as the label file states them, or as the photo has them; empty where neither is known."""
    try:
        width, height = face.size or upright_size(str(photo))
    except (UnreadableImage, UnidentifiedImageError, OSError):
        return {}
    return {"width": width, "height": height}


def _annotations(file: LabelFile, numbers: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    sources = file.keypoints.source_names
    for face in file.faces:
        visible = _visible(face)
        triples = np.column_stack((np.nan_to_num(face.points), visible))
        annotation = {
            "id": face.row,
            "image_id": numbers[face.name],
            "category_id": CATEGORY,
            "keypoints": [value for x, y, v in triples.tolist() for value in (x, y, int(v))],
            "num_keypoints": int((visible > 0).sum()),
            "iscrowd": 0,
        }
        if face.box is not None:
            left, top, right, bottom = face.box
            annotation |= {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
        attributes = {**face.attributes, **({SOURCE_ATTRIBUTE: sources[face.source]} if len(sources) > 1 else {})}
        yield annotation | ({"attributes": attributes} if attributes else {})
