"""Streams of photos and videos: the order stays, photos go in batches, frames are followed."""

import numpy as np

from facekp.photos.reading import Photo
from facekp.photos.tracking import FaceTracker
from facekp.photos.video import predict_stream
from tests.photos.moving_squares import SquareDetector, SquarePredictor, frame, scene


def photo(name, image):
    return Photo(name, np.repeat(image[..., None], 3, axis=2))


def test_photos_and_videos_come_out_in_their_order():
    sizes = []

    class Counts(SquarePredictor):
        def predict(self, images):
            sizes.append(len(images))
            return super().predict(images)

    stream = [
        photo("a", scene((60, 60))),
        photo("b", scene((60, 60), (200, 100))),
        *(frame(t, scene((80, 80)), file) for file in ("x.mp4", "y.mp4") for t in range(2)),
        photo("c", scene()),
    ]
    detector = SquareDetector()
    found = list(predict_stream(stream, FaceTracker(Counts(), detector, 5, refine=False), batch=8))
    assert [read.file for read, _ in found] == ["a", "b", "x.mp4", "x.mp4", "y.mp4", "y.mp4", "c"]
    assert [[face.track for face in faces] for _, faces in found] == [[None], [None, None], [0], [0], [0], [0], []]
    assert sizes[0] == 3  # the faces of both photos together
    assert detector.calls == 5
