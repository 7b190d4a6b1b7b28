"""``data=labelstudio``: Label Studio's JSON export (not JSON-MIN).

Each keypoint's label is the name of a point. Coordinates are per cent of the photo as it is, also where it was turned
for labelling (``image_rotation``). A rectangle is the box of the keypoints that were drawn as its parts, or that lie in
it; without rectangles, a photo has one face. Choices become attributes; a keypoint with the choice ``occluded`` or
``hidden`` is labelled but hidden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.labels.boxes import EDGE, Box, extent_of_turned
from facekp.data.labels.checks import LabelsOfPhotos, ZeroPoints
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of, shown
from facekp.data.labels.point_names import PointLabel, index_by_name, place_points, stated_visibility
from facekp.data.labelstudio.addresses import PhotoAddresses
from facekp.data.labelstudio.tasks import SIDES, Region, name_of, names_of, read_tasks, regions_of
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises


class LabelStudioSettings(PhotoDataSettings):
    """``data=labelstudio``."""


@READERS.register("labelstudio")
def read_labelstudio(settings: LabelStudioSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each rectangle with keypoints, or from each photo; ``row`` counts them from 1.

    Raises:
        UserError: the first fault of the file.
    """
    path = settings.label_file
    tasks = read_tasks(path)
    index = index_by_name(names_of(tasks), keypoints, str(path), complete=False, skip_unknown=settings.skip_broken)
    photos, zeros, labels = PhotoAddresses(Path(settings.images).expanduser()), ZeroPoints(), LabelsOfPhotos()

    def parse(entry: tuple[int, tuple[Mapping[str, Any], Region]]) -> LabelledFace | None:
        row, (task, region) = entry
        where = f"{path}: task {shown(task.get('id'))}"
        if region.fault:
            raise UserError(f"{where}: {region.fault}")
        if not region.keypoints:
            return None
        points = place_points((_label(item, where) for item in region.keypoints), index, keypoints)
        points = zeros.remove(points) - EDGE
        if np.isnan(points).all():
            return None
        face = LabelledFace(
            name=photos.find(task.get("data"), region.drawn_on, where),
            points=points,
            box=None if region.rectangle is None else _box(region.rectangle, where),
            source=0,
            row=row,
            where=where,
            size=_size(region.keypoints[0], where),
            attributes=region.choices,
            visible=stated_visibility(points, _hidden(region, index)),
        )
        fix = "remove one of the two tasks, or correct its address"
        labels.add(face, task, f"task {shown(task.get('id'))}", fix)
        return face

    entries = ((task, region) for task in tasks for region in regions_of(task))
    faces = collect_faces(enumerate(entries, start=1), parse, path, settings.skip_broken)
    zeros.log()
    return faces


@names_points("labelstudio")
def point_names(path: Path) -> list[str]:
    """The labels of keypoints, in the order in which they occur."""
    return list(dict.fromkeys(names_of(read_tasks(path))))


@recognises("labelstudio")
def is_labelstudio(path: Path, text: str) -> bool:
    """Whether the text is a list of tasks with annotations."""
    return text.lstrip("\ufeff \t\r\n").startswith("[") and '"annotations"' in text and '"result"' in text


def _label(item: Mapping[str, Any], where: str) -> PointLabel:
    """A keypoint in pixels, counted from the photo's edge as per cent are."""
    name = name_of(item)
    width, height = _size(item, where)
    x, y = (_value(item, axis, f"{where}, {name}") / 100 for axis in "xy")
    return PointLabel(name, x * width, y * height, where)


def _value(item: Mapping[str, Any], key: str, where: str) -> float:
    value = number_of(item["value"].get(key))
    if math.isnan(value):
        raise UserError(f"{where}: {key} is {shown(item['value'].get(key))}; give per cent of the photo")
    return value


def _size(item: Mapping[str, Any], where: str) -> tuple[int, int]:
    width, height = (number_of(item.get(f"original_{side}")) for side in ("width", "height"))
    if not (width >= 1 and height >= 1):
        given = ", ".join(shown(item.get(f"original_{side}")) for side in ("width", "height"))
        raise UserError(f"{where}: original_width and original_height are {given}; give pixels of the photo")
    return int(width), int(height)


def _box(rectangle: Mapping[str, Any], where: str) -> Box:
    """The edges around a rectangle, which may be turned about its first corner."""
    width, height = _size(rectangle, where)
    x, y, wide, high = (_value(rectangle, key, f"{where}, rectangle") / 100 for key in SIDES)
    degrees = number_of(rectangle["value"].get("rotation"))
    left, top = x * width, y * height
    edges = (left, top, left + wide * width, top + high * height)
    return extent_of_turned(edges, 0.0 if math.isnan(degrees) else degrees, pivot=(left, top))


def _hidden(region: Region, index: Mapping[str, int]) -> list[int]:
    """The points that are marked as hidden."""
    return [index[name_of(item)] for item in region.keypoints if str(item.get("id")) in region.hidden]
