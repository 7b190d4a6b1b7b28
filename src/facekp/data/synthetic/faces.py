"""Draws a table of faces: every row is painted and labelled from (seed, row) alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.growing_images import GrowingImages
from facekp.data.synthetic.geometry import POSE_STD, SHAPE_STD, Pose, Shape, landmarks, project
from facekp.data.synthetic.labelling import Mixture, label_face, origin_of, source_of_row
from facekp.data.synthetic.painting import draw_look, render
from facekp.data.table import FaceTable


def draw_faces(rows: int, seed: int, keypoints: Keypoints, mixture: Mixture | None = None) -> FaceTable:
    """Draw faces and label them like the competition's. Row i depends on (seed, i) alone.

    Args:
        rows: N, at least 1.
        seed: at least 0; the same seed gives the same bytes, and more rows begin with the same rows.
        keypoints: a scheme of one or two sources with names of kaggle15; the second source is the sparse one.
        mixture: fractions of dense, missing, duplicated and wrong rows; None: those of the competition.

    Raises:
        UserError: the scheme has a point or a number of sources that cannot be drawn, rows is below 1, or seed below 0.

    Example:
        >>> scheme = Keypoints.from_dict({"name": "eyes", "names": ["left_eye_center", "right_eye_center"]})
        >>> table = draw_faces(3, 0, scheme)
        >>> table.images.shape, table.points.shape
        ((3, 96, 96), (3, 2, 2))
    """
    mixture = mixture or Mixture()
    _check(rows, seed, keypoints)
    images = GrowingImages()
    points = np.full((rows, len(keypoints.names), 2), np.nan, np.float32)
    source = np.array([source_of_row(row, keypoints, mixture) for row in range(rows)], np.int8)
    for row in range(rows):
        origin = origin_of(row, seed, mixture)
        image, positions = _photograph(origin, seed)
        rng = np.random.default_rng([seed, row, 1])
        images.append((image if origin == row else _copy(image, rng))[None])
        points[row] = label_face(positions, int(source[row]), keypoints, mixture, rng)
    return FaceTable(keypoints, images.finish(), points, source, np.arange(rows))


def _photograph(row: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The image of the face of a row, and the position of every landmark in it."""
    rng = np.random.default_rng([seed, row, 0])
    shape = Shape(*_around(Shape(), SHAPE_STD, rng))
    shape = shape._replace(gap=max(shape.gap, 0.0), eye_open=max(shape.eye_open, 1.2))
    pose = Pose(*_around(Pose(), POSE_STD, rng))
    image = render(shape, pose, draw_look(rng), rng)
    on_face = landmarks(shape)
    return image, dict(zip(on_face, project(list(on_face.values()), shape, pose), strict=True))


def _around(mean: Sequence[float], std: Sequence[float], rng: Generator) -> list[float]:
    """Normal draws, clipped at 2.3 standard deviations (20 degrees of roll)."""
    return (np.array(mean) + np.array(std) * np.clip(rng.normal(size=len(mean)), -2.3, 2.3)).tolist()


def _copy(image: np.ndarray, rng: Generator) -> np.ndarray:
    """The same image, or with noise of about a grey level, as if it was saved again."""
    if rng.random() < 0.5:
        return image
    return np.clip(image + np.rint(rng.normal(0, 1.2, image.shape)), 0, 255).astype(np.uint8)


def _check(rows: int, seed: int, keypoints: Keypoints) -> None:
    unknown = [name for name in keypoints.names if name not in landmarks(Shape())]
    if unknown:
        raise UserError(
            f"keypoints {keypoints.name}: synthetic faces have no point {unknown[0]!r}, only those of kaggle15; "
            "choose other data (data=NAME), or keypoints=kaggle15 for a training"
        )
    if len(keypoints.sources) > 2:
        raise UserError(
            f"keypoints {keypoints.name}: sources: {', '.join(keypoints.sources)}; synthetic faces can have two at most"
        )
    if rows < 1:
        raise UserError(f"data.rows: {rows} is too few synthetic faces; give at least 1")
    if seed < 0:
        raise UserError(f"seed: {seed} is negative; give 0 or more")
