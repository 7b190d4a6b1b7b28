"""Measures a face detector on a folder of photos: faces found, false boxes, and processor time, at several angles.

The true faces are listed in a file faces.csv of the folder, with the columns file, left, top, right, bottom (pixels of
the upright photo; any box around the face will do). Without it, the faces that are found in the upright photos count as
true, which measures the turned photos only. ``facekp predict`` writes boxes to start such a file from.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import UnidentifiedImageError

from facekp.core.console import ProgressDisplay
from facekp.core.crop import rotation
from facekp.core.errors import UserError
from facekp.data.images import UnreadableImage, read_image
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import FaceDetector, build_face_detector
from facekp.photos.files import VIDEOS, list_files
from facekp.photos.pipeline import Dropped, predict_photos
from facekp.photos.reading import Photo
from facekp.photos.settings import DetectionBenchmarkSettings

FACES = "faces.csv"
PHOTOS_TITLE = "faces in photos, by the angle in degrees by which these were turned; ms: processor time per photo"
MATCH_DISTANCE = 0.5  # distance of a face's centre from a true one, in sides of its crop, up to which they are the same
COLUMNS = ["file", "left", "top", "right", "bottom"]


@dataclass
class PhotoResult:
    """What was found in all photos at one angle.

    Attributes:
        angle: degrees by which the photos were turned clockwise.
        photos: number of photos that were searched.
        faces: number of true faces.
        found: number of these that were found.
        extra: number of boxes that hold no face.
        dropped: number of boxes that were dropped, as their points are too unsure.
        detector_seconds: processor time of the detector.
        seconds: processor time of all that `predict` does with photos that are read already.
    """

    angle: int
    photos: int = 0
    faces: int = 0
    found: int = 0
    extra: int = 0
    dropped: int = 0
    detector_seconds: float = 0.0
    seconds: float = 0.0


def run_photo_benchmark(settings: DetectionBenchmarkSettings, folder: str) -> list[PhotoResult]:
    """Measure in the photos of a folder; as `measure_photos`.

    Raises:
        UserError: a checkpoint or a photo can't be read.
    """
    predictor = KeypointPredictor.from_checkpoint(settings.ckpt, decoder=settings.decoder, views=settings.views)
    detector = build_face_detector(settings.detector)
    return measure_photos(folder, predictor, detector, settings.angles, settings.refine, settings.min_confidence)


class _Timed:
    """A detector that counts its processor time."""

    def __init__(self, detector: FaceDetector) -> None:
        self.detector, self.margin, self.seconds = detector, detector.margin, 0.0
        self.turns, self.searches = getattr(detector, "turns", ()), getattr(detector, "searches", True)

    def find(self, image: np.ndarray) -> np.ndarray:
        """As the detector's."""
        start = time.process_time()
        try:
            return self.detector.find(image)
        finally:
            self.seconds += time.process_time() - start


def measure_photos(
    folder: str,
    predictor: KeypointPredictor,
    detector: FaceDetector,
    angles: Sequence[int] = (),
    refine: bool = True,
    min_confidence: float | None = None,
) -> list[PhotoResult]:
    """Find the faces of all photos in a folder, as they are and turned.

    Args:
        folder: of photos, with `FACES` or without.
        predictor, detector, refine, min_confidence: as for `facekp.photos.pipeline.predict_photos`.
        angles: by which the photos are also turned, degrees.

    Raises:
        UserError: the folder holds no photo, one can't be read, or `FACES` is not valid.
    """
    files = [name for name in list_files([folder]) if Path(name).suffix.lower() not in VIDEOS]
    if not files:
        raise UserError(f"{folder}: holds videos only; give a folder of photos")
    true = read_faces(Path(folder))
    _check_names(true or {}, [os.path.relpath(name, folder) for name in files], Path(folder))
    results = [PhotoResult(angle) for angle in dict.fromkeys([0, *angles])]
    timed = _Timed(detector)
    with ProgressDisplay("looking for faces", len(files)) as display:
        for name in files:
            image = _read(name)
            known = None if true is None else true.get(os.path.relpath(name, folder), np.empty((0, 2)))
            for result in results:
                photo = Photo(name, turned_photo(image, result.angle))
                centres = _find(photo, predictor, timed, refine, min_confidence, result)
                known = centres if known is None else known
                _count(result, centres, turned_points(known, image.shape, result.angle))
            display.advance(1)
    return results


def _find(
    photo: Photo,
    predictor: KeypointPredictor,
    detector: _Timed,
    refine: bool,
    min_confidence: float | None,
    result: PhotoResult,
) -> np.ndarray:
    """Crops of the faces in a photo as (M, 3): x, y of the centre, and side; time and dropped boxes are counted."""
    dropped, detecting, start = Dropped(), detector.seconds, time.process_time()
    ((_, faces),) = predict_photos([photo], predictor, detector, refine, 1, min_confidence, dropped)
    result.seconds += time.process_time() - start
    result.detector_seconds += detector.seconds - detecting
    result.dropped += dropped.boxes
    return np.array([[*face.crop.centre, face.crop.width] for face in faces]).reshape(-1, 3)


def _count(result: PhotoResult, found: np.ndarray, true: np.ndarray) -> None:
    """Count what was found; a face is the nearest true one within half the side of its crop."""
    remaining = [*true]
    for x, y, side in found:
        distances = [np.hypot(face[0] - x, face[1] - y) for face in remaining]
        if distances and min(distances) < MATCH_DISTANCE * side:
            remaining.pop(int(np.argmin(distances)))
        else:
            result.extra += 1
    result.photos += 1
    result.faces += len(true)
    result.found += len(true) - len(remaining)


def read_faces(folder: Path) -> dict[str, np.ndarray] | None:
    """The true faces of a folder's photos as (M, 2), x and y of the centres, by the photos' names; None without a file.

    Raises:
        UserError: the file is no such table.
    """
    path = folder / FACES
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, usecols=COLUMNS, dtype={"file": str}, index_col=False)[COLUMNS]
        table = table.fillna({"file": ""}).drop_duplicates()
        boxes = table[COLUMNS[1:]].to_numpy(np.float64)
        names = table["file"].tolist()
    except (ValueError, KeyError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: {error}; it needs columns {', '.join(COLUMNS)}, between commas") from error
    for row, (left, top, right, bottom) in zip(table.index + 1, boxes.tolist(), strict=True):
        if not (left < right and top < bottom and all(map(math.isfinite, (left, top, right, bottom)))):
            shown = f"{left:g}, {top:g}, {right:g}, {bottom:g}"
            raise UserError(f"{path}: face {row}: left, top, right, bottom are {shown}; give edges in pixels")
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return {name: centres[[other == name for other in names]] for name in dict.fromkeys(names)}


def _check_names(true: Iterable[str], photos: Sequence[str], folder: Path) -> None:
    """Refuse labels of photos that the folder does not have.

    Raises:
        UserError: a face is in no photo of the folder.
    """
    if unknown := sorted(set(true) - set(photos)):
        raise UserError(
            f"{folder / FACES}: file {unknown[0]!r} is not a photo in {folder}; name "
            f"photos relative to the folder, such as {photos[0]!r}"
        )


def turned_photo(image: np.ndarray, angle: int) -> np.ndarray:
    """A photo, turned clockwise by an angle in degrees; the edge pixels are repeated in the corners."""
    if angle % 90 == 0:
        return np.ascontiguousarray(np.rot90(image, -angle // 90))
    (height, width), turn = _turned_size(image.shape, angle), np.zeros((2, 3))
    turn[:, :2] = rotation(angle)
    turn[:, 2] = turned_points(np.zeros((1, 2)), image.shape, angle)[0]
    return cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def turned_points(points: np.ndarray, shape: Sequence[int], angle: int) -> np.ndarray:
    """Points (M, 2) of a photo in pixels of the turned one; further columns are left out."""
    middle, turned_middle = ((np.array(size[1::-1]) - 1) / 2 for size in (shape, _turned_size(shape, angle)))
    return (points[:, :2] - middle) @ rotation(angle).T + turned_middle


def _turned_size(shape: Sequence[int], angle: int) -> tuple[int, int]:
    """(H, W) of a turned photo."""
    width, height = np.abs(rotation(angle)) @ np.array([shape[1], shape[0]])
    return math.ceil(height - 1e-6), math.ceil(width - 1e-6)


def _read(name: str) -> np.ndarray:
    """Read a photo.

    Raises:
        UserError: it can't be read.
    """
    try:
        return read_image(name)
    except (UnreadableImage, UnidentifiedImageError) as error:
        raise UserError(f"{name}: can't be read ({error}); repair it, or remove it from the folder") from error


def photos_frame(results: Sequence[PhotoResult]) -> pd.DataFrame:
    """The results as text: a row per angle."""
    headings = ("turned by", "photos", "faces", "found", "false boxes", "dropped", "detector ms", "all ms")
    lines = [
        (
            *(f"{result.angle}", f"{result.photos}", f"{result.faces}", f"{result.found}", f"{result.extra}"),
            f"{result.dropped}",
            f"{1000 * result.detector_seconds / result.photos:.0f}",
            f"{1000 * result.seconds / result.photos:.0f}",
        )
        for result in results
    ]
    return pd.DataFrame(lines, columns=headings)
