"""Draws faces: a seed and a number of rows come in, a FaceTable in the mixture of the real data comes out.

Each face is a set of curves on a bulging surface (`Shape`), turned and placed (`Pose`), painted and photographed
(`Look`: greys, hair, light, blur, noise). The labelled points lie on that same surface, so they agree with the picture
by construction; what makes labels hard in reality is added on purpose: two labelling conventions, missing points,
noise, duplicates, a few wrong rows. No real image or label takes part; the mean face is the real one's, rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from facekp.core.keypoints import Keypoints
from facekp.data.synthetic.geometry import SIZE

MOVED = {"nose_tip": "nose_base", "mouth_center_bottom_lip": "mouth_middle"}  # what the sparse source means by a name

OFTEN_MISSING = {"eyebrow_outer_end": 5.0, "mouth_center_bottom_lip": 2.0, "nose_tip": 0.0}  # weights; all others 1


@dataclass(frozen=True)
class SyntheticSettings:
    """The mixture.

    Attributes:
        dense: share of rows labelled by the first source.
        missing: share of dense rows that lack one point or more, and ten times the share of sparse ones.
        duplicates: share of rows that show an earlier row's face again, labelled anew by their own source.
        wrong: share of rows whose labels are shifted or sit on another feature.
        noise: standard deviation of the label noise of the dense and the sparse source, pixels.
    """

    dense: float = 0.325
    missing: float = 0.06
    duplicates: float = 0.02
    wrong: float = 0.0035
    noise: tuple[float, float] = (0.4, 0.6)


# Who labels it, and how


def source_of_row(row: int, keypoints: Keypoints, settings: SyntheticSettings) -> int:
    """Spread evenly, so that every stretch of rows holds the share."""
    dense = int((row + 1) * settings.dense) > int(row * settings.dense) or len(keypoints.sources) == 1
    return 0 if dense else 1


def origin_of(row: int, seed: int, settings: SyntheticSettings) -> int:
    """The row whose face this row shows: itself, or for a duplicate an earlier one."""
    rng = np.random.default_rng([seed, row, 2])
    if row == 0 or rng.random() >= settings.duplicates:
        return row
    return origin_of(int(rng.integers(row)), seed, settings)


def label_face(
    places: dict[str, np.ndarray], source: int, keypoints: Keypoints, settings: SyntheticSettings, rng: Generator
) -> np.ndarray:
    """float32 (K, 2): what this source writes down about a face; NaN where it writes nothing."""
    means = MOVED if source == 1 else {}
    points = np.array([places[means.get(name, name)] for name in keypoints.names])
    points += rng.normal(0, settings.noise[source], points.shape)
    labelled = keypoints.labels_of(keypoints.source_names[source]) & ~_forgotten(source, keypoints, settings, rng)
    if rng.random() < settings.wrong:
        points = _spoil(points, labelled, rng)
    inside = (points >= 0).all(axis=1) & (points < SIZE).all(axis=1)
    return np.where((labelled & inside)[:, None], points, np.nan).astype(np.float32)


def _forgotten(source: int, keypoints: Keypoints, settings: SyntheticSettings, rng: Generator) -> np.ndarray:
    """bool (K,): points the source would label but did not; in dense rows mostly one, mostly a brow's outer end."""
    names = np.array(keypoints.names)
    if source == 1:
        return (names == "mouth_center_bottom_lip") & (rng.random() < settings.missing / 10)
    weight = np.array([next((w for end, w in OFTEN_MISSING.items() if name.endswith(end)), 1.0) for name in names])
    forgotten = np.zeros(len(names), bool)
    if rng.random() < settings.missing:
        count = min(int(rng.geometric(0.6)), 5, int(np.count_nonzero(weight)))
        forgotten[rng.choice(len(names), count, replace=False, p=weight / weight.sum())] = True
    return forgotten


def _spoil(points: np.ndarray, labelled: np.ndarray, rng: Generator) -> np.ndarray:
    """A wrong row: all of it shifted by 8 px, or one point on the feature next to it."""
    if rng.random() < 0.5 or labelled.sum() < 2:
        turn = rng.uniform(0, 2 * np.pi)
        return points + 8 * np.array([np.cos(turn), np.sin(turn)])
    chosen = rng.choice(np.flatnonzero(labelled))
    others = np.flatnonzero(labelled & (np.arange(len(points)) != chosen))
    nearest = others[np.linalg.norm(points[others] - points[chosen], axis=1).argmin()]
    return np.where((np.arange(len(points)) == chosen)[:, None], points[nearest], points)
