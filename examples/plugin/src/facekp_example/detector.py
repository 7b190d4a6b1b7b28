"""A face detector: one face in the middle of every photo."""

from __future__ import annotations

import numpy as np

from facekp.core.settings import Fraction
from facekp.photos.detectors import FACE_DETECTORS, FaceDetector


@FACE_DETECTORS.register("example_centre")
class CentreDetector(FaceDetector):
    """The central square of a photo.

    Args:
        side: of the square, as a fraction of the photo's shorter side.
    """

    def __init__(self, side: Fraction = 0.8) -> None:
        self.side = side

    margin = 1.0  # the crop's side, in sides of the box

    def find(self, image: np.ndarray) -> np.ndarray:
        """Boxes (M, 4) as left, top, right, bottom in pixels, of a photo uint8 (H, W, 3), RGB."""
        height, width = image.shape[:2]
        half = self.side * min(height, width) / 2
        x, y = (width - 1) / 2, (height - 1) / 2
        return np.array([[x - half, y - half, x + half, y + half]])
