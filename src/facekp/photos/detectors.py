"""Where the faces are: a grey photo comes in, boxes go out.

A `FaceDetector` is anything that finds boxes and tells how the competition's crops lie around them; `HaarDetector` is OpenCV's
cascade, `WholePhotoDetector` takes a photo for one face. Pixel convention as everywhere: an integer coordinate is a pixel's centre,
so the box (left, top, right, bottom) of the pixel in the corner is (-0.5, -0.5, 0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from facekp.core.errors import UserError

CASCADE = "haarcascade_frontalface_alt.xml"

OVERLAP = 0.4  # share of the smaller of two boxes; beyond it they show the same face


class FaceDetector(Protocol):
    """Finds faces; an object of a user's own will do as well.

    Attributes:
        margin: how long the side of the competition's crop is, in sides of a box. Both have the same centre.
    """

    @property
    def margin(self) -> float: ...

    def find(self, image: np.ndarray) -> np.ndarray:
        """Boxes of the faces in a photo.

        Args:
            image: uint8 (H, W), grey.

        Returns:
            float (M, 4): left, top, right, bottom in pixels.
        """
        ...


@dataclass(frozen=True)
class HaarDetector:
    """OpenCV's cascade for upright frontal faces, of the file inside its 4.x wheels.

    Attributes:
        step: how much larger each size of the search is than the one before.
        neighbours: hits at about the same place that make a face; fewer find more faces, and more that are none.
        smallest: side of the smallest face that is looked for, pixels, at least 24.
        longest: photos with a longer side are shrunk to it for the search, pixels; `smallest` grows as they do.
    """

    step: float
    neighbours: int
    smallest: int
    longest: int
    # The competition's images are this very cascade's boxes: around 120 of them pasted into scenes, it found boxes with
    # a median side of 95.0 px of 96, and a median centre within 0.0 px of theirs (`facekp.photos.detection_benchmark.paste`).
    margin: float = 1.01

    @cached_property
    def _cascade(self) -> Any:
        folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
        path = Path(folder or "", CASCADE)
        if folder is None or not path.is_file():
            raise UserError(
                f"detector=haar: this OpenCV ({cv2.__version__}) ships no {CASCADE}; "
                "pip install 'opencv-python-headless>=4.10,<5', or take detector=none"
            )
        return cv2.CascadeClassifier(str(path))

    def find(self, image: np.ndarray) -> np.ndarray:
        """As `FaceDetector.find`; the surest face first.

        Raises:
            UserError: the OpenCV installed ships no cascade.
        """
        cascade = self._cascade
        factor = min(1.0, self.longest / max(image.shape))
        if factor < 1:
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        found, _, sure = cascade.detectMultiScale3(
            image, self.step, self.neighbours, minSize=(self.smallest, self.smallest), outputRejectLevels=True
        )
        if not len(found):
            return np.empty((0, 4))
        boxes = np.hstack([found[:, :2], found[:, :2] + found[:, 2:]])[np.argsort(-np.ravel(sure), kind="stable")]
        return _different(boxes / factor - 0.5)


def _different(boxes: np.ndarray) -> np.ndarray:
    """The boxes that don't lie on an earlier one."""
    kept: list[np.ndarray] = []
    for box in boxes:
        if not any(_overlap(box, other) > OVERLAP for other in kept):
            kept.append(box)
    return np.stack(kept)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """What two boxes share, as a share of the smaller one."""
    common = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(common / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))


@dataclass(frozen=True)
class WholePhotoDetector:
    """Every photo is one face, cropped already."""

    margin: float = 1.0

    def find(self, image: np.ndarray) -> np.ndarray:
        """The box of the whole image."""
        height, width = image.shape
        return np.array([[-0.5, -0.5, width - 0.5, height - 0.5]])


FACE_DETECTORS: dict[str, type[HaarDetector] | type[WholePhotoDetector]] = {
    "haar": HaarDetector,
    "none": WholePhotoDetector,
}


def build_face_detector(settings: Mapping[str, Any]) -> FaceDetector:
    """The detector of ``detector=NAME``: ``name`` and what that one takes.

    Raises:
        UserError: unknown name.
    """
    values = dict(settings)
    name = values.pop("name")
    if name not in FACE_DETECTORS:
        raise UserError(f"detector.name: {name!r} is unknown; choose one of {', '.join(FACE_DETECTORS)}")
    return FACE_DETECTORS[name](**values)
