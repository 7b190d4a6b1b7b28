"""Crops a labelled face out of its photo: a square around its box or its points, and its points in this square.

Points are (x, y) in pixels of the photo; an integer is a pixel centre. Boxes have edges: [0, 0, W, H] is the whole
photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.data.labels.checks import IGNORE_BOXES, PlacedFace, cause_of_misfit, in_rectangle
from facekp.data.labels.face import LabelledFace
from facekp.data.settings import PhotoDataSettings

MAX_BOX = 3  # times the photo's longer side; a larger box must be in other units
MIN_BOX_SIDE = 4  # pixels of a box
MIN_BOX = 0.5  # of the points' extent; a smaller box is not that of their face
BORDER = 1.0  # pixels beyond a box, within which a box is widened to keep a point


def crop_face(
    face: LabelledFace, photo: np.ndarray, settings: PhotoDataSettings
) -> tuple[np.ndarray, np.ndarray, Crop] | None:
    """Cut out a face.

    Args:
        face: with its points in pixels of the photo.
        photo: its levels, uint8 (H, W) or (H, W, 3).
        settings: size of the crop in pixels, and margin around the points.

    Returns:
        the image, uint8 (size, size) or (size, size, 3), the points in it, (K, 2), and the crop. None for a face
        without points, or with neither a box nor two distinct points.

    Raises:
        UserError: the box is not valid, or all points are outside the photo or the box.
    """
    in_photo = _points_in_photo(face, photo)
    box = _face_box(face, in_photo, photo, settings.margin)
    if box is None:
        return None
    crop = _square_crop(box, settings.size)
    lost = ~np.isnan(in_photo[:, 0]) & ~in_rectangle(crop.to_crop(in_photo), settings.size, settings.size)
    if face.box is not None and lost.any():
        _check_smallest(face, in_photo)
        crop = _square_crop(_widened(face.box, in_photo[lost]), settings.size)
    points = crop.to_crop(in_photo)
    inside = in_rectangle(points, settings.size, settings.size)
    if not inside.any():
        cause = cause_of_misfit(PlacedFace(face, (photo.shape[1], photo.shape[0])))
        raise UserError(f"{face.where}: all its points are outside its box; give both in pixels of {face.name}{cause}")
    return crop.cut(photo), np.where(inside[:, None], points, np.nan), crop


def square_around(box: Sequence[float]) -> tuple[int, int, int]:
    """The smallest square of whole pixels around a box (left, top, right, bottom edge): left, top, side.

    Example:
        >>> square_around([2.5, 10, 12.5, 16])
        (2, 8, 11)
    """
    left, top, right, bottom = box
    if right - left >= bottom - top:
        side = max(math.ceil(right) - math.floor(left), 1)
        return math.floor(left), round((top + bottom - side) / 2), side
    side = max(math.ceil(bottom) - math.floor(top), 1)
    return round((left + right - side) / 2), math.floor(top), side


def _square_crop(box: Sequence[float], size: int) -> Crop:
    left, top, side = square_around(box)
    return Crop(left, top, side, side, (size, size))


def _widened(box: Sequence[float], points: np.ndarray) -> Sequence[float]:
    """The box, with the pixels of those points (n, 2) that are at most `BORDER` beyond it."""
    left, top, right, bottom = box
    first, last = np.array([left, top]) - BORDER, np.array([right, bottom]) + BORDER
    points = points[((points + 0.5 >= first) & (points + 0.5 <= last)).all(axis=1)]
    if not len(points):
        return box
    low, high = points.min(axis=0), points.max(axis=0) + 1
    return [min(left, low[0]), min(top, low[1]), max(right, high[0]), max(bottom, high[1])]


def _points_in_photo(face: LabelledFace, photo: np.ndarray) -> np.ndarray:
    """The face's points (K, 2) inside the photo; NaN in place of the others."""
    height, width = photo.shape[:2]
    inside = in_rectangle(face.points, width, height)
    labelled = ~np.isnan(face.points[:, 0])
    if labelled.any() and not inside.any():
        x, y = face.points[labelled][0]
        raise UserError(
            f"{face.where}: all its points are outside {face.name} of {width} x {height} pixels, the first at "
            f"({x:g}, {y:g}); give pixels of the photo as a viewer shows it, x before y; if the photos were resized "
            "after labelling, scale the points alike"
        )
    return np.where(inside[:, None], face.points, np.nan)


def _face_box(face: LabelledFace, points: np.ndarray, photo: np.ndarray, margin: float) -> Sequence[float] | None:
    """The face's box, or one around its points; None without points, or if neither gives a position."""
    if np.isnan(points).all():
        return None
    if face.box is not None:
        _check_box(face, face.box, photo)
        return face.box
    low, high = np.nanmin(points, axis=0) + 0.5, np.nanmax(points, axis=0) + 0.5  # pixel centres to edges
    extent = (high - low).max()
    return None if extent == 0 else [*(low - margin * extent), *(high + margin * extent)]


def _check_box(face: LabelledFace, box: tuple[float, float, float, float], photo: np.ndarray) -> None:
    height, width = photo.shape[:2]
    left, top, right, bottom = box
    shown = f"{face.where}: its box ({left:g}, {top:g}, {right:g}, {bottom:g})"
    if left >= right or top >= bottom:
        cause = cause_of_misfit(PlacedFace(face, (width, height)))
        raise UserError(f"{shown} is empty; give the left, top, right and bottom edge, or leave it out{cause}")
    if max(right - left, bottom - top) < MIN_BOX_SIDE:
        raise UserError(f"{shown} is too small for a face; correct the boxes, or set {IGNORE_BOXES}")
    if max(right - left, bottom - top) > MAX_BOX * max(width, height):
        raise UserError(f"{shown} is more than {MAX_BOX} times {face.name}, {width} x {height} pixels; give pixels")
    if right < 1 or bottom < 1 or left > width - 1 or top > height - 1:
        raise UserError(f"{shown} is outside {face.name}, {width} x {height} pixels; correct it or leave it out")


def _check_smallest(face: LabelledFace, points: np.ndarray) -> None:
    """Refuse a box that leaves out most of its face's points.

    Raises:
        UserError: the box is much smaller than the extent of the points (K, 2), but holds some of them.
    """
    assert face.box is not None
    left, top, right, bottom = face.box
    width, height = np.nanmax(points, axis=0) - np.nanmin(points, axis=0)
    centres = points + 0.5
    holds_some = ((centres >= (left, top)) & (centres <= (right, bottom))).all(axis=1).any()
    if holds_some and max(right - left, bottom - top) < MIN_BOX * max(width, height):
        raise UserError(
            f"{face.where}: its box of {right - left:g} x {bottom - top:g} pixels leaves out most of its points, which "
            f"extend over {width:g} x {height:g}; correct the boxes, or set {IGNORE_BOXES}"
        )


def check_size(face: LabelledFace, photo: np.ndarray) -> None:
    """Refuse a photo of another size than the one that was labelled.

    Raises:
        UserError: the label file states another size.
    """
    height, width = photo.shape[:2]
    if face.size is not None and face.size != (width, height):
        stated = "{} x {}".format(*face.size)
        raise UserError(f"{face.name}: its labels are for {stated} pixels, but a viewer shows {width} x {height}")
