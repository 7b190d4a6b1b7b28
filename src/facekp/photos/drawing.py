"""Draws faces into photos: crops, keypoints and the lines between them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from facekp.core.keypoints import Keypoints
from facekp.photos.pipeline import Face
from facekp.photos.reading import Photo

POINT, LINE, BOX = (255, 59, 48), (255, 149, 0), (52, 199, 89)  # red, orange, green; RGB

SHIFT = 4  # OpenCV draws at 1 / 2**SHIFT of a pixel


def draw(photo: Photo, faces: Sequence[Face], keypoints: Keypoints) -> np.ndarray:
    """A copy of the photo with crops, keypoints and lines; strokes are as thick as suits the size of each face.

    Points that are not finite are left out.

    Args:
        photo: its image is not changed.
        faces: found in the photo.
        keypoints: the scheme of the faces' points, whose ``lines`` are drawn.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    canvas = photo.image.copy()
    for face in faces:
        thickness, radius = max(1, round(face.crop.width / 150)), max(face.crop.width / 60, 1.0)
        left, top, right, bottom = face.box
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        cv2.polylines(canvas, [_fixed_point(corners)], True, BOX, thickness, cv2.LINE_AA, SHIFT)
        for line in keypoints.lines:
            points = _finite(face.points[[keypoints.names.index(name) for name in line]])
            cv2.polylines(canvas, [_fixed_point(points)], False, LINE, thickness, cv2.LINE_AA, SHIFT)
        for x, y in _fixed_point(_finite(face.points)).tolist():
            cv2.circle(canvas, (x, y), round(radius * 2**SHIFT), POINT, cv2.FILLED, cv2.LINE_AA, SHIFT)
    return canvas


def _finite(points: np.ndarray) -> np.ndarray:
    """The points (K, 2) without those that are NaN or infinite."""
    return points[np.isfinite(points).all(axis=1)]


def _fixed_point(coordinates: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV's fixed-point numbers, int32."""
    return np.clip(np.round(coordinates * 2**SHIFT), -(2**30), 2**30).astype(np.int32)
