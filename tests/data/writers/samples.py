"""Label files as writers get them: three faces in two photos of 60 x 50 pixels, with all that faces may have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facekp.data.label_file import LabelFile, open_label_file
from facekp.data.writers.base import WRITERS, Written
from tests.data.label_samples import write_coco

INSIDE: list[dict[str, Any]] = [
    {"id": 11, "image_id": 1, "keypoints": [40.25, 20, 2, 20, 21, 1, 0, 0, 0], "bbox": [10, 5, 40, 35]},
    {"id": 12, "image_id": 1, "keypoints": [10, 5, 2, 5, 5, 1, 7, 9, 2], "attributes": {"pose": "large"}},
    {"id": 7, "image_id": 2, "keypoints": [45, 11, 2, 30, 12, 2, 37, 30.5, 2], "bbox": [20, 2, 30, 40]},
]


def label_file(folder: Path, faces: list[dict[str, Any]] | None = None, n_points: int = 3) -> LabelFile:
    """A COCO file in a folder, with its photos; more points than three are called p0, p1 and so on."""
    names = None if n_points == 3 else [f"p{i}" for i in range(n_points)]
    return open_label_file(write_coco(folder, INSIDE if faces is None else faces, names), None, None, None)


def with_faces(file: LabelFile, **changes: Any) -> LabelFile:
    """The file with a change in all its faces."""
    return replace(file, faces=[replace(face, **changes) for face in file.faces])


def one_face_per_photo(file: LabelFile) -> LabelFile:
    """The file without the first face."""
    return replace(file, faces=file.faces[1:])


def write(folder: Path, form: str, file: LabelFile) -> Written:
    """Write the file into the folder ``out``."""
    (folder / "out").mkdir()
    return WRITERS[form](folder / "out", file)


def read_again(written: Written, file: LabelFile) -> LabelFile:
    """What was written, as the reader that recognises it reads it."""
    again = open_label_file(written.path, None, written.images or Path(file.settings.images), file.keypoints)
    assert again.settings.name == written.reader
    return again


def assert_same(again: LabelFile, file: LabelFile, digits: int = 3, names: bool = True) -> None:
    """Both have the same points in the same photos, in the same order."""
    for one, other in zip(again.faces, file.faces, strict=True):
        np.testing.assert_allclose(one.points, other.points, atol=10.0**-digits)
        assert not names or one.name == other.name
