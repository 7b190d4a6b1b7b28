"""Face detectors: a photo in colour comes in, the boxes of its faces go out.

The built-in detectors are in `facekp.photos.face_detectors`, except `WholePhotoDetector`, which takes every photo for
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
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np
import yaml

from facekp.config.location import CONF_DIR
from facekp.core.channels import to_grey
from facekp.core.errors import UserError
from facekp.core.registry import Registry, is_builtin
from facekp.core.settings import Settings

MAX_OVERLAP = 0.4  # intersection of two boxes as a fraction of the smaller one; above it they show the same face

MAX_BOX_DISTANCE = 4  # longer sides of the photo; a box of a detector reaches no further from the first pixel


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
    package="facekp.photos.face_detectors",
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
        return detector.find(image if is_builtin(type(detector)) else image.copy())  # a plug-in may draw on it
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
