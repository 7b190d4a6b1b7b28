"""The live view of the web page: frames of a webcam come in one after another, the points of their faces go out.

A frame is a JPEG file in the body of a request. It is decoded in memory and never written to disk. For each visitor a
`FaceTracker` follows the faces; the page draws their points over the video.
"""

from __future__ import annotations

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from facekp.data.images import UnreadableImage, read_image
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import FaceDetector
from facekp.photos.face import Face
from facekp.photos.reading import Photo
from facekp.photos.tracking import FaceTracker

SCRIPT = Path(__file__).parent / "live.js"
VISITORS = 16  # whose faces are followed at a time; the one who was seen longest ago is forgotten first
MAX_PIXELS = 2_000_000  # of a frame; the page sends at most 640 x 640
RATE = 20.0  # frames per second that a tracker assumes; on two cores about as many are predicted
SEARCHED = 15  # frames from one search for faces to the next
VISITOR = re.compile(r"[0-9a-f]{32}")  # drawn by the page at random


class BadFrame(Exception):
    """A request that the page does not send; the message says what is wrong with it."""


class LiveView:
    """Predicts the frames of each visitor's webcam.

    Args:
        predictors: by the names that the page shows.
        detector: finds faces.
        refine, min_confidence: as for `facekp.photos.pipeline.predict_photos`.
    """

    def __init__(
        self,
        predictors: Mapping[str, KeypointPredictor],
        detector: FaceDetector,
        refine: bool,
        min_confidence: float | None,
    ) -> None:
        self.predictors, self.detector = predictors, detector
        self.refine, self.min_confidence = refine, min_confidence
        self._trackers: OrderedDict[tuple[str, str], tuple[FaceTracker, int]] = OrderedDict()  # with the next frame
        self._lock = threading.Lock()

    def __call__(self, visitor: str, checkpoint: str, frame: bytes) -> dict[str, Any]:
        """The faces in the next frame of a visitor.

        Args:
            visitor: 32 hexadecimal digits.
            checkpoint: name of a predictor.
            frame: a JPEG file.

        Returns:
            ``faces``, each with its ``number``, ``box``, ``points``, ``errors`` (None if the checkpoint is not
            calibrated) and ``confidence``; and ``lines`` between points. Coordinates are pixels of the frame.

        Raises:
            BadFrame: the frame can't be read, or a name is not valid.
        """
        if not VISITOR.fullmatch(visitor) or checkpoint not in self.predictors:
            raise BadFrame("unknown visitor or checkpoint")
        image = _decode(frame)
        with self._lock:
            if (visitor, checkpoint) not in self._trackers:
                self._trackers[visitor, checkpoint] = (self._tracker(checkpoint), 0)
            tracker, number = self._trackers.pop((visitor, checkpoint))
            faces = tracker.update(Photo("webcam", image, number, RATE))
            self._trackers[visitor, checkpoint] = (tracker, number + 1)
            if len(self._trackers) > VISITORS:
                self._trackers.popitem(last=False)
        keypoints = self.predictors[checkpoint].keypoints
        lines = [[keypoints.names.index(name) for name in line] for line in keypoints.lines]
        return {"faces": [_plain(face) for face in faces], "lines": lines}

    def _tracker(self, checkpoint: str) -> FaceTracker:
        return FaceTracker(
            self.predictors[checkpoint],
            self.detector,
            SEARCHED,
            refine=self.refine,
            min_confidence=self.min_confidence,
        )


def _decode(frame: bytes) -> np.ndarray:
    """Decode a frame that the page sent.

    Raises:
        BadFrame: it is no image, or a large one.
    """
    try:
        return read_image(io.BytesIO(frame), MAX_PIXELS)
    except (UnreadableImage, UnidentifiedImageError) as error:
        raise BadFrame(f"the frame can't be read: {error}") from error


def _plain(face: Face) -> dict[str, Any]:
    """A face as JSON has it: rounded numbers; points that are not finite are None."""
    errors = face.expected_error
    return {
        "number": face.track,
        "box": [round(edge, 1) for edge in face.box],
        "points": [[round(x, 2), round(y, 2)] if np.isfinite(x + y) else None for x, y in face.points.tolist()],
        "errors": None if errors is None else [round(error, 2) for error in np.nan_to_num(errors).tolist()],
        "confidence": round(float(np.nan_to_num(face.mean_confidence)), 3),
    }


def live_endpoint(live: LiveView) -> Callable[[Request], Awaitable[JSONResponse]]:
    """What serves ``POST /live?visitor=...&checkpoint=...`` with a JPEG file as its body."""

    async def predict(request: Request) -> JSONResponse:
        query = request.query_params
        frame = await request.body()
        try:
            found = await run_in_threadpool(live, query.get("visitor", ""), query.get("checkpoint", ""), frame)
        except BadFrame as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(found)

    return predict


def live_html() -> str:
    """The live view, whose parts live.js finds by their names."""
    return (
        '<div class="facekp-live"><div class="facekp-live-box"><video data-part="video" muted playsinline></video>'
        '<canvas data-part="drawing"></canvas></div>'
        '<div class="facekp-live-bar"><button type="button" data-part="button">Start the webcam</button>'
        '<span data-part="status">Frames do not leave this machine and are not stored.</span></div></div>'
    )
