"""Where the faces are: a grey photo comes in, boxes go out; a box becomes the crop that a network is shown.

A `FaceDetector` is anything that finds boxes and tells how the competition's crops lie around them; `Haar` is OpenCV's
cascade, `Whole` takes a photo for one face. A `Crop` is a rectangle of whole pixels, so that its way from the photo to
the network's size and back is exact. Pixel convention as everywhere: an integer coordinate is a pixel's centre, so the
box (left, top, right, bottom) of the pixel in the corner is (-0.5, -0.5, 0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from facekp.errors import UserError

CASCADE = "haarcascade_frontalface_alt.xml"
OVERLAP = 0.4  # share of the smaller of two boxes; beyond it they show the same face
FARTHEST = 2.0  # times larger, or smaller, than the detector's crop a refined one may be; beyond it, points are no face


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
class Haar:
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
    # a median side of 95.0 px of 96, and a median centre within 0.0 px of theirs (`facekp.scenes.paste`).
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
class Whole:
    """Every photo is one face, cropped already."""

    margin: float = 1.0

    def find(self, image: np.ndarray) -> np.ndarray:
        """The box of the whole image."""
        height, width = image.shape
        return np.array([[-0.5, -0.5, width - 0.5, height - 0.5]])


DETECTORS: dict[str, type[Haar] | type[Whole]] = {"haar": Haar, "none": Whole}


def build_face_detector(settings: Mapping[str, Any]) -> FaceDetector:
    """The detector of ``detector=NAME``: ``name`` and what that one takes.

    Raises:
        UserError: unknown name.
    """
    values = dict(settings)
    name = values.pop("name")
    if name not in DETECTORS:
        raise UserError(f"detector.name: {name!r} is unknown; choose one of {', '.join(DETECTORS)}")
    return DETECTORS[name](**values)


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole pixels, which may reach beyond its photo, shown at another size.

    Attributes:
        left, top: its first column and row.
        width, height: in pixels of the photo.
        size: (H, W) it is shown at.
    """

    left: int
    top: int
    width: int
    height: int
    size: tuple[int, int]

    @classmethod
    def around(cls, centre: np.ndarray, scale: float, size: tuple[int, int]) -> Crop:
        """The crop with that centre (x, y), of about ``scale`` pixels of the photo for each of its own."""
        height, width = (max(round(scale * side), 1) for side in size)
        left, top = (round(middle - (side - 1) / 2) for middle, side in zip(centre, (width, height), strict=True))
        return cls(left, top, width, height, size)

    @classmethod
    def of_box(cls, box: np.ndarray, margin: float, size: tuple[int, int]) -> Crop:
        """The crop around a detector's box that holds all of it, with `FaceDetector.margin`."""
        sides = box[2:] - box[:2]
        return cls.around((box[:2] + box[2:]) / 2, margin * max(sides / size[::-1]), size)

    @property
    def scale(self) -> np.ndarray:
        """Pixels of the photo for each of the crop's, (x, y)."""
        return np.array([self.width / self.size[1], self.height / self.size[0]])

    def cut(self, image: np.ndarray) -> np.ndarray:
        """What a photo uint8 (H, W) shows there, uint8 ``size``; where it shows nothing, its edge is repeated.

        Shrunk by averages of the area, rows after columns, so that no crop is ever held in full where it reaches far
        beyond a large photo.
        """
        rows = np.clip(np.arange(self.top, self.top + self.height), 0, image.shape[0] - 1)
        columns = np.clip(np.arange(self.left, self.left + self.width), 0, image.shape[1] - 1)
        height, width = self.size
        how = cv2.INTER_AREA if self.width > width else cv2.INTER_CUBIC
        strip = image[rows[0] : rows[-1] + 1, columns]
        strip = cv2.resize(strip, (width, len(strip)), interpolation=how)
        return cv2.resize(strip[rows - rows[0]], (width, height), interpolation=how)

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) in pixels of the crop, in pixels of the photo."""
        return (points + 0.5) * self.scale - 0.5 + (self.left, self.top)

    def refined(self, points: np.ndarray, mean_face: np.ndarray) -> Crop:
        """The crop in which points found here would have the mean face's centre and size.

        Args:
            points: (K, 2) in pixels of the crop.
            mean_face: (K, 2) in pixels of a crop.

        Returns:
            this very one where a size says that the points are no face's.
        """
        found, mean = points.mean(axis=0), mean_face.mean(axis=0)
        size, wanted = (float(np.sqrt(np.square(p - p.mean(axis=0)).sum())) for p in (points, mean_face))
        if not (wanted > 0 and 1 / FARTHEST < size / wanted < FARTHEST):
            return self
        centre = found + ((np.array(self.size[::-1]) - 1) / 2 - mean) * size / wanted
        return Crop.around(self.to_photo(centre), float(self.scale.mean()) * size / wanted, self.size)
