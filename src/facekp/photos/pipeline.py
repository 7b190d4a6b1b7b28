"""facekp.photos.pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facekp.core.crop import Crop
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import FaceDetector
from facekp.photos.reading import Photo

MOST_BYTES = 2**26  # of photos that wait for their batch: a few large ones


@dataclass(frozen=True)
class Face:
    """What was found of one face; K points.

    Attributes:
        crop: what the network was shown.
        points: float (K, 2), pixels of the photo.
        confidence: float (K,).
        expected_error: float (K,), pixels of the photo; None where the checkpoint is not calibrated.
    """

    crop: Crop
    points: np.ndarray
    confidence: np.ndarray
    expected_error: np.ndarray | None

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom edge of the crop, pixels of the photo."""
        left, top = self.crop.left - 0.5, self.crop.top - 0.5
        return left, top, left + self.crop.width, top + self.crop.height


def find_points(
    photos: Iterable[Photo],
    predictor: KeypointPredictor,
    detector: FaceDetector,
    refine: bool = True,
    batch: int = 64,
) -> Iterator[tuple[Photo, list[Face]]]:
    """Every photo with its faces, in the photos' order.

    Args:
        photos: are read as they are needed; at most so many wait as have ``batch`` faces, or 64 MB of pixels.
        predictor: answers for crops.
        detector: finds faces.
        refine: crop a face again by the points found where that differs (`Crop.refined`), and answer for that.
        batch: faces answered together.
    """
    waiting: list[tuple[Photo, list[Crop]]] = []
    for photo in photos:
        boxes = detector.find(photo.grey)
        waiting.append((photo, [Crop.of_box(box, detector.margin, predictor.size) for box in boxes]))
        faces = sum(len(crops) for _, crops in waiting)
        if faces >= batch or sum(one.image.nbytes for one, _ in waiting) > MOST_BYTES:
            yield from _answered(waiting, predictor, refine)
            waiting = []
    yield from _answered(waiting, predictor, refine)


def _answered(
    waiting: Sequence[tuple[Photo, list[Crop]]], predictor: KeypointPredictor, refine: bool
) -> Iterator[tuple[Photo, list[Face]]]:
    grey = [photo.grey for photo, crops in waiting for _ in crops]
    faces = _faces([crop for _, own in waiting for crop in own], predictor, grey)
    if refine:
        mean = predictor.mean_face
        better = [face.crop.refined(face.crop.to_crop(face.points), mean) for face in faces]
        again = [i for i, face in enumerate(faces) if better[i] is not face.crop]
        for i, face in zip(again, _faces([better[i] for i in again], predictor, [grey[i] for i in again]), strict=True):
            faces[i] = face
    found = iter(faces)
    for photo, own in waiting:
        yield photo, [next(found) for _ in own]


def _faces(crops: Sequence[Crop], predictor: KeypointPredictor, grey: Sequence[np.ndarray]) -> list[Face]:
    if not crops:
        return []
    answers = predictor.answers(_cut(crops, grey))
    errors = answers.expected_error
    return [
        Face(
            crop,
            crop.to_photo(answers.points[i]),
            answers.confidence[i],
            None if errors is None else errors[i] * crop.scale.mean(),
        )
        for i, crop in enumerate(crops)
    ]


def _cut(crops: Sequence[Crop], grey: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([crop.cut(image) for crop, image in zip(crops, grey, strict=True)])
