"""`Face`, what is predicted for one face, and `predict_crops`, which predicts crops of photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facekp.core.crop import Crop
from facekp.models.predictor import KeypointPredictor
from facekp.photos.reading import Photo


@dataclass(frozen=True, eq=False)
class Face:
    """The prediction for one face with K keypoints. A face equals only itself; compare the points of two faces.

    Attributes:
        crop: the part of the photo that the network saw.
        points: float (K, 2), pixels of the photo.
        confidence: float (K,).
        expected_error: float (K,), pixels of the photo; None if the checkpoint is not calibrated.
        names: names of the K points.
        mean_face: bool (K,), points that the network did not find, so that they are the mean face's; None: unknown.
        track: number of the face in its video; None for a photo.
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
        """Left, top, right and bottom edge of the crop, pixels of the photo; of a turned crop, of what holds it."""
        corners = self.crop.corners
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return left, top, right, bottom

    @property
    def mean_confidence(self) -> float:
        """The mean of the points' confidence: low where there is no face."""
        return float(self.confidence.mean())

    def is_sure(self, floor: float | None) -> bool:
        """Whether the mean confidence reaches a floor; None: always. NaN does too, as it is reported later."""
        return floor is None or not self.mean_confidence < floor


def predict_crops(crops: Sequence[Crop], photos: Sequence[Photo], predictor: KeypointPredictor) -> list[Face]:
    """Cut crops out of their photos, and predict them in one call.

    Args:
        crops: N crops.
        photos: the photo of each.
        predictor: predicts the keypoints.
    """
    if not crops:
        return []
    levels = [photo.levels(predictor.channels) for photo in photos]
    images = np.stack([crop.cut(photo) for crop, photo in zip(crops, levels, strict=True)])  # (N, h, w) or (N, h, w, 3)
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
