"""`facekp.find_points`: one photo in, its faces with their points out.

::

    import facekp

    for face in facekp.find_points("photo.jpg"):
        print(face.names, face.points, face.confidence)
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import UnidentifiedImageError

from facekp.core.channels import to_colour
from facekp.core.device import AUTO
from facekp.core.errors import UserError
from facekp.data.images import UnreadableImage, read_image
from facekp.models.input_images import check_levels
from facekp.models.predictor import KeypointPredictor
from facekp.models.settings import Engine, ViewsChoice
from facekp.photos.detectors import FaceDetector, default_detector
from facekp.photos.pipeline import MIN_CONFIDENCE, Face, predict_photos
from facekp.photos.reading import Photo


def find_points(
    photo: str | Path | np.ndarray,
    ckpt: str | Path = "shipped",
    detector: str | FaceDetector = "yunet",
    source: str | None = None,
    device: str = AUTO,
    refine: bool = True,
    min_confidence: float | None = MIN_CONFIDENCE,
    views: ViewsChoice = "one",
    engine: Engine = "auto",
) -> list[Face]:
    """Find the faces in one photo and predict their keypoints, as ``facekp predict`` does.

    Checkpoints and detectors are loaded once. For many photos `facekp.photos.pipeline.predict_photos` is faster.

    Args:
        photo: a file, or an array of levels 0..255, grey (H, W) or red, green, blue (H, W, 3).
        ckpt: a checkpoint, an exported file, or ``shipped``.
        detector: ``yunet``, ``haar``, ``none`` (the photo is one face, cropped already), a plug-in's name, or an object
            with ``find`` and ``margin``.
        source: labelling convention of the points; None: the first one.
        device: ``auto``, a GPU if there is one, or of torch.
        refine: predict a face again in a crop that suits it better, if its box was off or it is turned.
        min_confidence: faces whose points have a lower mean confidence are left out; None: every face is kept.
        views: ``one`` or ``all``, as for `KeypointPredictor.from_checkpoint`.
        engine: ``auto``, ``torch`` or ``onnx``, as there.

    Returns:
        the faces, each with ``points`` (K, 2) in pixels of the upright photo, ``names``, ``confidence``, ``box`` and
        ``expected_error``; an empty list if no face is found.

    Raises:
        UserError: the photo, the checkpoint, the detector or the device can't be used.

    Example:
        >>> photo = np.full((120, 120), 90, dtype=np.uint8)
        >>> [face] = find_points(photo, detector="none")
        >>> face.points.shape, face.names[0]
        ((15, 2), 'left_eye_center')
        >>> find_points(photo)  # no face is found
        []
    """
    predictor = _predictor(str(ckpt), source, device, views, engine)
    finder = default_detector(detector) if isinstance(detector, str) else detector
    ((_, faces),) = predict_photos([_as_photo(photo)], predictor, finder, refine, min_confidence=min_confidence)
    return faces


@lru_cache(maxsize=4)
def _predictor(ckpt: str, source: str | None, device: str, views: ViewsChoice, engine: Engine) -> KeypointPredictor:
    return KeypointPredictor.from_checkpoint(ckpt, source, device, views=views, engine=engine)


def _as_photo(photo: str | Path | np.ndarray) -> Photo:
    """
    Raises:
        UserError: it can't be read, or the array is not a photo.
    """
    if isinstance(photo, np.ndarray):
        return Photo("photo", _as_rgb(photo))
    if not Path(photo).is_file():
        raise UserError(f"{photo}: no such file")
    try:
        return Photo(str(photo), read_image(str(photo)))
    except UnidentifiedImageError as error:
        raise UserError(f"{photo}: is not a photo; for videos use facekp predict") from error
    except UnreadableImage as error:
        raise UserError(f"{photo}: {error}") from error


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) of an array with levels 0..255."""
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or not image.size:
        raise UserError(f"photo: an array of shape {image.shape}; give (H, W) or (H, W, 3)")
    if image.dtype.kind not in "uifb":
        raise UserError(f"photo: an array of {image.dtype}; give levels 0..255 as numbers")
    check_levels(image, torch.from_numpy(image.astype(np.float32)))
    return to_colour(image.round().astype(np.uint8))
