"""Checks of a whole label file: units of the points, repeated faces, and boxes that do not fit the points.

Labelled faces come in; faces with fewer labels, a warning or a `UserError` come out.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.data.labels.face import LabelledFace

log = logging.getLogger(__name__)
MAX_FAULTY_FRACTION = 0.8  # of faces with the same fault, above which the fault is the file's
MIN_FACES = 3  # faces from which on a file is judged
EDGE_WIDTH = 0.01  # of a box's longer side, or one pixel: closer to an edge, a point is on it
NARROW = 0.05  # the same, or two pixels, where all four edges are so close; 300-W and WFLW in COCO's JSON have 0.08
MAX_LEFT_OUT = 0.2  # fraction of the points in the photos that boxes leave out; dlib's own tight boxes leave out 0.08
MAX_OUTSIDE = 1 / 3  # fraction of the points that are outside their photos; cut photos have fewer
REPEATED = 0.02  # of a face's extent, by which the points of a repeated face may differ
OFF_CENTRE = 0.1  # of a box's longer side, from its middle to the middle of the points; a detector's boxes have less
LARGE_PHOTO = 150  # pixels of the shorter side, above which points that are all below 100 may be per cent
IGNORE_BOXES = "data.boxes=points"  # leaves the boxes of a label file out


class PlacedFace(NamedTuple):
    """A face and the size (W, H) of its photo in pixels."""

    face: LabelledFace
    size: tuple[int, int]


class Reading(NamedTuple):
    """Another meaning that the four numbers of a box may have.

    Attributes:
        name: the meaning, for messages.
        fix: what to write instead.
        edges: makes the meant edges of those that the reader made of the numbers.
    """

    name: str
    fix: str
    edges: Callable[[float, float, float, float], tuple[float, float, float, float]]


CORNERS = Reading(
    "two corners x0, y0, x1, y1", "write x, y, width, height", lambda x0, y0, x1, y1: (x0, y0, x1 - x0, y1 - y0)
)
READINGS = (
    CORNERS,
    Reading(
        "the centre, width and height",
        "write x - width / 2, y - height / 2, width, height",
        lambda x0, y0, x1, y1: (x0 - (x1 - x0) / 2, y0 - (y1 - y0) / 2, x0 + (x1 - x0) / 2, y0 + (y1 - y0) / 2),
    ),
    Reading("y before x", "write x before y", lambda x0, y0, x1, y1: (y0, x0, y1, x1)),
    Reading(
        "x, y, width, height", "write two corners x0, y0, x1, y1", lambda x0, y0, x1, y1: (x0, y0, x0 + x1, y0 + y1)
    ),
)


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
            log.warning("%s at exactly (0, 0) taken as missing; %s", count(self.count, "point"), fix)


def check_points(faces: Sequence[LabelledFace]) -> list[LabelledFace]:
    """The faces without `ZeroPoints`; a warning counts those that repeat another face of their photo.

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
    if repeated := _repeated(checked):
        log.warning(
            "%s with the points of another face of the same photo, the first: %s; remove the repeated labels",
            count(len(repeated), "face"),
            repeated[0].where,
        )
    return checked


def _repeated(faces: Sequence[LabelledFace]) -> list[LabelledFace]:
    """The faces whose points are those of another face of their photo; of faces side by side, the later in the file."""
    faces = [face for face in faces if not np.isnan(face.points).all()]
    if len(faces) < 2:
        return []
    points = np.stack([face.points for face in faces])  # (N, K, 2)
    photos = np.unique([posixpath.normpath(face.name.replace("\\", "/")) for face in faces], return_inverse=True)[1]
    centres = np.nanmean(points, axis=1)
    order = np.lexsort((centres[:, 1], centres[:, 0], photos))
    first, second = order[:-1], order[1:]
    repeats = (photos[first] == photos[second]) & are_alike(points[first], points[second])
    return [faces[i] for i in np.unique(np.maximum(first, second)[repeats])]


def are_alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether two labels are of one face: bool (P,) for points (P, K, 2) each, NaN where they have no label.

    Example:
        >>> face = np.array([[10.0, 10.0], [60.0, 10.0], [35.0, np.nan]])
        >>> are_alike(np.stack([face, face]), np.stack([face + 0.5, face + 5]))
        array([ True, False])
    """
    labelled = [~np.isnan(points).any(axis=2) for points in (first, second)]
    common = labelled[0] & labelled[1]  # (P, K)
    differences = np.abs(first - second).max(axis=2, initial=0, where=common[..., None])
    low, high = (
        end(np.where(common[..., None], first, empty), axis=1) for end, empty in ((np.min, np.inf), (np.max, -np.inf))
    )
    extent = np.maximum((high - low).max(axis=1), 0)
    enough = 2 * common.sum(axis=1) >= np.maximum(np.minimum(*(given.sum(axis=1) for given in labelled)), 1)
    return np.asarray(enough & (differences.max(axis=1) <= REPEATED * extent))


def find_contradiction(points: np.ndarray, others: Sequence[np.ndarray]) -> int | None:
    """The position of the first face that is the same face with other points; None if another one has the same points.

    Faces are the same if the centre of one lies within the extent of the other.

    Args:
        points: float (K, 2) of a face, NaN where it has no label; at least one has.
        others: of other labels of the photo.

    Example:
        >>> face = np.array([[10.0, 10.0], [60.0, 10.0], [35.0, 40.0]])
        >>> find_contradiction(face, [face + 100, face + 10]), find_contradiction(face, [face + 10, face])
        (1, None)
    """
    if any(are_alike(points[None], other[None]).all() for other in others):
        return None
    overlaps = (_is_within(points, other) or _is_within(other, points) for other in others)
    return next((position for position, overlap in enumerate(overlaps) if overlap), None)


class LabelsOfPhotos:
    """Refuses a face that another entry of the label files labels elsewhere: one of them may be of another photo.

    Entries are what has the labels of one photo, such as tasks or files.
    """

    def __init__(self) -> None:
        self.faces: dict[str, list[tuple[object, str, LabelledFace]]] = {}  # by photo

    def add(self, face: LabelledFace, entry: object, name: str, fix: str) -> None:
        """Check a face against those added before.

        Args:
            face: passed over if it has no labelled point.
            entry: that the face is of. The faces of one entry may be anywhere.
            name: of the entry, for messages.
            fix: what to do if two entries contradict each other.

        Raises:
            UserError: names both entries. The same labels, and other faces of the photo, are fine.
        """
        if np.isnan(face.points).all():
            return
        of_photo = self.faces.setdefault(posixpath.normpath(face.name.replace("\\", "/")), [])
        others = [(label, other) for of_entry, label, other in of_photo if of_entry is not entry]
        at = find_contradiction(face.points, [other.points for _, other in others])
        if at is not None:
            raise UserError(f"{face.where}: {others[at][0]} has other points for the same face of {face.name}; {fix}")
        of_photo.append((entry, name, face))


def _is_within(points: np.ndarray, others: np.ndarray) -> bool:
    """Whether the centre of some points lies within the extent of others."""
    centre = np.nanmean(points, axis=0)
    return bool((centre >= np.nanmin(others, axis=0)).all() and (centre <= np.nanmax(others, axis=0)).all())


def check_boxes(faces: Sequence[LabelledFace]) -> None:
    """Warn of boxes that are the extent of the points: the network would see faces closer than in use."""
    boxed = [face for face in faces if face.box is not None and not np.isnan(face.points).all()]
    tight = [face for face in boxed if _has_points_on_edges(face)]
    if len(boxed) >= MIN_FACES and 2 * len(tight) > len(boxed):
        log.warning(
            "%s: the boxes of %d of %d faces end at their outermost points, but a face detector's boxes are wider; set "
            "%s to crop around the points with data.margin instead",
            tight[0].where,
            len(tight),
            len(boxed),
            IGNORE_BOXES,
        )


def _has_points_on_edges(face: LabelledFace) -> bool:
    """Whether points are on two or more edges of the box, or close to all four."""
    assert face.box is not None
    box = np.array(face.box)
    points = face.points[~np.isnan(face.points[:, 0])] + 0.5  # pixel centres to edges
    near = max(EDGE_WIDTH * max(box[2:] - box[:2]), 1.0)
    if not ((points >= box[:2] - near) & (points <= box[2:] + near)).all():
        return False  # another fault
    gaps = [abs(points[:, axis] - edge).min() for axis, edge in zip((0, 1, 0, 1), box, strict=True)]
    return sum(gap <= near for gap in gaps) >= 2 or max(gaps) <= max(NARROW * max(box[2:] - box[:2]), 2.0) + 0.5


def check_placed(placed: Sequence[PlacedFace], boxes_have_sizes: bool = True) -> None:
    """Check points and boxes against the sizes of the photos.

    Args:
        placed: the faces.
        boxes_have_sizes: as in `facekp.data.settings.PhotoDataSettings`.

    Raises:
        UserError: many points are outside their photos, or the boxes are two corners where a corner and a size are
            meant.
    """
    if len(placed) < MIN_FACES:
        return
    _refuse_outside(placed)
    _warn_of_per_cent(placed)
    boxed = [item for item in placed if item.face.box is not None and not np.isnan(item.face.points).all()]
    if boxes_have_sizes and len(boxed) >= MIN_FACES:
        _refuse_corners(boxed)


def _warn_of_per_cent(placed: Sequence[PlacedFace]) -> None:
    points = np.concatenate([face.points for face, _ in placed])
    if np.isnan(points).all():
        return
    smallest = min(min(size) for _, size in placed)
    if smallest >= LARGE_PHOTO and np.nanmin(points) >= 0 and 1 < np.nanmax(points) <= 100:
        log.warning(
            "%s: all points of the file are below 100, but every photo has at least %d pixels a side; if the points "
            "are per cent, multiply x by width / 100 and y by height / 100",
            placed[0].face.where,
            smallest,
        )


def _refuse_outside(placed: Sequence[PlacedFace]) -> None:
    """Refuse labels that are for photos of another size.

    Raises:
        UserError: names the first face with a point outside its photo.
    """
    labelled = sum(int((~np.isnan(face.points[:, 0])).sum()) for face, _ in placed)
    outside = [int((~np.isnan(face.points[:, 0]) & ~in_rectangle(face.points, *size)).sum()) for face, size in placed]
    if sum(outside) > MAX_OUTSIDE * labelled:
        face, (width, height) = next(item for item, number in zip(placed, outside, strict=True) if number)
        raise UserError(
            f"{face.where}: has points outside {face.name} of {width} x {height} pixels, as {sum(outside)} of "
            f"{labelled} points of the file; if the photos were resized after labelling, scale the points alike, or "
            "give the original photos"
        )


def in_rectangle(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """bool (K,): not beyond the outer pixels; False for NaN."""
    return np.asarray(((points >= -0.5) & (points <= (width, height))).all(axis=1))


def check_left_out(boxed: Sequence[PlacedFace], left_out: Sequence[int]) -> None:
    """Check that the boxes hold the points.

    Args:
        boxed: the faces with a box.
        left_out: how many points of each are in the photo, but not in the image cut out.

    Raises:
        UserError: the boxes leave out more than `MAX_LEFT_OUT` of the points.
    """
    labelled = [int((~np.isnan(face.points[:, 0]) & in_rectangle(face.points, *size)).sum()) for face, size in boxed]
    if len(boxed) < MIN_FACES or sum(left_out) <= MAX_LEFT_OUT * sum(labelled):
        return
    faulty = [i for i, number in enumerate(left_out) if number]
    readings = [reading_that_fits(boxed[i]) for i in faulty]
    reading = max(READINGS, key=readings.count)
    is_likely = readings.count(reading) > MAX_FAULTY_FRACTION * len(faulty)
    raise UserError(
        f"{boxed[faulty[0]].face.where}: its box leaves out {left_out[faulty[0]]} of its {labelled[faulty[0]]} points, "
        f"as the boxes of the file {sum(left_out)} of {sum(labelled)}; "
        f"{_cause(reading) if is_likely else 'correct the boxes'}, or set {IGNORE_BOXES} to crop around the points"
    )


def cause_of_misfit(item: PlacedFace) -> str:
    """Why a box may not fit its face, and what to write, for a message; "" if no other reading of it fits."""
    reading = reading_that_fits(item)
    return "" if reading is None else f"; {_cause(reading)}"


def _cause(reading: Reading) -> str:
    return f"it looks like {reading.name}: {reading.fix}"


def reading_that_fits(item: PlacedFace) -> Reading | None:
    """The order of a box's numbers that puts it into the photo and around the points; None: no order does."""
    return next((reading for reading in READINGS if _fits(item, reading)), None)


def _refuse_corners(boxed: Sequence[PlacedFace]) -> None:
    """Refuse boxes that do not fit their faces, but would if their size were the second corner; warn of a few."""
    faulty = [item for item in boxed if _fits(item, CORNERS) and (_is_beyond(item) or _fits_better_as_corners(item))]
    if not faulty:
        return
    face = faulty[0].face
    left, top, right, bottom = face.box or (0, 0, 0, 0)
    shown = f"{left:g}, {top:g}, {right - left:g}, {bottom - top:g}"
    fault = (
        f"{face.where}: its bbox ({shown}), like those of {len(faulty)} of {len(boxed)} faces, looks like "
        f"{CORNERS.name}; {CORNERS.fix}, or set {IGNORE_BOXES}"
    )
    if len(faulty) > MAX_FAULTY_FRACTION * len(boxed):
        raise UserError(fault)
    log.warning("%s", fault)


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


def _fits(item: PlacedFace, reading: Reading) -> bool:
    """Whether the box, read so, lies in the photo and around the points."""
    left, top, right, bottom = reading.edges(*(item.face.box or (0, 0, 0, 0)))
    points = item.face.points[~np.isnan(item.face.points[:, 0])]
    inside_photo = 0 <= left < right <= item.size[0] + 1 and 0 <= top < bottom <= item.size[1] + 1
    return bool(inside_photo and (points >= (left - 1, top - 1)).all() and (points <= (right, bottom)).all())
