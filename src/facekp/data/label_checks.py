"""Checks of a whole label file that no single face shows: units of the points, and boxes that do not fit them.

Labelled faces come in; faces with fewer labels, a warning or a `UserError` come out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from facekp.core.errors import UserError
from facekp.data.labelled_face import LabelledFace

log = logging.getLogger(__name__)
MOST = 0.8  # fraction of faces with the same fault, above which the fault is the file's
FEWEST = 3  # faces from which on a file is judged
EDGE = 0.01  # of a box's longer side, or one pixel: closer to an edge, a point is on it
OFF_CENTRE = 0.1  # of a box's longer side, from its middle to the middle of the points; a detector's boxes have less
LARGE_PHOTO = 150  # pixels of the shorter side, above which points that are all below 100 may be per cent
BESIDE = "data.boxes=points"  # leaves the boxes of a label file out


class PlacedFace(NamedTuple):
    """A face and the size (W, H) of its photo in pixels."""

    face: LabelledFace
    size: tuple[int, int]


class ZeroPoints:
    """Removes points at exactly (0, 0), which many programs write for a missing point, and counts them.

    The coordinates must be those of the file: a reader that subtracts half a pixel removes them before.
    """

    def __init__(self) -> None:
        self.count = 0

    def remove(self, points: np.ndarray) -> np.ndarray:
        """The points (N, 2), NaN in place of (0, 0)."""
        at_zero = (points == 0).all(axis=1)
        self.count += int(at_zero.sum())
        return np.where(at_zero[:, None], np.nan, points) if at_zero.any() else points

    def log(self) -> None:
        """Warn of the points that were removed, if there were any."""
        if self.count:
            fix = "leave points without a label empty"
            log.warning("%d points at exactly (0, 0) are taken as missing; %s", self.count, fix)


def check_points(faces: Sequence[LabelledFace]) -> list[LabelledFace]:
    """The faces without `ZeroPoints`.

    Raises:
        UserError: all coordinates are from -1 to 1, so they must be fractions of the photos' sides.
    """
    zeros = ZeroPoints()
    checked = [replace(face, points=zeros.remove(face.points)) for face in faces]
    zeros.log()
    values = np.concatenate([face.points.ravel() for face in checked]) if checked else np.empty(0)
    values = values[~np.isnan(values)]
    if len(values) and np.abs(values).max() <= 1:
        lowest = 0 if values.min() >= 0 else -1
        raise UserError(
            f"{checked[0].where}: all points of the file are from {lowest} to 1, such as ({values[0]:g}, "
            f"{values[1]:g}), so they look like fractions of the photo; multiply x by its width, y by its height"
        )
    return checked


def check_boxes(faces: Sequence[LabelledFace]) -> None:
    """Warn of boxes that are the extent of the points: the network would see faces closer than in use."""
    boxed = [face for face in faces if face.box is not None and not np.isnan(face.points).all()]
    tight = [face for face in boxed if _has_points_on_edges(face)]
    if len(boxed) >= FEWEST and 2 * len(tight) > len(boxed):
        log.warning(
            "%s: the boxes of %d of %d faces end at their outermost points, but a face detector's boxes are wider; set "
            "%s to crop around the points with data.margin instead",
            tight[0].where,
            len(tight),
            len(boxed),
            BESIDE,
        )


def _has_points_on_edges(face: LabelledFace) -> bool:
    """Whether points are on two or more edges of the box."""
    assert face.box is not None
    box = np.array(face.box)
    points = face.points[~np.isnan(face.points[:, 0])] + 0.5  # pixel centres to edges
    near = max(EDGE * max(box[2:] - box[:2]), 1.0)
    if not ((points >= box[:2] - near) & (points <= box[2:] + near)).all():
        return False  # another fault
    gaps = [abs(points[:, axis] - edge).min() for axis, edge in zip((0, 1, 0, 1), box, strict=True)]
    return sum(gap <= near for gap in gaps) >= 2


def check_placed(placed: Sequence[PlacedFace]) -> None:
    """Check points and boxes against the sizes of the photos.

    Raises:
        UserError: the boxes are two corners where a corner and a size are meant.
    """
    if len(placed) < FEWEST:
        return
    _warn_of_per_cent(placed)
    boxed = [item for item in placed if item.face.box is not None and not np.isnan(item.face.points).all()]
    if len(boxed) >= FEWEST:
        _refuse_corners(boxed)


def _warn_of_per_cent(placed: Sequence[PlacedFace]) -> None:
    points = np.concatenate([face.points for face, _ in placed])
    smallest = min(min(size) for _, size in placed)
    if smallest >= LARGE_PHOTO and np.nanmin(points) >= 0 and 1 < np.nanmax(points) <= 100:
        log.warning(
            "%s: all points of the file are below 100, but every photo has at least %d pixels a side; if the points "
            "are per cent, multiply x by width / 100 and y by height / 100",
            placed[0].face.where,
            smallest,
        )


def _refuse_corners(boxed: Sequence[PlacedFace]) -> None:
    """Refuse boxes that do not fit their faces, but would if their size were the second corner."""
    faulty = [item for item in boxed if _fits_as_corners(item) and (_is_beyond(item) or _fits_better_as_corners(item))]
    if len(faulty) > MOST * len(boxed):
        face = faulty[0].face
        left, top, right, bottom = face.box or (0, 0, 0, 0)
        shown = f"{left:g}, {top:g}, {right - left:g}, {bottom - top:g}"
        raise UserError(
            f"{face.where}: its bbox ({shown}), like those of {len(faulty)} of {len(boxed)} faces, looks like two "
            f"corners x0, y0, x1, y1; write x, y, width, height, or set {BESIDE}"
        )


def _is_beyond(item: PlacedFace) -> bool:
    (_, _, right, bottom), (width, height) = item.face.box or (0, 0, 0, 0), item.size
    return right > width + 1 or bottom > height + 1


def _fits_better_as_corners(item: PlacedFace) -> bool:
    """Whether the points are far from the middle of the box, and at least twice as close to that of the corners."""
    left, top, right, bottom = item.face.box or (0, 0, 0, 0)
    middle = (np.nanmin(item.face.points, axis=0) + np.nanmax(item.face.points, axis=0)) / 2
    given, corners = np.array([left + right, top + bottom]) / 2, np.array([right, bottom]) / 2
    distances = [float(np.linalg.norm(middle - centre)) for centre in (given, corners)]
    return distances[0] > OFF_CENTRE * max(right - left, bottom - top) and distances[1] < distances[0] / 2


def _fits_as_corners(item: PlacedFace) -> bool:
    """Whether the box, read as left, top, width, height, lies in the photo and around the points as two corners."""
    left, top, right, bottom = item.face.box or (0, 0, 0, 0)
    x1, y1 = right - left, bottom - top
    points = item.face.points[~np.isnan(item.face.points[:, 0])]
    inside_photo = 0 <= left < x1 <= item.size[0] + 1 and 0 <= top < y1 <= item.size[1] + 1
    return bool(inside_photo and (points >= (left - 1, top - 1)).all() and (points <= (x1, y1)).all())
