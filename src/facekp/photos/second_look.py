"""The second look: faces are predicted again in crops that suit them better.

A new crop is taken only if the mean confidence of its points is higher. The points of a bad crop may be far off, so a
crop that is made of them may miss the face.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facekp.core.crop import Crop
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import FaceDetector, default_detector, find_boxes
from facekp.photos.face import Face, predict_crops
from facekp.photos.reading import Photo

LOOKS = 2  # crops that are made from the points; the second levels a face that was turned by 60 degrees

# Mean confidence below which a face is also looked for by a detector, and at other angles. The shipped checkpoint gives
# at least 0.70 to 25 dense faces that it did not see, and more than 0.65 to wrong points of some that are upside down.
UNSURE = 0.7

# A photo this many times narrower than a crop shows no face. Cropping one of 30000 x 1 pixels many times takes minutes.
NARROW = 8

# For an unsure face, the detector searches a square around the crop.
AROUND = 1.5  # side of the square, in sides of the crop
ANGLES = (0, 90, 180, 270)  # degrees by which the square is turned, one after another
SEARCHED = 256  # side to which the square is resized, pixels


def second_look(faces: Sequence[Face], photos: Sequence[Photo], predictor: KeypointPredictor) -> list[Face]:
    """Predict faces again whose crop is off, or in which they are turned or small.

    Args:
        faces: N predicted faces.
        photos: the photo of each.
        predictor: predicted them.

    Returns:
        the faces in their order, each with the most certain of its predictions.
    """
    looked = _look_at_points(faces, photos, predictor)
    unsure = [
        i for i, face in enumerate(looked) if face.mean_confidence < UNSURE and not _is_strip(face.crop, photos[i])
    ]
    closer = [_closer_crops(looked[i].crop, photos[i], default_detector("yunet")) for i in unsure]
    better = _most_certain([looked[i] for i in unsure], closer, [photos[i] for i in unsure], predictor)
    changed = {i: face for i, face in zip(unsure, better, strict=True) if face is not looked[i]}
    again = _look_at_points(list(changed.values()), [photos[i] for i in changed], predictor)
    for i, face in zip(changed, again, strict=True):
        looked[i] = face
    return looked


def _look_at_points(faces: Sequence[Face], photos: Sequence[Photo], predictor: KeypointPredictor) -> list[Face]:
    """Predict faces again whose points ask for another crop (`Crop.refined`)."""
    looked, mean_face = list(faces), predictor.mean_face
    changing = [i for i, face in enumerate(faces) if not _is_strip(face.crop, photos[i])]
    for _ in range(LOOKS):
        crops = {i: looked[i].crop.refined(looked[i].crop.to_crop(looked[i].points), mean_face) for i in changing}
        other = [i for i in changing if crops[i] is not looked[i].crop]
        before, their_photos = [looked[i] for i in other], [photos[i] for i in other]
        new = _most_certain(before, [[crops[i]] for i in other], their_photos, predictor)
        changing = [i for i, face in zip(other, new, strict=True) if face is not looked[i]]
        for i, face in zip(other, new, strict=True):
            looked[i] = face
    return looked


def _most_certain(
    faces: Sequence[Face], crops: Sequence[Sequence[Crop]], photos: Sequence[Photo], predictor: KeypointPredictor
) -> list[Face]:
    """The most certain prediction of each face: the one given, or one in another crop."""
    theirs = [photo for photo, others in zip(photos, crops, strict=True) for _ in others]
    predicted = iter(predict_crops([crop for others in crops for crop in others], theirs, predictor))
    return [
        max([face, *(next(predicted) for _ in others)], key=_certainty)
        for face, others in zip(faces, crops, strict=True)
    ]


def _certainty(face: Face) -> float:
    return face.mean_confidence if np.isfinite(face.confidence).all() else -np.inf


def _closer_crops(crop: Crop, photo: Photo, detector: FaceDetector) -> list[Crop]:
    """At each of `ANGLES`, the crop of the largest face found in and around a crop, and that crop itself, turned."""
    crops = []
    scale = AROUND * max(crop.width, crop.height) / SEARCHED
    for angle in ANGLES:
        wide = Crop.around(crop.centre, scale, (SEARCHED, SEARCHED)).turned(crop.angle + angle)
        boxes = find_boxes(detector, wide.cut(photo.image))
        if len(boxes):
            largest = max(boxes, key=lambda box: box[2] - box[0])
            crops.append(wide.crop_of_box(largest, detector.margin, crop.size))
        if angle:
            crops.append(crop.turned(angle))
    return crops


def _is_strip(crop: Crop, photo: Photo) -> bool:
    """Whether a crop is nearly all outside of a photo that is very narrow."""
    return max(crop.width, crop.height) > NARROW * min(photo.image.shape[:2])
