"""From photos to keypoints: find faces, crop them, predict in batches, refine crops that fit badly.

`predict_photos` takes photos one after another and yields each with its faces, so a video of any length fits in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facekp.core.crop import Crop
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import FaceDetector, find_boxes
from facekp.photos.reading import Photo

MAX_WAITING = 2**26  # bytes of photos that wait for their batch to fill; a few large photos


@dataclass(frozen=True)
class Face:
    """The prediction for one face with K keypoints.

    Attributes:
        crop: the part of the photo that the network saw.
        points: float (K, 2), pixels of the photo.
        confidence: float (K,).
        expected_error: float (K,), pixels of the photo; None if the checkpoint is not calibrated.
        names: of the K points.
        mean_face: bool (K,), points that the network did not find, so that they are the mean face's; None: unknown.
        track: number of the face in its video, the same in all frames (`facekp.photos.tracking`); None in a photo.
    """

    crop: Crop
    points: np.ndarray
    confidence: np.ndarray
    expected_error: np.ndarray | None
    names: tuple[str, ...] = ()
    mean_face: np.ndarray | None = None
    track: int | None = None

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge of the crop, pixels of the photo."""
        left, top = self.crop.left - 0.5, self.crop.top - 0.5
        return left, top, left + self.crop.width, top + self.crop.height


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
) -> Iterator[tuple[Photo, list[Face]]]:
    """Find the faces in photos and predict their keypoints.

    Args:
        photos: are read as they are needed. Photos wait until they hold ``batch`` faces or take 64 MB.
        predictor: predicts the keypoints of crops.
        detector: finds faces.
        refine: crop a face again around its predicted points if that gives a different crop (`Crop.refined`), and
            predict again.
        batch: number of faces that are predicted together.

    Yields:
        each photo with its faces, in the order of the photos.

    Raises:
        UserError: the detector does not return boxes.

    Example:
        >>> from facekp.photos.detectors import WholePhotoDetector
        >>> photo = Photo("face.png", np.full((200, 200, 3), 90, dtype=np.uint8))
        >>> predictor = KeypointPredictor.from_checkpoint("shipped")
        >>> [(photo, faces)] = predict_photos([photo], predictor, WholePhotoDetector())
        >>> faces[0].points.shape, faces[0].confidence.shape
        ((15, 2), (15,))
    """
    waiting: list[_Waiting] = []
    for photo in photos:
        waiting.append(_Waiting(photo, find_crops(photo, detector, predictor.size)))
        faces = sum(len(entry.crops) for entry in waiting)
        if faces >= batch or sum(entry.photo.image.nbytes for entry in waiting) > MAX_WAITING:
            yield from _predict_waiting(waiting, predictor, refine)
            waiting = []
    yield from _predict_waiting(waiting, predictor, refine)


def find_crops(photo: Photo, detector: FaceDetector, size: tuple[int, int]) -> list[Crop]:
    """The crops, resized to ``size`` (H, W), in which a detector sees faces.

    Raises:
        UserError: the detector does not return boxes.
    """
    return [Crop.of_box(box, detector.margin, size) for box in find_boxes(detector, photo.grey)]


def predict_faces(photo: Photo, crops: Sequence[Crop], predictor: KeypointPredictor, refine: bool) -> list[Face]:
    """The faces in some crops of one photo; ``refine`` as for `predict_photos`."""
    ((_, faces),) = _predict_waiting([_Waiting(photo, list(crops))], predictor, refine)
    return faces


def _predict_waiting(
    waiting: Sequence[_Waiting], predictor: KeypointPredictor, refine: bool
) -> Iterator[tuple[Photo, list[Face]]]:
    """Each waiting photo with its faces; all crops are predicted together."""
    crops = [crop for entry in waiting for crop in entry.crops]
    grey = [entry.photo.grey for entry in waiting for _ in entry.crops]  # the photo of each crop
    faces = predict_crops(crops, grey, predictor)
    if refine:
        faces = _refine(faces, grey, predictor)
    remaining = iter(faces)
    for entry in waiting:
        yield entry.photo, [next(remaining) for _ in entry.crops]


def _refine(faces: Sequence[Face], grey: Sequence[np.ndarray], predictor: KeypointPredictor) -> list[Face]:
    """Predict again for faces whose predicted points ask for another crop."""
    mean_face = predictor.mean_face
    crops = [face.crop.refined(face.crop.to_crop(face.points), mean_face) for face in faces]
    changed = [i for i, face in enumerate(faces) if crops[i] is not face.crop]
    refined = list(faces)
    new = predict_crops([crops[i] for i in changed], [grey[i] for i in changed], predictor)
    for i, face in zip(changed, new, strict=True):
        refined[i] = face
    return refined


def predict_crops(crops: Sequence[Crop], grey: Sequence[np.ndarray], predictor: KeypointPredictor) -> list[Face]:
    """Cut crops out of their photos, uint8 (H, W) each, and predict them in one call."""
    if not crops:
        return []
    images = np.stack([crop.cut(photo) for crop, photo in zip(crops, grey, strict=True)])  # (N, h, w)
    prediction = predictor.predict(images)
    errors, mean_face = prediction.expected_error, predictor.is_mean_face(prediction.points)
    return [
        Face(
            crop,
            crop.to_photo(prediction.points[i]),
            prediction.confidence[i],
            None if errors is None else errors[i] * crop.scale.mean(),
            tuple(predictor.keypoints.names),
            mean_face[i],
        )
        for i, crop in enumerate(crops)
    ]
