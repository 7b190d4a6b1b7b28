"""``data=pts``: a folder of photos, each with a ``.pts`` file of the same name, as 300-W and 300-VW are published.

::

    version: 1
    n_points: 68
    {
    446.0 91.0
    ...
    }

The points follow in the scheme's order. They are MATLAB's: the centre of the first pixel is (1, 1), so 1 is subtracted.
The first folder of a photo's path (``helen``, ``ibug``, a video's number) becomes its attribute ``folder``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.labels.label_per_photo import label_files, parse_point, read_faces
from facekp.data.labels.photo_names import files_below
from facekp.data.labels.point_names import MAX_POINTS
from facekp.data.labels.text import read_text
from facekp.data.readers.base import READERS, LabelledFace, names_points, recognises
from facekp.data.settings import FilePerPhotoSettings

ENDING = ".pts"
FIRST_PIXEL = 1  # MATLAB's coordinate of the centre of the first pixel


class PtsSettings(FilePerPhotoSettings):
    """``data=pts``; ``labels`` is the folder of the .pts files."""


@READERS.register("pts")
def read_pts(settings: PtsSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each .pts file; ``row`` counts them from 1, sorted by name.

    Raises:
        UserError: the first fault of a file, or a photo is missing.
    """
    return read_faces(settings, ENDING, keypoints, _read_points)


@names_points("pts")
def point_names(folder: Path) -> list[str]:
    """As many numbers as the first .pts file has points."""
    return [str(number) for number in range(len(_read_points(folder / label_files(folder, ENDING)[0])))]


def _read_points(path: Path) -> np.ndarray:
    """(n_points, 2), counted from 0."""
    text = read_text(path)
    head, opened, rest = text.partition("{")
    body, closed, after = rest.partition("}")
    stated = re.search(r"n_points:\s*(\d{1,9})", head)
    if not (opened and closed and stated):
        raise UserError(
            f"{path}: not a valid .pts file; write version: 1, n_points: N, and N lines x y between {{ and }}"
        )
    if "{" in after:
        raise UserError(f"{path}: has several blocks of points in {{ and }}; write a file for each photo with one face")
    number = int(stated[1])
    start = head.count("\n") + 1
    lines = [(start + i, line.split()) for i, line in enumerate(body.split("\n")) if line.strip()]
    if number != len(lines) or not 0 < number <= MAX_POINTS:
        raise UserError(f"{path}: n_points is {number}, but {len(lines)} points follow; write one point a line")
    return np.array([parse_point(fields, f"{path}: line {line}") for line, fields in lines]) - FIRST_PIXEL


@recognises("pts")
def is_pts(path: Path, text: str) -> bool:
    """Whether the path is a folder with .pts files."""
    return path.is_dir() and any(name.lower().endswith(ENDING) for name in files_below(path))
