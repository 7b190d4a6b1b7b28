"""Checks of a whole table: units of the points, exchanged axes or sides, transposed images, points of other sources.

Every reader's table passes through here, so a fault is found whatever the format of the label file was. What can't be
right is refused; what might be meant is a warning. Axes: N faces, K points, P pairs of a left and a right point.
"""

from __future__ import annotations

import logging

import cv2
import numpy as np

from facekp.core.channels import to_grey
from facekp.core.console import count, listed
from facekp.core.errors import UserError
from facekp.data.table import FaceTable

log = logging.getLogger(__name__)
MIN_FACES = 3  # faces from which on a table is judged
TURNED = 0.2  # fraction of faces that lie on their side, above which a warning is logged
SWAPPED = 0.02  # fraction of faces with exchanged sides, above which a warning is logged
APART = 0.25  # of a face's extent: sides that are closer than this may be a profile, which has no clear left
MIN_IMAGES = 20  # from which on images are judged
MAX_IMAGES = 200  # that are looked at
DETAILED = 0.3  # fraction of images with more detail at their points than at these with x and y exchanged; usual: 0.94
APART_FROM_DIAGONAL = 1 / 8  # of the image's side: points closer to the diagonal hardly move when x and y are exchanged


def check_table(table: FaceTable, name: str) -> None:
    """Check the points of a table, and its images against them.

    Args:
        table: N faces, as a reader returned them.
        name: of the reader, for messages.

    Raises:
        UserError: all coordinates are from -1 to 1, so they are not pixels.
    """
    values = np.abs(table.points[table.mask])
    if len(values) and values.max() <= 1:
        raise UserError(
            f"data={name}: all points are within one pixel of the image's corner, so they look like fractions of the "
            "image; give pixels: multiply x by the image's width and y by its height"
        )
    _warn_of_other_points(table, name)
    direction = _directions(table)
    if len(direction) >= MIN_FACES and not _warn_of_sides(table, name, direction):
        _warn_of_transposed_images(table, name)


def _warn_of_other_points(table: FaceTable, name: str) -> None:
    """Warn of labels of points that their row's source does not label, by the scheme."""
    scheme = table.keypoints
    for s, source in enumerate(scheme.source_names):
        others = table.mask & ~scheme.labels_of(source) & (table.source == s)[:, None]
        if others.any():
            first = int(others.any(axis=1).argmax())
            log.warning(
                "data=%s: %s of source %s with labels of %s, which sources.%s of keypoints %s lacks: they are learnt "
                "as those of source %s; add them to sources.%s, or leave the labels out; the first: row %d%s",
                name,
                count(int(others.any(axis=1).sum()), "face"),
                source,
                listed([scheme.names[k] for k in np.flatnonzero(others.any(axis=0))]),
                source,
                scheme.name,
                scheme.source_names[0],
                source,
                table.row[first],
                _photo_of(table, first),
            )


def _photo_of(table: FaceTable, i: int) -> str:
    """The photo that row i was cropped from, to be appended to a message."""
    return "" if table.name is None else f", {table.name[i]}"


def _directions(table: FaceTable) -> np.ndarray:
    """float (n, 3): of each face with a clear left and right its index, and how far right and down the left side is."""
    names = table.keypoints.names
    left, right = ([names.index(pair[side]) for pair in table.keypoints.pairs] for side in (0, 1))
    if not left:
        return np.empty((0, 3))
    apart = np.nan_to_num(table.points[:, left] - table.points[:, right]).sum(axis=1)  # (N, 2)
    pairs = (table.mask[:, left] & table.mask[:, right]).sum(axis=1)  # (N,)
    low, high = (reduce(table.points, axis=1) for reduce in (_smallest, _largest))
    extent = np.where(pairs > 0, (high - low).max(axis=1), 0)  # (N,): infinite without a labelled point
    clear = np.flatnonzero((pairs > 0) & (np.abs(apart).max(axis=1) > APART * pairs * extent))
    return np.column_stack((clear, apart[clear]))


def _smallest(points: np.ndarray, axis: int) -> np.ndarray:
    return np.where(np.isnan(points), np.inf, points).min(axis=axis)


def _largest(points: np.ndarray, axis: int) -> np.ndarray:
    return np.where(np.isnan(points), -np.inf, points).max(axis=axis)


def _warn_of_sides(table: FaceTable, name: str, direction: np.ndarray) -> bool:
    """Warn of points whose axes or sides are exchanged; return whether there was a warning."""
    right, down = direction[:, 1], direction[:, 2]
    turned, swapped = np.abs(down) > np.abs(right), right < -np.abs(down)
    for faults, least, what in (
        (
            turned,
            TURNED,
            "have their left and right points above each other: exchange x and y if the columns are mixed up, and turn "
            "photos that lie on their side",
        ),
        (
            swapped,
            SWAPPED,
            "have their left points to the left of the right ones, as in a mirror image; left and right are the "
            "person's own: exchange the names, or subtract x from the image's width minus 1",
        ),
    ):
        if faults.sum() >= MIN_FACES and faults.mean() > least:
            first = int(direction[faults.argmax(), 0])
            log.warning(
                "data=%s: %d of %d faces %s; the first: row %d%s",
                name,
                faults.sum(),
                len(direction),
                what,
                table.row[first],
                _photo_of(table, first),
            )
            return True
    return False


def _warn_of_transposed_images(table: FaceTable, name: str) -> None:
    """Warn of images that have their details where the points are with x and y exchanged.

    Landmarks are placed where an image has details: corners, edges, eyes.
    """
    height, width = table.size
    if height != width:
        return
    rows = np.unique(np.linspace(0, len(table) - 1, MAX_IMAGES).round().astype(int))
    judged = [_is_detailed_at_points(table.images[int(row)], table.points[row]) for row in rows]
    known = [detailed for detailed in judged if detailed is not None]
    if len(known) >= MIN_IMAGES and sum(known) < DETAILED * len(known):
        log.warning(
            "data=%s: the images look transposed: %d of %d have more detail where x and y of the points are exchanged; "
            "exchange rows and columns of the images (the first pixels are the top row)",
            name,
            len(known) - sum(known),
            len(known),
        )


def _is_detailed_at_points(image: np.ndarray, points: np.ndarray) -> bool | None:
    """Whether a square image has more detail at its points (K, 2) than at these with x and y exchanged.

    Returns:
        None where all points are close to the diagonal.
    """
    side = len(image)
    points = points[np.abs(points[:, 0] - points[:, 1]) > APART_FROM_DIAGONAL * side]  # without NaN
    if not len(points):
        return None
    edges = np.abs(cv2.Laplacian(to_grey(image).astype(np.float32), cv2.CV_32F, ksize=3))
    detail = np.log(cv2.GaussianBlur(edges, (0, 0), side / 48) + 1e-3)
    x, y = points.round().astype(int).clip(0, side - 1).T
    return bool(detail[y, x].mean() > detail[x, y].mean())
