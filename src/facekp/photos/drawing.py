"""facekp.photos.drawing."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from facekp.core.keypoints import Keypoints
from facekp.photos.pipeline import Face
from facekp.photos.reading import Photo

POINT, LINE, BOX = (255, 59, 48), (255, 149, 0), (52, 199, 89)  # red, green, blue

SHIFT = 4  # bits of a pixel that OpenCV draws at


def draw(photo: Photo, faces: Sequence[Face], keypoints: Keypoints) -> np.ndarray:
    """The photo, uint8 (H, W, 3), with crops, points and the scheme's lines drawn in sizes that suit each face."""
    canvas = photo.image.copy()
    for face in faces:
        size = float(face.crop.width)
        thin, radius = max(1, round(size / 150)), max(size / 60, 1.0)
        left, top, right, bottom = face.box
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        cv2.polylines(canvas, [_fixed(corners)], True, BOX, thin, cv2.LINE_AA, SHIFT)
        for line in keypoints.lines:
            chain = face.points[[keypoints.names.index(name) for name in line]]
            cv2.polylines(canvas, [_fixed(chain)], False, LINE, thin, cv2.LINE_AA, SHIFT)
        for x, y in _fixed(face.points).tolist():
            cv2.circle(canvas, (x, y), round(radius * 2**SHIFT), POINT, cv2.FILLED, cv2.LINE_AA, SHIFT)
    return canvas


def _fixed(points: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV's fixed-point numbers, int32."""
    return np.clip(np.round(points * 2**SHIFT), -(2**30), 2**30).astype(np.int32)
