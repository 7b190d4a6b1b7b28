"""``data=ljson``: menpo's LJSON files, one for each photo, which landmarker.io and other programs of menpo write.

::

    {"version": 2, "landmarks": {"points": [[200.5, 268.6], ...], "connectivity": [[0, 1], ...]},
     "labels": [{"label": "jaw", "mask": [0, 1, 2]}, ...]}

The points follow in the scheme's order: y before x, counted from 0, null where a point has no label. Version 3 has
several such groups of points by name, of which ``data.group`` chooses one. Version 1 has the points of each label in a
list. Labels and connectivity are not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from facekp.core.console import listed
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import Text, did_you_mean
from facekp.data.labels.json_values import mapping_of, number_of, read_json, shown
from facekp.data.labels.label_per_photo import label_files, read_faces
from facekp.data.labels.photo_names import files_below
from facekp.data.labels.point_names import MAX_POINTS
from facekp.data.readers.base import READERS, LabelledFace, names_points, recognises
from facekp.data.settings import FilePerPhotoSettings

ENDING = ".ljson"
EXPECTED = "an LJSON file of menpo"


class LjsonSettings(FilePerPhotoSettings):
    """``data=ljson``; ``labels`` is the folder of the .ljson files.

    Attributes:
        group: the group of points in files that have several; None: the only one.
    """

    group: Text | None


@READERS.register("ljson")
def read_ljson(settings: LjsonSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each file; ``row`` counts them from 1, sorted by name.

    Raises:
        UserError: the first fault of a file, or a photo is missing.
    """
    return read_faces(settings, ENDING, keypoints, partial(_read_points, group=settings.group))


@names_points("ljson", by_settings=True)
def point_names(folder: Path, settings: LjsonSettings) -> list[str]:
    """As many numbers as the first file has points."""
    first = folder / label_files(folder, ENDING)[0]
    return [str(number) for number in range(len(_read_points(first, settings.group)))]


@recognises("ljson")
def is_ljson(path: Path, text: str) -> bool:
    """Whether the path is a folder with .ljson files."""
    return path.is_dir() and any(name.lower().endswith(ENDING) for name in files_below(path))


def _read_points(path: Path, group: str | None) -> np.ndarray:
    """(K, 2), x before y; NaN where a point has no label."""
    content = mapping_of(read_json(path, EXPECTED))
    points = _points_of(content, path, group)
    if not points or len(points) > MAX_POINTS:
        raise UserError(f"{path}: has {len(points)} points; give {EXPECTED} with 1 to {MAX_POINTS} points")
    return np.array([_parse_point(point, f"{path}: point {number}") for number, point in enumerate(points)])


def _points_of(content: Mapping[str, Any], path: Path, group: str | None) -> Sequence[Any]:
    """The points as the file has them, by its version."""
    version, groups = content.get("version"), content.get("groups")
    if version == 1 and isinstance(groups, list):
        landmarks = [mapping_of(of_label).get("landmarks") for of_label in groups]
        return [mapping_of(point).get("point") for points in landmarks if isinstance(points, list) for point in points]
    if version == 3 and isinstance(groups, dict):
        content = mapping_of(groups[_choose(list(groups), group, path)])
    points = mapping_of(content.get("landmarks")).get("points")
    if not isinstance(points, list):
        raise UserError(f"{path}: version {shown(version)} has no list of points where LJSON has it; give {EXPECTED}")
    return points


def _choose(names: Sequence[str], group: str | None, path: Path) -> str:
    """The group to read.

    Raises:
        UserError: there are several, or none of this name.
    """
    if group is None and len(names) == 1:
        return names[0]
    if group is None or group not in names:
        hint = "choose one" if group is None else f"there is no {group!r}{did_you_mean(group, names)}"
        raise UserError(f"{path}: has the groups {listed(names) or 'of no name'}; {hint} with data.group=NAME")
    return group


def _parse_point(point: Any, where: str) -> tuple[float, float]:
    """x and y of a point that the file has as y and x.

    Raises:
        UserError: it is not two numbers, nor two times null.
    """
    if point is None or (isinstance(point, list) and point and all(value is None for value in point)):
        return np.nan, np.nan
    y, x = map(number_of, point) if isinstance(point, list) and len(point) == 2 else (np.nan, np.nan)
    if np.isnan([x, y]).any():
        raise UserError(f"{where}: {shown(point)} is not [y, x] in pixels; write [null, null] for no label")
    return x, y
