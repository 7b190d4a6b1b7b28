"""Measures what finding and cropping faces costs in accuracy: known faces are pasted into scenes and found again.

`paste` makes a scene and knows where its face is. `measure_detection` compares the points that are predicted in the
scenes with those predicted on the face images themselves. `run_detection_benchmark` does so per source and size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.random import Generator
from rich.table import Table

from facekp.core.channels import to_colour
from facekp.core.console import ProgressDisplay
from facekp.core.crop import Crop
from facekp.core.device import AUTO
from facekp.data.readers.read import read_table
from facekp.data.table import FaceTable
from facekp.models.ensemble import load_models
from facekp.models.predictor import KeypointPredictor
from facekp.models.scoring import unseen_rows
from facekp.models.views import CPU_BATCH_SIZE
from facekp.photos.detectors import FaceDetector, build_face_detector
from facekp.photos.pipeline import Face, predict_photos
from facekp.photos.reading import Photo
from facekp.photos.settings import DetectionBenchmarkSettings

FADE = 0.3  # width of the border in which a face fades into the scene, as a fraction of the face's longer side

ROOM = 1.0  # extra size of the scene, as a fraction of the face's longer side


@dataclass(frozen=True)
class DetectionResult:
    """How many faces were found again, and how well their points were predicted.

    Attributes:
        faces: number of faces that were pasted.
        missed: number of these that were not found.
        extra: number of boxes that hold no face.
        direct: median distance between predicted points and labels where the face images themselves are predicted, in
            pixels of these images; over all labelled points of the faces that were found.
        pasted: the same where the faces are found in scenes, in the same pixels.
    """

    faces: int
    missed: int
    extra: int
    direct: float
    pasted: float


class BenchmarkRow(NamedTuple):
    """The result for one labelling convention (source) and one size (pixels of the scene per pixel of the face)."""

    source: str
    scale: float
    result: DetectionResult


def run_detection_benchmark(settings: DetectionBenchmarkSettings) -> list[BenchmarkRow]:
    """Measure with faces that no checkpoint was trained on, for each source and each size.

    Raises:
        UserError: a checkpoint or the data can't be read, or every face trained a checkpoint.
    """
    models = load_models(settings.ckpt, settings.decoder, settings.views)
    keypoints = models[0].model.keypoints
    table = read_table(settings.data, keypoints)
    held_out = table.take(unseen_rows(models, table, settings.data))
    detector = build_face_detector(settings.detector)
    of_source = {name: pick_faces(held_out, s, settings.faces) for s, name in enumerate(keypoints.source_names)}
    rows = []
    with ProgressDisplay("looking for faces", len(settings.scales) * sum(map(len, of_source.values()))) as display:
        for source, faces in of_source.items():
            predictor = KeypointPredictor(models, source, AUTO, CPU_BATCH_SIZE, engine="torch")
            for scale in settings.scales if len(faces) else ():
                floor = settings.min_confidence
                result = measure_detection(faces, predictor, detector, scale, settings.refine, floor, display=display)
                rows.append(BenchmarkRow(source, scale, result))
    return rows


def results_frame(rows: Sequence[BenchmarkRow]) -> pd.DataFrame:
    """The results as text: a row per source and size."""
    headings = ("source", "size", "faces", "missed", "extra", "face image", "in scenes", "ratio")
    lines = []
    for source, scale, result in rows:
        counts = (f"{result.faces}", f"{result.missed}", f"{result.extra}")
        errors = (f"{result.direct:.3f}", f"{result.pasted:.3f}", f"{result.pasted / result.direct:.2f}")
        lines.append((source, f"{scale:g}", *counts, *errors))
    return pd.DataFrame(lines, columns=headings)


def results_table(rows: Sequence[BenchmarkRow]) -> Table:
    """The results as a table for the console."""
    title = "median distance between predicted points and labels, in pixels of the face image; faces found"
    return as_table(results_frame(rows), title)


def as_table(frame: pd.DataFrame, title: str) -> Table:
    """Texts as a table for the console."""
    table = Table(title=title)
    for heading in frame.columns:
        table.add_column(heading)
    for line in frame.to_numpy().tolist():
        table.add_row(*line)
    return table


def pick_faces(table: FaceTable, source: int, count: int) -> FaceTable:
    """At most ``count`` faces of a source, spread evenly over the table."""
    rows = np.flatnonzero(table.source == source)
    return table.take(rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))])


def measure_detection(
    table: FaceTable,
    predictor: KeypointPredictor,
    detector: FaceDetector,
    scale: float,
    refine: bool = True,
    min_confidence: float | None = None,
    seed: int = 0,
    display: ProgressDisplay | None = None,
) -> DetectionResult:
    """Paste every face of a table into its own scene, find it there and predict its points.

    Args:
        table: N labelled faces of the predictor's source and size.
        predictor: predicts the points.
        detector: finds the faces.
        scale: as for `paste`.
        refine, min_confidence: as for `facekp.photos.pipeline.predict_photos`.
        seed: random seed of the scenes.
        display: counts the faces that are looked for.
    """
    scenes = [paste(image, scale, np.random.default_rng([seed, i])) for i, image in enumerate(table.images)]
    photos = _photos([scene for scene, _ in scenes], display)
    direct = predictor.predict(np.array(table.images)).points  # (N, K, 2)
    errors: list[tuple[np.ndarray, np.ndarray]] = []  # of each face found: distances (labelled points,) in both cases
    extra = 0
    predicted = predict_photos(photos, predictor, detector, refine, min_confidence=min_confidence)
    for i, (_, faces) in enumerate(predicted):
        position = scenes[i][1]
        hits = [face for face in faces if _is_at(face, position)]
        extra += len(faces) - len(hits)
        if hits:
            pasted = position.to_crop(hits[0].points)
            errors.append((_distances(direct[i], table.points[i]), _distances(pasted, table.points[i])))
    medians = [float(np.median(np.concatenate(column))) for column in zip(*errors, strict=True)] or [np.nan, np.nan]
    return DetectionResult(len(table), len(table) - len(errors), extra, *medians)


def _photos(scenes: Sequence[np.ndarray], display: ProgressDisplay | None) -> Iterator[Photo]:
    for i, scene in enumerate(scenes):
        if display is not None:
            display.advance(1)
        yield Photo(str(i), to_colour(scene))


def paste(image: np.ndarray, scale: float, rng: Generator) -> tuple[np.ndarray, Crop]:
    """A scene with one face in it.

    Args:
        image: uint8 (H, W) or (H, W, 3), cropped as tightly as the competition's images. It is mirrored beyond its
            edges, since a cascade looks for a whole head, and fades into the background there.
        scale: pixels of the scene per pixel of the image.
        rng: draws the background and the position of the face.

    Returns:
        the scene, uint8 (h, w) or (h, w, 3), and the crop of the scene that shows the image.
    """
    height, width = (round(scale * side) for side in image.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    face = cv2.resize(image, (width, height), interpolation=interpolation)
    fade, room = round(FADE * max(height, width)), round(ROOM * max(height, width))
    scene = _background((height + room, width + room), scale, rng)
    top, left = (int(rng.integers(fade, room - fade + 1)) for _ in range(2))
    # Blend the face with its mirrored border into the scene.
    bordered = cv2.copyMakeBorder(face, fade, fade, fade, fade, cv2.BORDER_REFLECT_101).astype(np.float32)
    down, across = (_fading(side, fade) for side in (height, width))
    opacity = np.minimum(down[:, None], across[None, :])
    if image.ndim == 3:
        scene, opacity = np.repeat(scene[..., None], 3, axis=2), opacity[..., None]
    area = (slice(top - fade, top + height + fade), slice(left - fade, left + width + fade))
    scene[area] = opacity * bordered + (1 - opacity) * scene[area]
    return np.clip(scene, 0, 255).round().astype(np.uint8), Crop(left, top, width, height, image.shape[:2])


def _fading(side: int, fade: int) -> np.ndarray:
    """Opacity along a side: 1, and falling to 0 over ``fade`` pixels beyond both ends; float32 (side + 2 fade,)."""
    ramp = np.arange(fade, dtype=np.float32) / max(fade, 1)
    return np.concatenate([ramp, np.ones(side, dtype=np.float32), ramp[::-1]])


def _background(shape: tuple[int, int], scale: float, rng: Generator) -> np.ndarray:
    """A brightness gradient with soft blotches and noise, float32 (h, w)."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    ground = rng.uniform(60, 190) + rng.uniform(-50, 50) * x + rng.uniform(-50, 50) * y
    for cells in (6, 20):
        blotches = rng.normal(0, 1, (cells, cells)).astype(np.float32)
        ground += rng.uniform(5, 25) * cv2.resize(blotches, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return ground + rng.normal(0, rng.uniform(0, 6), shape).astype(np.float32)


def _is_at(face: Face, position: Crop) -> bool:
    """Whether a face is the pasted one: its centre is in the inner half, and the sizes differ by less than 2 times."""
    left, top, right, bottom = face.box
    from_corner = np.array([(left + right) / 2 - position.left, (top + bottom) / 2 - position.top])
    centre = from_corner / (position.width, position.height)  # 0 to 1 within the pasted face
    return bool(np.abs(centre - 0.5).max() < 0.25) and 0.5 < face.crop.width / position.width < 2


def _distances(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Distances of points (K, 2) from their labels, where these are not NaN; (labelled points,)."""
    labelled = ~np.isnan(labels[:, 0])
    return np.linalg.norm(points - labels, axis=1)[labelled]
