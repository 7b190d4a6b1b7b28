"""What the detectors of OpenCV share: photos are resized and get a border, and overlapping boxes are dropped."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import Field

from facekp.photos.detectors import MAX_OVERLAP, FaceDetector

Turns = Annotated[list[Literal[90, 180, 270]], Field(max_length=3)]


class SearchingDetector(FaceDetector):
    """A detector of OpenCV: photos are shrunk and get a border, and threads take turns.

    Attributes:
        smallest: side of the smallest face, in pixels of the photo.
        longest: photos with a longer side are shrunk to this length before the search, in pixels.
        border: width of the border around the photo, whose edge pixels it repeats, as a fraction of its longer side.
            Without it, faces that fill the photo are missed.
    """

    border: float

    def __init__(self, smallest: int, longest: int, turns: Sequence[int]) -> None:
        self.smallest, self.longest, self.turns = smallest, longest, turns
        self._lock = threading.Lock()  # OpenCV's detectors keep buffers

    def find(self, image: np.ndarray) -> np.ndarray:
        """As `FaceDetector.find`; the most certain face first.

        Raises:
            UserError: the detector can't be loaded.
        """
        boxes = self.find_at(image, self.longest, self.border)
        return without_overlaps(boxes)

    def find_at(self, image: np.ndarray, longest: int, border: float, largest: float = 1.0) -> np.ndarray:
        """Boxes and scores, float (M, 5), in pixels of the photo.

        Args:
            image: the photo.
            longest: to which it is resized, in pixels.
            border: as the attribute.
            largest: factor by which it is enlarged at most.
        """
        factor = min(largest, longest / max(image.shape))
        if factor * min(image.shape[:2]) < self.smallest:  # no face fits in; a photo may be 30000 x 1 pixels
            return np.empty((0, 5))
        if factor != 1:
            interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation)
        width = round(border * max(image.shape))
        bordered = cv2.copyMakeBorder(image, width, width, width, width, cv2.BORDER_REPLICATE)
        with self._lock:
            boxes, scores = self.search(bordered)
        boxes = (boxes - width) / factor - 0.5
        found = np.column_stack([boxes, scores])
        return found[boxes[:, 2] - boxes[:, 0] >= self.smallest]

    @abstractmethod
    def search(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (M, 4), as left, top, right, bottom from the left and upper edge, and scores (M,); uint8 (H, W, 3)."""


def without_overlaps(found: np.ndarray) -> np.ndarray:
    """Drop boxes that overlap a better one (`MAX_OVERLAP`).

    Args:
        found: (M, 5), boxes and their scores.

    Returns:
        boxes (n, 4), best first.
    """
    kept: list[np.ndarray] = []
    for box in found[np.argsort(-found[:, 4], kind="stable"), :4]:
        if not any(_overlap(box, better) > MAX_OVERLAP for better in kept):
            kept.append(box)
    return np.reshape(kept, (-1, 4))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The intersection of two boxes as a fraction of the smaller one's area."""
    intersection = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(intersection / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))
