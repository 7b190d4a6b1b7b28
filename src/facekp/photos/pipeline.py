"""From photos to keypoints: find faces, crop them, predict in batches, look again, drop what is no face.

`predict_photos` takes photos one after another and yields each with its faces, so a video of any length fits in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.core.settings import Fraction, Settings, parse
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import FaceDetector, check_detector, find_boxes
from facekp.photos.face import Face, predict_crops
from facekp.photos.reading import Photo
from facekp.photos.second_look import second_look

# Default of ``min_confidence``. Measured after the second look on 35 photos that ship in packages, with 87 faces that
# YuNet finds (one view, shipped checkpoint): 86 have at least 0.53, a full profile the least, and a blurred one of 20
# pixels has 0.42; its 4 false boxes have at most 0.5.
MIN_CONFIDENCE = 0.5

# Mean distance of the points of two faces, in sides of the smaller crop, below which they are one face
SAME_FACE_DISTANCE = 0.15

MAX_WAITING = 2**26  # bytes of photos that wait for their batch to fill; a few large photos


@dataclass
class Dropped:
    """Counts the boxes that were dropped, because the points in them are too unsure to be a face."""

    boxes: int = 0


@dataclass(frozen=True)
class _Look:
    """How faces are looked for; the attributes are arguments of `predict_photos`."""

    predictor: KeypointPredictor
    detector: FaceDetector
    refine: bool
    floor: float | None
    dropped: Dropped


@dataclass(frozen=True)
class _Waiting:
    """A photo with the crops of its faces, which waits for its batch."""

    photo: Photo
    crops: list[Crop]


def predict_photos(
    photos: Iterable[Photo],
    predictor: KeypointPredictor,
    detector: FaceDetector,
    refine: bool = True,
    batch: int = 64,
    min_confidence: float | None = None,
    dropped: Dropped | None = None,
) -> Iterator[tuple[Photo, list[Face]]]:
    """Find the faces in photos and predict their keypoints.

    Args:
        photos: are read as they are needed. Photos wait until they hold ``batch`` faces or take 64 MB.
        predictor: predicts the keypoints of crops.
        detector: finds faces.
        refine: predict a face again in a crop that suits it better (`second_look`).
        batch: number of faces that are predicted together.
        min_confidence: faces whose points have a lower mean confidence are dropped, unless ``detector`` does not search
            (``detector=none``); None: every face is kept.
        dropped: counts them.

    Yields:
        each photo with its faces, in the order of the photos.

    Raises:
        UserError: the predictor or the detector is not one, the detector does not return boxes, an image is not uint8
            (H, W, 3), or ``min_confidence`` is not a number from 0 to 1.

    Example:
        >>> from facekp.photos.detectors import WholePhotoDetector
        >>> photo = Photo("face.png", np.full((200, 200, 3), 90, dtype=np.uint8))
        >>> predictor = KeypointPredictor.from_checkpoint("shipped")
        >>> [(photo, faces)] = predict_photos([photo], predictor, WholePhotoDetector())
        >>> faces[0].points.shape, faces[0].confidence.shape
        ((15, 2), (15,))
    """
    check_predictor(predictor)
    check_detector(detector, "detector")
    floor = check_min_confidence(min_confidence) if getattr(detector, "searches", True) else None
    look = _Look(predictor, detector, refine, floor, Dropped() if dropped is None else dropped)
    waiting: list[_Waiting] = []
    for photo in photos:
        check_photo(photo)
        waiting.append(_Waiting(photo, find_crops(photo, detector, predictor.size)))
        faces = sum(len(entry.crops) for entry in waiting)
        if faces >= batch or sum(entry.photo.image.nbytes for entry in waiting) > MAX_WAITING:
            yield from _predict_waiting(waiting, look)
            waiting = []
    yield from _predict_waiting(waiting, look)


class _MinConfidence(Settings):
    """The setting of the commands, for the same check and message."""

    min_confidence: Fraction | None


def check_min_confidence(value: Any) -> float | None:
    """The lowest mean confidence of a face, checked as the commands check it.

    Raises:
        UserError: it is neither None nor a number from 0 to 1.

    Example:
        >>> check_min_confidence(50)
        Traceback (most recent call last):
        ...
        facekp.core.errors.UserError: min_confidence=50: must be at most 1
    """
    value = value.item() if isinstance(value, np.generic) else value
    return parse(_MinConfidence, {"min_confidence": value}).min_confidence


def check_predictor(predictor: Any) -> None:
    """Refuse the name of a checkpoint, and whatever else predicts nothing.

    Raises:
        UserError: it has no ``predict``.
    """
    if not callable(getattr(predictor, "predict", None)):
        raise UserError(f"predictor={predictor!r}: is not a predictor; give KeypointPredictor.from_checkpoint(FILE)")


def check_photo(photo: Photo) -> None:
    """Refuse what is not a photo as `read_photos` yields it.

    Raises:
        UserError: it is no `Photo`, or its image is not uint8 (H, W, 3) or has no pixels.
    """
    if not isinstance(photo, Photo):
        raise UserError(
            f"photos: one is a {type(photo).__name__}; give facekp.photos.reading.Photo(NAME, image), or those of "
            "read_photos(FILE)"
        )
    image: Any = photo.image
    if not isinstance(image, np.ndarray):
        raise UserError(f"{photo.file}: the image is a {type(image).__name__}; give an array uint8 (H, W, 3), RGB")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(
            f"{photo.file}: the image is an array {image.dtype} {image.shape}; give uint8 (H, W, 3), levels 0..255, RGB"
        )


def find_crops(photo: Photo, detector: FaceDetector, size: tuple[int, int]) -> list[Crop]:
    """The crops of the faces in a photo, at the first of the detector's angles at which there are any.

    Args:
        photo: to be searched.
        detector: any object with ``find`` and ``margin``.
        size: (H, W) of the crops.

    Raises:
        UserError: as `facekp.photos.detectors.find_boxes`.

    Example:
        >>> class Bright:  # finds what is bright in the upper half of a photo
        ...     margin, turns = 1.0, (90,)
        ...     def find(self, image):
        ...         return [(9.5, 9.5, 29.5, 29.5)] if image[:40].mean() > 200 else []
        >>> image = np.zeros((80, 80, 3), np.uint8)
        >>> image[:, 40:] = 255  # the right half: turned back by 90 degrees, it is the upper one
        >>> [(crop.left, crop.top, crop.angle) for crop in find_crops(Photo("a", image), Bright(), (96, 96))]
        [(50, 10, 90.0)]
    """
    for angle in (0, *getattr(detector, "turns", ())):
        if crops := _find_crops_at(angle, photo, detector, size):
            return crops
    return []


def _find_crops_at(angle: int, photo: Photo, detector: FaceDetector, size: tuple[int, int]) -> list[Crop]:
    """The crops of the faces that are turned by an angle in degrees, a multiple of 90."""
    turned = np.ascontiguousarray(np.rot90(photo.image, angle // 90))
    crops = [Crop.of_box(box, detector.margin, size) for box in find_boxes(detector, turned)]
    return [crop.to_turned_photo(-angle // 90, turned.shape) for crop in crops] if angle else crops


def predict_faces(photo: Photo, crops: Sequence[Crop], predictor: KeypointPredictor, refine: bool) -> list[Face]:
    """The faces in crops of one photo, each predicted a second time if ``refine`` is set (`second_look`)."""
    faces = predict_crops(crops, [photo] * len(crops), predictor)
    return second_look(faces, [photo] * len(crops), predictor) if refine else faces


def _predict_waiting(waiting: Sequence[_Waiting], look: _Look) -> Iterator[tuple[Photo, list[Face]]]:
    """Each waiting photo with its faces; all crops are predicted together."""
    photos = [entry.photo for entry in waiting for _ in entry.crops]  # the photo of each crop
    crops = [crop for entry in waiting for crop in entry.crops]
    faces = predict_crops(crops, photos, look.predictor)
    if look.refine:
        faces = second_look(faces, photos, look.predictor)
    remaining = iter(faces)
    for entry in waiting:
        found = without_repeated([next(remaining) for _ in entry.crops])
        kept = [face for face in found if face.is_sure(look.floor)]
        look.dropped.boxes += len(found) - len(kept)
        yield entry.photo, kept or (_look_at_other_angles(entry, look) if found else [])


def _look_at_other_angles(entry: _Waiting, look: _Look) -> list[Face]:
    """The faces of a photo at the first other angle of the detector at which there are sure ones."""
    for angle in getattr(look.detector, "turns", ()):
        crops = _find_crops_at(angle, entry.photo, look.detector, look.predictor.size)
        faces = [
            face for face in predict_faces(entry.photo, crops, look.predictor, look.refine) if face.is_sure(look.floor)
        ]
        if faces:
            return without_repeated(faces)
    return []


def without_repeated(faces: Sequence[Face]) -> list[Face]:
    """The faces of a photo without those that have the points of a surer one: a second look may end at another face."""
    surest_first = sorted(range(len(faces)), key=lambda i: -faces[i].mean_confidence)
    kept: list[int] = []
    for i in surest_first:
        if not any(_have_same_points(faces[i], faces[other]) for other in kept):
            kept.append(i)
    return [faces[i] for i in sorted(kept)]


def _have_same_points(a: Face, b: Face) -> bool:
    distance = float(np.linalg.norm(a.points - b.points, axis=-1).mean())
    return distance < SAME_FACE_DISTANCE * min(a.crop.width, b.crop.width)
