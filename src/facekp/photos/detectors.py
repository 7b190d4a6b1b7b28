"""Face detectors: a photo in colour comes in, the boxes of its faces go out.

`YuNetDetector` is a small network, `HaarDetector` is OpenCV's cascade, and `WholePhotoDetector` takes every photo for
one face. To add a detector, write a class and register it::

    from facekp.photos.detectors import FACE_DETECTORS, FaceDetector

    @FACE_DETECTORS.register("my_detector")
    class MyDetector(FaceDetector):
        margin = 1.2

        def __init__(self, threshold: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None: ...
        def find(self, image: np.ndarray) -> np.ndarray: ...

Now ``detector=my_detector detector.threshold=0.7`` works. The arguments of the constructor are the settings of the
detector. Their annotations give types and ranges. ``find`` may be called by several threads, as the web page does.

Pixel convention: an integer coordinate is the centre of a pixel. The box (left, top, right, bottom) of the first pixel
is (-0.5, -0.5, 0.5, 0.5).
"""

from __future__ import annotations

import math
import threading
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import cv2
import numpy as np
import yaml
from pydantic import Field

from facekp.config.location import CONF_DIR
from facekp.core.channels import to_grey
from facekp.core.errors import UserError
from facekp.core.registry import Registry
from facekp.core.settings import Count, FilePath, Fraction, Settings
from facekp.photos.yunet import load_yunet

CASCADE = "haarcascade_frontalface_alt.xml"

CENTRE_ABOVE_BOX = 0.011  # centre of the crop above that of YuNet's box, in sides of the square of the same area

COARSE_SIDE = 320  # pixels; length of the small copy in which YuNet finds large faces, those of 300 pixels and more

# Factor by which YuNet's photos of 160 pixels and less are enlarged. It finds 53 of 63 held-out images that are pasted
# into scenes of 96 pixels at half their size (`facekp.photos.detection_benchmark.paste`), and all of them enlarged.
ENLARGEMENT = 2.0

MAX_BOX_DISTANCE = 4  # longer sides of the photo; a box of a detector reaches no further from the first pixel

MAX_OVERLAP = 0.4  # intersection of two boxes as a fraction of the smaller one; above it they show the same face


class FaceDetectorSettings(Settings):
    """``detector``: the name of the detector; each detector adds its own settings."""

    name: str


class FaceDetector(Protocol):
    """A face detector. From Python, any object with ``margin`` and ``find`` can be used.

    Attributes:
        margin: side of the square crop that the network gets, as a multiple of the longer side of the box. Crop and
            box have the same centre. 1.0: the crop is as large as the box.
        turns: angles in degrees, multiples of 90. Where no face is found, they are tried one after another: the photo
            is searched for faces that are turned clockwise by this angle.
        searches: whether it looks for faces. If not, its boxes are kept whatever their confidence.
    """

    margin: float = 1.0
    turns: Sequence[int] = ()
    searches: bool = True

    @abstractmethod
    def find(self, image: np.ndarray) -> np.ndarray:
        """Find the upright faces in a photo.

        Args:
            image: uint8 (H, W, 3), red, green, blue.

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
    return check_detector(FACE_DETECTORS.partial(settings)(), f"face detector {settings.name}")


def check_detector(detector: Any, where: str) -> FaceDetector:
    """The detector itself, if it is one.

    Args:
        detector: any object.
        where: start of the messages.

    Raises:
        UserError: it is a class, or has no ``find`` or no valid ``margin`` or ``turns``.
    """
    if isinstance(detector, type):
        raise UserError(f"{where}: {detector.__name__} is a class; give an object of it, {detector.__name__}(...)")
    if not callable(getattr(detector, "find", None)) or not isinstance(getattr(detector, "margin", None), Real):
        raise UserError(
            f"{where}: {type(detector).__name__} needs a method find and a number margin; derive it from "
            "facekp.photos.detectors.FaceDetector"
        )
    if not (math.isfinite(detector.margin) and detector.margin > 0):
        raise UserError(f"{where}: margin is {detector.margin}; give a number above 0")
    turns = getattr(detector, "turns", ())
    if not isinstance(turns, Iterable) or not all(isinstance(angle, Integral) and angle % 90 == 0 for angle in turns):
        raise UserError(f"{where}: turns are {turns}; give multiples of 90 degrees")
    made: FaceDetector = detector
    return made


@lru_cache(maxsize=4)
def default_detector(name: str) -> FaceDetector:
    """The detector of this name with the settings of its file in conf; a plug-in's with those of its constructor.

    Raises:
        UserError: there is no such detector.
    """
    file = CONF_DIR / "detector" / f"{name}.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {"name": name}
    return build_face_detector(FACE_DETECTORS.parse(values))


def find_boxes(detector: FaceDetector, image: np.ndarray) -> np.ndarray:
    """The boxes that a detector finds, checked.

    Args:
        detector: any object with ``find`` and ``margin``.
        image: uint8 (H, W, 3), RGB.

    Returns:
        float64 (M, 4), as `FaceDetector.find`.

    Raises:
        UserError: the detector returned something else, or a box without an area; or it is made for grey photos.
    """
    found = _find(detector, image)
    try:
        boxes = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # texts, a generator, rows of unequal length
        raise UserError(
            f"face detector {type(detector).__name__}: find returned a {type(found).__name__} that is not an array "
            "of numbers; return (M, 4): left, top, right, bottom of M faces"
        ) from error
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
    if np.abs(boxes).max() > MAX_BOX_DISTANCE * max(image.shape[:2]):
        raise UserError(
            f"face detector {type(detector).__name__}: find returned a box far outside the photo, "
            f"{boxes[np.abs(boxes).max(axis=1).argmax()].tolist()}; return pixels of the photo"
        )
    return boxes


def _find(detector: FaceDetector, image: np.ndarray) -> Any:
    """Search a photo, in grey levels if the detector can't search it in colour.

    Raises:
        UserError: the detector fails with the photo in colour, but not in grey.
    """
    try:
        is_own = type(detector).__module__ == __name__
        return detector.find(image if is_own else image.copy())  # a plug-in may draw on it
    except UserError:
        raise
    except Exception as error:  # of a plug-in, which up to facekp 0.1 got grey photos
        try:
            detector.find(to_grey(image))
        except Exception:
            raise error from None
        raise UserError(
            f"face detector {type(detector).__name__}: find is made for grey photos ({error}); it gets uint8 "
            "(H, W, 3), RGB: start it with image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)"
        ) from error


class _Search(FaceDetector):
    """What the built-in detectors share: photos are shrunk and get a border, and threads take turns.

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
        boxes = self._find_at(image, self.longest, self.border)
        return _without_overlaps(boxes)

    def _find_at(self, image: np.ndarray, longest: int, border: float, largest: float = 1.0) -> np.ndarray:
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
            boxes, scores = self._search(bordered)
        boxes = (boxes - width) / factor - 0.5
        found = np.column_stack([boxes, scores])
        return found[boxes[:, 2] - boxes[:, 0] >= self.smallest]

    @abstractmethod
    def _search(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (M, 4), as left, top, right, bottom from the left and upper edge, and scores (M,); uint8 (H, W, 3)."""


Turns = Annotated[list[Literal[90, 180, 270]], Field(max_length=3)]


@FACE_DETECTORS.register("yunet")
class YuNetDetector(_Search):
    """YuNet, a small network for faces in photos in colour; its file is part of facekp.

    Args:
        model: ONNX file of another YuNet; None: the one in this package.
        score: boxes of a lower score are dropped.
        nms: of boxes that overlap by more than this fraction of their union, the one with the higher score is kept.
        smallest: side of the smallest face that is searched, in pixels of the photo.
        longest: photos with a longer side are shrunk to this length before the search, in pixels.
        turns: angles at which a photo is searched again while no face is found, in degrees.

    Raises:
        UserError: the file can't be read.
    """

    # Where the competition's crop is relative to YuNet's box, by medians. On 891 training images pasted into scenes at
    # three sizes (`facekp.photos.detection_benchmark.paste`), its side is 1.05 times the square root of the box's area,
    # and its centre is 0.011 sides higher. For 50 faces of photos, whose points fit the mean face in that crop, it is
    # 1.01 times and 0.012 sides. By the area, 18 % of the photos' crops are off by more than 8 %; by the width, 36 %.
    margin = 1.03
    border = 0.2

    def __init__(
        self,
        model: FilePath | None,
        score: Fraction,
        nms: Fraction,
        smallest: Annotated[int, Field(ge=8)],
        longest: Annotated[int, Field(ge=96)],
        turns: Turns,
    ) -> None:
        super().__init__(smallest, longest, turns)
        self._network = load_yunet(None if model is None else Path(model), score, nms)

    def find(self, image: np.ndarray) -> np.ndarray:
        """As `FaceDetector.find`; the most certain face first. Large faces are found in a small copy of the photo."""
        side = max(image.shape)
        enlarge = ENLARGEMENT if side * ENLARGEMENT <= COARSE_SIDE else 1.0
        coarse = self._find_at(image, min(COARSE_SIDE, self.longest), self.border, enlarge)
        fine = self._find_at(image, self.longest, 0.0) if side > COARSE_SIDE < self.longest else coarse[:0]
        return _without_overlaps(np.concatenate([fine, coarse]))

    def _search(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._network.setInputSize(image.shape[1::-1])
        rows = self._network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        rows = np.empty((0, 15)) if rows is None else rows.astype(np.float64)
        return _squares(rows[:, :4]), rows[:, 14]


@FACE_DETECTORS.register("haar")
class HaarDetector(_Search):
    """OpenCV's cascade for upright frontal faces; its file is part of OpenCV's 4.x wheels.

    Args:
        step: ratio between successive face sizes of the search.
        neighbours: how many overlapping hits make a face; fewer find more faces and more false ones.
        smallest: side of the smallest face that is searched, in pixels.
        longest: photos with a longer side are shrunk to this length before the search, in pixels; the smallest face
            that can be found then grows accordingly.
        turns: angles at which a photo is searched again while no face is found, in degrees.
    """

    # The competition's images were cropped by this cascade. It was run on 120 of them, pasted into larger scenes
    # (`facekp.photos.detection_benchmark.paste`): the median box side was 95.0 of 96 px, the median offset 0.0 px.
    margin = 1.01
    border = 0.15

    def __init__(
        self,
        step: Annotated[float, Field(ge=1.01, le=2)],
        neighbours: Count,
        smallest: Annotated[int, Field(ge=24)],
        longest: Annotated[int, Field(ge=96)],
        turns: Turns,
    ) -> None:
        super().__init__(smallest, longest, turns)
        self.step, self.neighbours = step, neighbours

    @cached_property
    def _cascade(self) -> Any:
        folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
        path = Path(folder or "", CASCADE)
        if folder is None or not path.is_file():
            raise UserError(
                f"detector=haar: this OpenCV ({cv2.__version__}) has no file {CASCADE}; "
                "pip install 'opencv-python-headless>=4.10,<5', or use detector=yunet"
            )
        return cv2.CascadeClassifier(str(path))

    def _search(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found, _, scores = self._cascade.detectMultiScale3(
            to_grey(image), self.step, self.neighbours, minSize=(self.smallest, self.smallest), outputRejectLevels=True
        )
        found = np.reshape(found, (-1, 4))  # left, top, width, height; an empty tuple without a face
        return np.hstack([found[:, :2], found[:, :2] + found[:, 2:]]), np.reshape(scores, -1)


@FACE_DETECTORS.register("none")
class WholePhotoDetector(FaceDetector):
    """No search: every photo is one face that is already cropped.

    Example:
        >>> WholePhotoDetector().find(np.zeros((40, 60, 3), dtype=np.uint8)).tolist()
        [[-0.5, -0.5, 59.5, 39.5]]
    """

    margin = 1.0
    searches = False

    def find(self, image: np.ndarray) -> np.ndarray:
        """The box of the whole image, (1, 4)."""
        height, width = image.shape[:2]
        return np.array([[-0.5, -0.5, width - 0.5, height - 0.5]])


def _squares(boxes: np.ndarray) -> np.ndarray:
    """YuNet's boxes (M, 4), as left, top, width, height, as the squares that faces are cropped by."""
    sides = np.sqrt(boxes[:, 2:3] * boxes[:, 3:4])
    centres = boxes[:, :2] + boxes[:, 2:] / 2 - np.array([0.0, CENTRE_ABOVE_BOX]) * sides
    return np.hstack([centres - sides / 2, centres + sides / 2])


def _without_overlaps(found: np.ndarray) -> np.ndarray:
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
