"""Follows faces over the frames of a video: frames go in one after another, faces with numbers that stay go out.

Between two searches by the face detector, the points of a frame say where the faces are in the next one. So the
detector runs seldom, and a face keeps its number as long as it is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import MAX_OVERLAP, FaceDetector, check_detector
from facekp.photos.face import Face, predict_crops
from facekp.photos.pipeline import (
    Dropped,
    check_min_confidence,
    check_photo,
    check_predictor,
    find_crops,
    predict_faces,
)
from facekp.photos.reading import FALLBACK_RATE, Photo
from facekp.photos.smoothing import OneEuroFilter, SmoothingSettings

REMEMBERED_SECONDS = 1.0  # for which a lost face is remembered, so that it gets its number back

THUMBNAIL = (32, 24)  # (W, H) in which two frames are compared

# Difference of two frames (`difference`) above which they show different scenes. Measured on 35 photos of people at
# 640 x 480 pixels: 591 of 595 pairs differ by more; the other 4 have the same person or background. A picture that
# moves by 16 pixels a frame differs by at most 0.26; by 32 pixels a frame, by 0.25 in the median and 0.44 at most.
CUT = 0.4


@dataclass
class _Track:
    """A face that is followed.

    Attributes:
        number: of the face in its video.
        face: as it was seen last; its points are not smoothed.
        seen: number of that frame.
        points: its points, smoothed if wanted.
        smooth: the filter of the points; None: they are not smoothed.
    """

    number: int
    face: Face
    seen: int
    points: np.ndarray
    smooth: OneEuroFilter | None


class FaceTracker:
    """Follows the faces of a video, of an animation or of the webcam.

    The detector runs on every n-th frame, on frames after a gap or a cut, and whenever a face is lost. A face is lost
    when its mean confidence falls below the floor, or when it leaves the picture. If it is found again at the same
    place within `REMEMBERED_SECONDS` seconds, it gets its number back. A cut to another scene ends all faces.

    Args:
        predictor: predicts the points.
        detector: finds faces.
        detect_every: number of frames from one search for faces to the next; 1: every frame is searched.
        smooth: parameters of the filter of the points; None: no smoothing. Confidence and expected error are not
            smoothed.
        refine: as for `facekp.photos.pipeline.predict_photos`, for faces that the detector found.
        min_confidence: lowest mean confidence of a face; None: any. A detector that does not search (``detector=none``)
            has no such limit.

    Raises:
        UserError: the predictor or the detector is not one, or ``min_confidence`` is not a number from 0 to 1.

    Attributes:
        dropped: counts the boxes of the detector that were dropped, because their confidence is too low.
    """

    def __init__(
        self,
        predictor: KeypointPredictor,
        detector: FaceDetector,
        detect_every: int = 1,
        smooth: SmoothingSettings | None = None,
        refine: bool = True,
        min_confidence: float | None = None,
    ) -> None:
        self.predictor, self.detector, self.detect_every = predictor, detector, detect_every
        check_predictor(predictor)
        check_detector(detector, "detector")
        self.smooth, self.refine, self.min_confidence = smooth, refine, check_min_confidence(min_confidence)
        self.dropped = Dropped()
        searches = getattr(detector, "searches", True)
        self._floor = self.min_confidence if searches else None
        self._moves = searches or refine  # whether the points say where a face is in the next frame
        self._start("")

    def _start(self, file: str) -> None:
        """Forget the faces of the video before."""
        self._file, self._frame = file, -1  # the last frame
        self._tracks: list[_Track] = []
        self._number = 0  # of the next new face
        self._thumbnail: np.ndarray | None = None  # of the last frame
        self._next_search = 0  # number of the frame

    def update(self, photo: Photo) -> list[Face]:
        """The faces of the next frame, each with its number as ``track``, in the order of these numbers.

        Args:
            photo: a frame. A frame of another file, or with a number that is not larger than the last one, begins
                another video. Without a ``rate``, it is taken for one of 25 frames per second.

        Raises:
            UserError: the photo has no frame number or its image is not uint8 (H, W, 3), or the detector does not
                return boxes.
        """
        check_photo(photo)
        frame, rate = frame_number(photo), frame_rate(photo)
        if photo.file != self._file or frame <= self._frame:
            self._start(photo.file)
        gap, cut = frame - self._frame, self._is_cut(photo)
        if cut or gap > max(REMEMBERED_SECONDS * rate, 1):  # pictures of a slow animation follow each other, too
            self._tracks = []
        lost = self._follow(photo)
        if cut or gap > 1 or lost or frame >= self._next_search:
            self._search(photo)
            self._next_search = frame + self.detect_every
        self._frame = frame
        self._tracks = [track for track in self._tracks if frame - track.seen <= REMEMBERED_SECONDS * rate]
        seen = [track for track in self._tracks if track.seen == frame]
        return [replace(track.face, points=track.points, track=track.number) for track in seen]

    def _is_cut(self, photo: Photo) -> bool:
        thumbnail = cv2.resize(photo.grey, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._thumbnail = self._thumbnail, thumbnail
        return before is not None and difference(before, thumbnail) > CUT

    def _follow(self, photo: Photo) -> bool:
        """Predict the faces of the last frame in this one; return whether one is lost."""
        tracks = [track for track in self._tracks if track.seen == self._frame]
        crops = [self._next_crop(track.face) for track in tracks]
        faces = predict_crops(crops, [photo] * len(crops), self.predictor)
        for track, face in zip(tracks, faces, strict=True):
            if face.is_sure(self._floor) and is_inside(face, photo) and self._is_free(face.crop, photo):
                self._see(track, face, photo)
        return any(track.seen != photo.frame for track in tracks)

    def _search(self, photo: Photo) -> None:
        """Find the faces that are not followed yet; a face that was lost at the same place gets its number back."""
        crops = [crop for crop in find_crops(photo, self.detector, self.predictor.size) if self._is_free(crop, photo)]
        for face in predict_faces(photo, crops, self.predictor, self.refine):
            if not face.is_sure(self._floor):
                self.dropped.boxes += 1
                continue
            if not (is_inside(face, photo) and self._is_free(face.crop, photo)):
                continue
            lost = [track for track in self._tracks if track.seen != photo.frame]
            track = max(lost, key=lambda track: overlap(track.face.crop, face.crop), default=None)
            if track is None or overlap(track.face.crop, face.crop) <= MAX_OVERLAP:
                track = _Track(self._number, face, -1, face.points, None)
                self._number += 1
                self._tracks.append(track)
            track.smooth = None if self.smooth is None else OneEuroFilter(self.smooth)
            self._see(track, face, photo)

    def _next_crop(self, face: Face) -> Crop:
        """Where a face is expected in the next frame."""
        return face.crop.refined(face.crop.to_crop(face.points), self.predictor.mean_face) if self._moves else face.crop

    def _is_free(self, crop: Crop, photo: Photo) -> bool:
        """Whether no face was seen at this place of the frame yet."""
        seen = [track.face.crop for track in self._tracks if track.seen == photo.frame]
        return all(overlap(crop, other) <= MAX_OVERLAP for other in seen)

    def _see(self, track: _Track, face: Face, photo: Photo) -> None:
        seconds = (frame_number(photo) - track.seen) / frame_rate(photo)
        side = float(face.crop.scale.mean()) * face.crop.size[0]
        track.points = face.points if track.smooth is None else track.smooth(face.points, seconds, side)
        track.face, track.seen = face, frame_number(photo)


def is_inside(face: Face, photo: Photo) -> bool:
    """Whether the middle of a face's points is in the picture; also where they are not finite."""
    height, width = photo.image.shape[:2]
    return not bool(np.any(np.abs((face.points.mean(axis=0) + 0.5) / (width, height) - 0.5) > 0.5))


def frame_number(photo: Photo) -> int:
    """The number of a frame.

    Raises:
        UserError: it has none, as it is a photo, or a negative one.
    """
    if photo.frame is None or photo.frame < 0:
        raise UserError(f"{photo.file}: frame={photo.frame}; give the number of the frame in its video, from 0")
    return photo.frame


def frame_rate(photo: Photo) -> float:
    """Frames per second of the video of a frame; `FALLBACK_RATE` where it is not stated.

    Example:
        >>> frame_rate(Photo("webcam", np.zeros((2, 2, 3), np.uint8), frame=0))
        25.0
    """
    return photo.rate if 0 < photo.rate < math.inf else FALLBACK_RATE


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """How much two frames of equal size differ: 0 for the same picture, about 0.5 for two that have nothing in common.

    It is the mean absolute difference of the grey levels, relative to the contrast of both frames. Brightness does not
    count, so a flash of light is no cut.

    Example:
        >>> picture = np.random.default_rng(0).uniform(0, 255, (24, 32))
        >>> round(difference(picture, picture + 40), 3), round(difference(picture, picture[::-1]), 1)
        (0.0, 0.5)
    """
    a, b = a - a.mean(), b - b.mean()
    return float(np.abs(a - b).mean() / max(a.std() + b.std(), 1.0))


def overlap(a: Crop, b: Crop) -> float:
    """The intersection of two crops, both set upright, as a fraction of the smaller one's area.

    Example:
        >>> overlap(Crop(0, 0, 10, 10, (96, 96)), Crop(5, 0, 20, 20, (96, 96)))
        0.5
    """
    low, high = np.array([(crop.left, crop.top) for crop in (a, b)]), np.array([_ends(crop) for crop in (a, b)])
    intersection = np.clip(high.min(axis=0) - low.max(axis=0), 0, None).prod()
    return float(intersection / (high - low).prod(axis=1).min())


def _ends(crop: Crop) -> tuple[int, int]:
    """The column and row behind a crop, before it is turned."""
    return crop.left + crop.width, crop.top + crop.height
