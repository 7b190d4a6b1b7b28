"""How drawn faces are labelled: by two conventions, with missing points, noise, duplicates and a few wrong rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from facekp.core.keypoints import Keypoints
from facekp.data.synthetic.geometry import SIZE

# The landmarks that the sparse source labels under these names.
SPARSE_MEANING = {"nose_tip": "nose_base", "mouth_center_bottom_lip": "mouth_middle"}

# Weights by which points are missing in dense rows, by the end of the name; all others 1.
MISSING_WEIGHTS = {"eyebrow_outer_end": 5.0, "mouth_center_bottom_lip": 2.0, "nose_tip": 0.0}

SHIFT = 8  # pixels by which all points of a wrong row are shifted


@dataclass(frozen=True)
class Mixture:
    """The composition of drawn data; the defaults are those of the competition's data.

    Attributes:
        dense: fraction of rows that the first source labels.
        missing: fraction of dense rows with missing points; of sparse rows a tenth of it.
        duplicates: fraction of rows that show the face of an earlier row, labelled again by the row's source.
        wrong: fraction of rows whose labels are shifted, or where a label is on another feature.
        noise: standard deviation of the label noise of the dense and the sparse source, pixels.
    """

    dense: float = 0.325
    missing: float = 0.06
    duplicates: float = 0.02
    wrong: float = 0.0035
    noise: tuple[float, float] = (0.4, 0.6)


def source_of_row(row: int, keypoints: Keypoints, mixture: Mixture) -> int:
    """The source that labels a row: dense rows are spread evenly over the table."""
    dense = int((row + 1) * mixture.dense) > int(row * mixture.dense) or len(keypoints.sources) == 1
    return 0 if dense else 1


def origin_of(row: int, seed: int, mixture: Mixture) -> int:
    """The row whose face this row shows: the row itself, or an earlier one for a duplicate."""
    rng = np.random.default_rng([seed, row, 2])
    if row == 0 or rng.random() >= mixture.duplicates:
        return row
    return origin_of(int(rng.integers(row)), seed, mixture)


def label_face(
    landmarks: dict[str, np.ndarray], source: int, keypoints: Keypoints, mixture: Mixture, rng: Generator
) -> np.ndarray:
    """The labels that a source gives a face, float32 (K, 2), image pixels; NaN where a point is not labelled.

    Args:
        landmarks: the true position of every landmark in the image, by name.
        source: index of the labelling convention.
        keypoints: the scheme.
        mixture: how often points are missing or wrong, and how large the noise is.
        rng: all random numbers come from it.
    """
    meaning = SPARSE_MEANING if source == 1 else {}
    points = np.array([landmarks[meaning.get(name, name)] for name in keypoints.names])
    points += rng.normal(0, mixture.noise[source], points.shape)
    labelled = keypoints.labels_of(keypoints.source_names[source]) & ~_draw_missing(source, keypoints, mixture, rng)
    if rng.random() < mixture.wrong:
        points = _make_wrong(points, labelled, rng)
    inside = (points >= 0).all(axis=1) & (points < SIZE).all(axis=1)
    return np.where((labelled & inside)[:, None], points, np.nan).astype(np.float32)


def _draw_missing(source: int, keypoints: Keypoints, mixture: Mixture, rng: Generator) -> np.ndarray:
    """bool (K,): the points that are missing; in dense rows usually one, most often a brow's outer end."""
    names = np.array(keypoints.names)
    if source == 1:
        return (names == "mouth_center_bottom_lip") & (rng.random() < mixture.missing / 10)
    weight = np.array([next((w for end, w in MISSING_WEIGHTS.items() if name.endswith(end)), 1.0) for name in names])
    missing = np.zeros(len(names), bool)
    if rng.random() < mixture.missing:
        count = min(int(rng.geometric(0.6)), 5, int(np.count_nonzero(weight)))
        missing[rng.choice(len(names), count, replace=False, p=weight / weight.sum())] = True
    return missing


def _make_wrong(points: np.ndarray, labelled: np.ndarray, rng: Generator) -> np.ndarray:
    """The points of a wrong row: all shifted by `SHIFT` pixels, or one of them at its nearest neighbour."""
    if rng.random() < 0.5 or labelled.sum() < 2:
        angle = rng.uniform(0, 2 * np.pi)
        return points + SHIFT * np.array([np.cos(angle), np.sin(angle)])
    chosen = rng.choice(np.flatnonzero(labelled))
    others = np.flatnonzero(labelled & (np.arange(len(points)) != chosen))
    nearest = others[np.linalg.norm(points[others] - points[chosen], axis=1).argmin()]
    return np.where((np.arange(len(points)) == chosen)[:, None], points[nearest], points)
