"""`python -m facekp.scenes`: faces pasted into larger scenes, to see what finding and cropping them anew costs.

A face comes in, a scene and the face's place in it go out (`paste`); `measure_detection` compares what `facekp.predict`
answers for the scenes with what the network answers for the images themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from facekp.core.crop import Crop
from facekp.data.table import FaceTable
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import FaceDetector
from facekp.photos.pipeline import Face, find_points
from facekp.photos.reading import Photo

FADE = 0.3  # how far a face's reflection reaches beyond its edge, fading out, in sides

ROOM = 1.0  # of the scene around the face, in sides


@dataclass(frozen=True)
class DetectionResult:
    """How faces came back from scenes.

    Attributes:
        faces: how many were pasted.
        missed: how many of them were not found.
        extra: boxes that held no face.
        direct, pasted: median distance of a point from its label, in pixels of the table's images: of those images as
            they are, and of the scenes. Both of the faces found, by all their labelled points.
    """

    faces: int
    missed: int
    extra: int
    direct: float
    pasted: float


def paste(image: np.ndarray, scale: float, rng: Generator) -> tuple[np.ndarray, Crop]:
    """A scene with one face in it.

    Args:
        image: uint8 (H, W), cut as tightly as the competition's; it is mirrored at its edges and fades out there, as a
            cascade looks for the whole head.
        scale: pixels of the scene for each of the image's.
        rng: draws background and place.

    Returns:
        uint8 (h, w), and the crop of the scene that shows the image.
    """
    height, width = (round(scale * side) for side in image.shape)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    face = cv2.resize(image, (width, height), interpolation=how)
    fade, room = round(FADE * max(height, width)), round(ROOM * max(height, width))
    scene = _background((height + room, width + room), scale, rng)
    top, left = (int(rng.integers(fade, room - fade + 1)) for _ in range(2))
    wide = cv2.copyMakeBorder(face, fade, fade, fade, fade, cv2.BORDER_REFLECT_101).astype(np.float32)
    down, across = (_fading(side, fade) for side in (height, width))
    share = np.minimum(down[:, None], across[None, :])
    place = (slice(top - fade, top + height + fade), slice(left - fade, left + width + fade))
    scene[place] = share * wide + (1 - share) * scene[place]
    return np.clip(scene, 0, 255).round().astype(np.uint8), Crop(left, top, width, height, image.shape)


def _fading(side: int, fade: int) -> np.ndarray:
    """1 along a side, falling to 0 over ``fade`` pixels at both ends."""
    ramp = np.arange(fade, dtype=np.float32) / max(fade, 1)
    return np.concatenate([ramp, np.ones(side, dtype=np.float32), ramp[::-1]])


def _background(shape: tuple[int, int], scale: float, rng: Generator) -> np.ndarray:
    """A slope of light, soft blotches and grain, float32."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    ground = rng.uniform(60, 190) + rng.uniform(-50, 50) * x + rng.uniform(-50, 50) * y
    for cells in (6, 20):
        knots = rng.normal(0, 1, (cells, cells)).astype(np.float32)
        ground += rng.uniform(5, 25) * cv2.resize(knots, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return ground + rng.normal(0, rng.uniform(0, 6), shape).astype(np.float32)


def measure_detection(
    table: FaceTable,
    predictor: KeypointPredictor,
    detector: FaceDetector,
    scale: float,
    refine: bool = True,
    seed: int = 0,
) -> DetectionResult:
    """Paste every face of a table into a scene of its own and find it there.

    Args:
        table: N labelled faces of the predictor's source and size.
        predictor: answers.
        detector: finds.
        scale: as for `paste`.
        refine: as for `facekp.photos.pipeline.find_points`.
        seed: of the scenes.
    """
    scenes = [paste(image, scale, np.random.default_rng([seed, i])) for i, image in enumerate(table.images)]
    photos = (Photo(str(i), np.repeat(scene[..., None], 3, axis=2)) for i, (scene, _) in enumerate(scenes))
    direct, _ = predictor(np.array(table.images))
    errors: list[tuple[np.ndarray, np.ndarray]] = []
    extra = 0
    for i, (_, faces) in enumerate(find_points(photos, predictor, detector, refine)):
        true = scenes[i][1]
        own = [face for face in faces if _is_at(face, true)]
        extra += len(faces) - len(own)
        if own:
            pasted = true.to_crop(own[0].points)
            errors.append((_distances(direct[i], table.points[i]), _distances(pasted, table.points[i])))
    medians = [float(np.median(np.concatenate(column))) for column in zip(*errors, strict=True)] or [np.nan, np.nan]
    return DetectionResult(len(table), len(table) - len(errors), extra, *medians)


def _is_at(face: Face, true: Crop) -> bool:
    """Whether a face found is the one pasted: the crop's middle in its inner half, the size within a factor 2."""
    left, top, right, bottom = face.box
    middle = np.array([(left + right) / 2 - true.left, (top + bottom) / 2 - true.top]) / (true.width, true.height)
    return bool(np.abs(middle - 0.5).max() < 0.25) and 0.5 < face.crop.width / true.width < 2


def _distances(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    labelled = ~np.isnan(truth[:, 0])
    return np.linalg.norm(points - truth, axis=1)[labelled]


def pick(table: FaceTable, source: int, faces: int) -> FaceTable:
    """So many faces of a source, evenly from the whole table."""
    rows = np.flatnonzero(table.source == source)
    return table.take(rows[np.unique(np.linspace(0, len(rows) - 1, min(faces, len(rows))).round().astype(int))])
