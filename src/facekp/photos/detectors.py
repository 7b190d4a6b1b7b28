"""Face detectors: a grey photo comes in, the boxes of its faces go out.

`HaarDetector` is OpenCV's cascade; `WholePhotoDetector` takes every photo for one face. To add a detector, write a
class and register it::

    from facekp.photos.detectors import FACE_DETECTORS, FaceDetector

    @FACE_DETECTORS.register("my_detector")
    class MyDetector(FaceDetector):
        margin = 1.2

        def __init__(self, threshold: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None: ...
        def find(self, image: np.ndarray) -> np.ndarray: ...

Now ``detector=my_detector detector.threshold=0.7`` works. The arguments of the constructor are the settings of the
detector. Their annotations give types and ranges.

Pixel convention: an integer coordinate is the centre of a pixel. The box (left, top, right, bottom) of the first pixel
is (-0.5, -0.5, 0.5, 0.5).
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Protocol

import cv2
import numpy as np
from pydantic import Field

from facekp.core.errors import UserError
from facekp.core.registry import Registry
from facekp.core.settings import Count, Settings

CASCADE = "haarcascade_frontalface_alt.xml"

OVERLAP = 0.4  # intersection of two boxes as a fraction of the smaller one; above it they show the same face


class FaceDetectorSettings(Settings):
    """``detector``: the name of the detector; each detector adds its own settings."""

    name: str


class FaceDetector(Protocol):
    """A face detector. From Python, any object with this attribute and method can be used.

    Attributes:
        margin: side of the square crop that the network gets, as a multiple of the longer side of the box. Crop and
            box have the same centre. 1.0: the crop is as large as the box.
    """

    margin: float = 1.0

    @abstractmethod
    def find(self, image: np.ndarray) -> np.ndarray:
        """Find the faces in a photo.

        Args:
            image: uint8 (H, W), grey.

        Returns:
            float (M, 4): left, top, right and bottom edge of each face in pixels; M may be 0.
        """


FACE_DETECTORS: Registry[type[FaceDetector]] = Registry(
    "face detector",
    key="detector",
    base=FaceDetectorSettings,
    entry_points="facekp.face_detectors",
    config_group="detector",
)


def build_face_detector(settings: FaceDetectorSettings) -> FaceDetector:
    """The detector that the settings name.

    Args:
        settings: of `FACE_DETECTORS.parse`.

    Raises:
        UserError: a plug-in's class is no `FaceDetector`: it has no ``find`` or no ``margin``.
    """
    detector: Any = FACE_DETECTORS.partial(settings)()
    if not callable(getattr(detector, "find", None)) or not isinstance(getattr(detector, "margin", None), (int, float)):
        raise UserError(
            f"face detector {settings.name}: {type(detector).__name__} needs a method find and a number margin; derive "
            "it from facekp.photos.detectors.FaceDetector"
        )
    made: FaceDetector = detector
    return made


def find_boxes(detector: FaceDetector, image: np.ndarray) -> np.ndarray:
    """The boxes that a detector finds, checked.

    Args:
        detector: any object with ``find`` and ``margin``.
        image: uint8 (H, W), grey.

    Returns:
        float64 (M, 4), as `FaceDetector.find`.

    Raises:
        UserError: the detector returned something else, or a box without an area.
    """
    boxes = np.asarray(detector.find(image), dtype=np.float64)
    if boxes.size == 0:
        return np.empty((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise UserError(
            f"face detector {type(detector).__name__}: find returned an array of shape {boxes.shape}; return (M, 4): "
            "left, top, right, bottom of M faces"
        )
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()):
        raise UserError(
            f"face detector {type(detector).__name__}: find returned a box without an area; return finite numbers with "
            "left < right and top < bottom"
        )
    return boxes


@FACE_DETECTORS.register("haar")
class HaarDetector(FaceDetector):
    """OpenCV's cascade for upright frontal faces; its file is part of OpenCV's 4.x wheels.

    Args:
        step: ratio between successive face sizes of the search.
        neighbours: how many overlapping hits make a face; fewer find more faces and more false ones.
        smallest: side of the smallest face that is searched, in pixels.
        longest: photos with a longer side are shrunk to this length before the search, in pixels; the smallest face
            that can be found then grows accordingly.
    """

    # The competition's images were cropped by this cascade. It was run on 120 of them, pasted into larger scenes
    # (`facekp.photos.detection_benchmark.paste`): the median box side was 95.0 of 96 px, the median offset 0.0 px.
    margin = 1.01

    def __init__(
        self,
        step: Annotated[float, Field(ge=1.01, le=2)],
        neighbours: Count,
        smallest: Annotated[int, Field(ge=24)],
        longest: Annotated[int, Field(ge=96)],
    ) -> None:
        self.step, self.neighbours, self.smallest, self.longest = step, neighbours, smallest, longest

    @cached_property
    def _cascade(self) -> Any:
        folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
        path = Path(folder or "", CASCADE)
        if folder is None or not path.is_file():
            raise UserError(
                f"detector=haar: this OpenCV ({cv2.__version__}) has no file {CASCADE}; "
                "pip install 'opencv-python-headless>=4.10,<5', or use detector=none"
            )
        return cv2.CascadeClassifier(str(path))

    def find(self, image: np.ndarray) -> np.ndarray:
        """As `FaceDetector.find`; the most certain face first.

        Raises:
            UserError: the installed OpenCV has no cascade file.
        """
        cascade = self._cascade
        factor = min(1.0, self.longest / max(image.shape))
        if factor * min(image.shape) < self.smallest:  # no face fits in; a photo may be 30000 x 1 pixels
            return np.empty((0, 4))
        if factor < 1:
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        found, _, scores = cascade.detectMultiScale3(
            image, self.step, self.neighbours, minSize=(self.smallest, self.smallest), outputRejectLevels=True
        )
        if not len(found):
            return np.empty((0, 4))
        corners = np.hstack([found[:, :2], found[:, :2] + found[:, 2:]])  # from (left, top, width, height)
        by_score = np.argsort(-np.ravel(scores), kind="stable")
        return _without_overlaps(corners[by_score] / factor - 0.5)


@FACE_DETECTORS.register("none")
class WholePhotoDetector(FaceDetector):
    """No search: every photo is one face that is already cropped.

    Example:
        >>> WholePhotoDetector().find(np.zeros((40, 60), dtype=np.uint8)).tolist()
        [[-0.5, -0.5, 59.5, 39.5]]
    """

    margin = 1.0

    def find(self, image: np.ndarray) -> np.ndarray:
        """The box of the whole image, (1, 4)."""
        height, width = image.shape
        return np.array([[-0.5, -0.5, width - 0.5, height - 0.5]])


def _without_overlaps(boxes: np.ndarray) -> np.ndarray:
    """Drop boxes that overlap an earlier one by more than `OVERLAP`."""
    kept: list[np.ndarray] = []
    for box in boxes:
        if not any(_overlap(box, earlier) > OVERLAP for earlier in kept):
            kept.append(box)
    return np.stack(kept)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The intersection of two boxes as a fraction of the smaller one's area."""
    intersection = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(intersection / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))
