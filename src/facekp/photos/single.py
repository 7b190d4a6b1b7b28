"""`facekp.find_points`: one photo in, its faces with their points out.

::

    import facekp

    for face in facekp.find_points("photo.jpg"):
        print(face.names, face.points, face.confidence)
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from io import BytesIO, TextIOBase
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from facekp.core.channels import to_colour
from facekp.core.device import AUTO
from facekp.core.errors import UserError
from facekp.data.images import UnreadableImage, read_image
from facekp.models.engine import use_own_threads
from facekp.models.input_images import check_levels
from facekp.models.packaged import file_of
from facekp.models.predictor import KeypointPredictor
from facekp.models.settings import Engine, ViewsChoice
from facekp.photos.detectors import FaceDetector, default_detector
from facekp.photos.pipeline import MIN_CONFIDENCE, Face, check_min_confidence, predict_photos
from facekp.photos.reading import Photo

MAX_PREDICTORS = 4  # that are kept; the least recently used one makes room

_predictors: OrderedDict[tuple[Any, ...], KeypointPredictor] = OrderedDict()  # the most recently used one comes last
_predictors_lock = Lock()  # held for a moment only
_loading: dict[tuple[Any, ...], Lock] = {}  # of each predictor that is being loaded


def find_points(
    photo: str | Path | np.ndarray | bytes | IO[bytes],
    ckpt: str | Path | Sequence[str | Path] = "shipped",
    detector: str | FaceDetector = "yunet",
    source: str | None = None,
    device: str = AUTO,
    refine: bool = True,
    min_confidence: float | None = MIN_CONFIDENCE,
    views: ViewsChoice = "one",
    engine: Engine = "auto",
) -> list[Face]:
    """Find the faces in one photo and predict their keypoints, as ``facekp predict`` does.

    Checkpoints and detectors are loaded once; a checkpoint again if its file has changed. Several threads may call this
    at a time. For many photos `facekp.photos.pipeline.predict_photos` is faster.

    Args:
        photo: the path of a file, its content as bytes, a file opened in binary mode, or an array of levels 0..255,
            grey (H, W) or red, green, blue (H, W, 3).
        ckpt: a checkpoint, an exported file, ``shipped`` or ``fast``, or a list of these, whose predictions are
            averaged.
        detector: ``yunet``, ``haar``, ``none`` (the photo is one face, cropped already), a plug-in's name, or an object
            with ``find`` and ``margin``.
        source: labelling convention of the points; None: the first one.
        device: ``auto``, a GPU if there is one, or of torch.
        refine: predict a face again in a crop that suits it better, if its box was off or it is turned.
        min_confidence: faces whose points have a lower mean confidence, 0 to 1, are left out; None: every face is kept.
        views: ``one`` or ``all``, as for `KeypointPredictor.from_checkpoint`.
        engine: ``auto``, ``torch`` or ``onnx``, as there.

    Returns:
        the faces, each with ``points`` (K, 2) in pixels of the upright photo, ``names``, ``confidence``, ``box`` and
        ``expected_error``; an empty list if no face is found.

    Raises:
        UserError: the photo or another argument can't be used.

    Example:
        >>> photo = np.full((120, 120), 90, dtype=np.uint8)
        >>> [face] = find_points(photo, detector="none")
        >>> face.points.shape, face.names[0]
        ((15, 2), 'left_eye_center')
        >>> find_points(photo)  # no face is found
        []
    """
    use_own_threads()
    check_min_confidence(min_confidence)
    finder = default_detector(detector) if isinstance(detector, str) else detector
    read = _as_photo(photo)
    predictor = _predictor(ckpt, source, device, views, engine)
    ((_, faces),) = predict_photos([read], predictor, finder, refine, min_confidence=min_confidence)
    return faces


def _predictor(ckpt: Any, source: str | None, device: str, views: ViewsChoice, engine: Engine) -> KeypointPredictor:
    """The predictor of these arguments, loaded by the first call; others wait for it only if they need the same one."""
    paths = ckpt if isinstance(ckpt, (list, tuple)) else [ckpt]
    key = (*map(_version, paths), *map(repr, (source, device, views, engine)))
    if (kept := _kept(key)) is not None:
        return kept
    with _predictors_lock:
        loading = _loading.setdefault(key, Lock())
    with loading:
        if (kept := _kept(key)) is not None:  # another thread has loaded it
            return kept
        predictor = KeypointPredictor.from_checkpoint(ckpt, source, device, views=views, engine=engine)
        with _predictors_lock:
            _predictors[key] = predictor
            _loading.pop(key, None)
            while len(_predictors) > MAX_PREDICTORS:
                _predictors.popitem(last=False)
        return predictor


def _kept(key: tuple[Any, ...]) -> KeypointPredictor | None:
    """A predictor that is loaded already, which counts as used now."""
    with _predictors_lock:
        if key in _predictors:
            _predictors.move_to_end(key)
        return _predictors.get(key)


def _renew_locks() -> None:
    """In a forked process: another thread of the parent may have held a lock, and does not run here."""
    global _predictors_lock
    _predictors_lock = Lock()
    _loading.clear()


os.register_at_fork(after_in_child=_renew_locks)


def _version(ckpt: Any) -> tuple[Any, ...]:
    """What identifies a checkpoint: its path, and its last change and size, as another file may replace it.

    The path is absolute, as a relative one names another file in another working directory.
    """
    try:
        path = os.path.realpath(file_of(ckpt))
        status = os.stat(path)
    except (OSError, TypeError, ValueError):  # `from_checkpoint` reports it
        return (repr(ckpt),)
    return path, status.st_mtime_ns, status.st_size


def _as_photo(photo: Any) -> Photo:
    """Read a photo from a path, bytes or an open file, or check an array of levels.

    Raises:
        UserError: it can't be read, the array is not a photo, or it is something else.
    """
    if isinstance(photo, np.ndarray):
        return Photo("photo", _as_rgb(photo))
    if isinstance(photo, (str, os.PathLike)):
        photo = os.fsdecode(photo)
        if os.path.isdir(photo):
            raise UserError(f"{photo}: is a folder; name a photo, or use facekp predict for all photos in it")
        if not os.path.exists(photo):
            raise UserError(f"{photo}: no such file")
        return _read(photo, photo)
    if isinstance(photo, (bytes, bytearray, memoryview)):
        return _read("photo", BytesIO(photo))
    if (
        callable(getattr(photo, "read", None))
        and callable(getattr(photo, "seek", None))
        and not isinstance(photo, TextIOBase)
    ):
        return _read("photo", photo)
    raise UserError(f"photo: of type {type(photo).__name__}; {_way_out(photo)}")


def _read(name: str, file: str | IO[bytes]) -> Photo:
    """Read a photo; messages begin with ``name``."""
    try:
        return Photo(name, read_image(file))
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name}: is not an image file; give a photo (the command facekp predict also takes videos)"
        ) from error
    except UnreadableImage as error:
        raise UserError(f"{name}: {error}") from error


def _way_out(photo: Any) -> str:
    """What to give in place of an object that is no photo."""
    if isinstance(photo, Image.Image):
        return "give np.asarray(PIL.ImageOps.exif_transpose(photo).convert('RGB'))"
    if isinstance(photo, torch.Tensor):
        return "give an array: photo.cpu().numpy(), of shape (H, W) or (H, W, 3)"
    if isinstance(photo, TextIOBase):
        return "open the file in binary mode: open(FILE, 'rb')"
    if isinstance(photo, (list, tuple)):
        return "give one photo; facekp.photos.pipeline.predict_photos takes many"
    return "give a path, the bytes of a file, or an array of levels 0..255"


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) of an array with levels 0..255."""
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or not image.size:
        raise UserError(f"photo: an array of shape {image.shape}; give (H, W) or (H, W, 3)")
    if image.dtype.kind not in "uifb":
        raise UserError(f"photo: an array of {image.dtype}; give levels 0..255 as numbers")
    check_levels(image, torch.from_numpy(image.astype(np.float32)))
    return to_colour(image.round().astype(np.uint8))
