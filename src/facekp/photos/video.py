"""Predicts a stream of photos and frames: photos in batches, and videos frame by frame, with the faces followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from facekp.photos.face import Face
from facekp.photos.pipeline import predict_photos
from facekp.photos.reading import Photo
from facekp.photos.tracking import FaceTracker


def predict_stream(photos: Iterable[Photo], tracker: FaceTracker, batch: int) -> Iterator[tuple[Photo, list[Face]]]:
    """Each photo or frame with its faces, in the order of the photos.

    Args:
        photos: photos and frames of videos, which are read as they are needed.
        tracker: follows faces over frames. Its predictor, detector, settings and counter are those of photos, too.
        batch: number of faces in photos that are predicted together.

    Raises:
        UserError: the detector does not return boxes.
    """
    for is_video, group in groupby(photos, key=lambda photo: photo.frame is not None):
        if is_video:
            yield from ((photo, tracker.update(photo)) for photo in group)
        else:
            rest = (tracker.refine, batch, tracker.min_confidence, tracker.dropped)
            yield from predict_photos(group, tracker.predictor, tracker.detector, *rest)
