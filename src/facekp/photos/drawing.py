"""Draws faces into photos: crops, keypoints, the lines between them, and numbers."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from facekp.core.keypoints import Keypoints
from facekp.photos.face import Face
from facekp.photos.reading import Photo

POINT, LINE, BOX = (255, 59, 48), (255, 149, 0), (52, 199, 89)  # red, orange, green; RGB
ERROR = (255, 255, 255)  # white

SHIFT = 4  # OpenCV draws at 1 / 2**SHIFT of a pixel


def draw(
    photo: Photo, faces: Sequence[Face], keypoints: Keypoints, scale: float = 1.0, errors: bool = False
) -> np.ndarray:
    """A copy of the photo with crops, keypoints and lines; strokes are as thick as suits the size of each face.

    Points that are not finite are left out. Faces of videos have their numbers in the upper left corner.

    Args:
        photo: its image is not changed.
        faces: found in the photo.
        keypoints: the scheme of the faces' points, whose ``lines`` are drawn.
        scale: pixels of the image per pixel of the photo in which the faces were found.
        errors: draw smaller points, and a circle around each of them whose radius is its expected error. Faces of
            checkpoints that are not calibrated are drawn as without it.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    canvas = photo.image.copy()
    for face in faces:
        side = scale * face.crop.width
        circles = errors and face.expected_error is not None
        thickness, radius = max(1, round(side / 150)), max(side / (200 if circles else 60), 1.0)
        cv2.polylines(canvas, [_fixed_point(face.crop.corners, scale)], True, BOX, thickness, cv2.LINE_AA, SHIFT)
        for line in keypoints.lines:
            points = _finite(face.points[[keypoints.names.index(name) for name in line]])
            cv2.polylines(canvas, [_fixed_point(points, scale)], False, LINE, thickness, cv2.LINE_AA, SHIFT)
        for x, y in _fixed_point(_finite(face.points), scale).tolist():
            cv2.circle(canvas, (x, y), round(radius * 2**SHIFT), POINT, cv2.FILLED, cv2.LINE_AA, SHIFT)
        if circles:
            _draw_errors(canvas, face, scale)
        if face.track is not None:
            draw_number(canvas, face, face.track, scale)
    return canvas


def draw_number(canvas: np.ndarray, face: Face, number: int, scale: float = 1.0) -> None:
    """Write a number into the upper left corner of a face's box; ``scale`` as for `draw`."""
    size = max(scale * face.crop.width / 250, 0.4)
    thickness = max(1, round(2 * size))
    (width, height), _ = cv2.getTextSize(str(number), cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    left, top = (max(round(scale * edge), 0) for edge in face.box[:2])
    edge = thickness + 2
    cv2.rectangle(canvas, (left, top), (left + width + 2 * edge, top + height + 2 * edge), BOX, cv2.FILLED)
    place = (left + edge, top + height + edge)
    cv2.putText(canvas, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), thickness, cv2.LINE_AA)


def _draw_errors(canvas: np.ndarray, face: Face, scale: float) -> None:
    """Draw the circles of `draw`; points and errors that are not finite are left out."""
    assert face.expected_error is not None
    known = np.isfinite(face.points).all(axis=1) & np.isfinite(face.expected_error)
    thickness = max(1, round(scale * face.crop.width / 250))
    radii = np.round(face.expected_error[known] * scale * 2**SHIFT).astype(int)
    for (x, y), radius in zip(_fixed_point(face.points[known], scale).tolist(), radii.tolist(), strict=True):
        cv2.circle(canvas, (x, y), radius, ERROR, thickness, cv2.LINE_AA, SHIFT)


def _finite(points: np.ndarray) -> np.ndarray:
    """The points (K, 2) without those that are NaN or infinite."""
    return points[np.isfinite(points).all(axis=1)]


def _fixed_point(coordinates: np.ndarray, scale: float) -> np.ndarray:
    """Pixels as OpenCV's fixed-point numbers, int32, in an image that was resized by ``scale``."""
    resized = (coordinates + 0.5) * scale - 0.5
    return np.clip(np.round(resized * 2**SHIFT), -(2**30), 2**30).astype(np.int32)
