"""What errors of a face are divided by in the NME: labels come in, a length for each face goes out.

Landmark papers divide by the distance of the outer eye corners (300-W, WFLW), of the pupils (COFW), by the root of the
face box's area, or by its diagonal (AFLW). Axes: N faces, K points.
"""

from __future__ import annotations

import numpy as np

from facekp.core.keypoints import Keypoints

OF_BOX = ("box", "diagonal")


def normalising_lengths(truth: np.ndarray, keypoints: Keypoints, box: np.ndarray | None) -> dict[str, np.ndarray]:
    """The length that each normaliser has in each face, in pixels.

    Args:
        truth: (N, K, 2), labels in pixels, NaN where unlabelled.
        keypoints: the scheme, with its normalisers.
        box: (N, 4), left, top, right, bottom edge of the face box, NaN where a face has none; None: no face has one.

    Returns:
        float64 (N,) by name: those of the scheme (one without a name under ``""``), then ``box`` and ``diagonal``. NaN
        where a point that is needed is not labelled, or the length is 0.
    """
    truth = truth.astype(np.float64)
    lengths = {}
    for name, groups in keypoints.normalisers.items():
        left, right = (truth[:, [keypoints.names.index(point) for point in group]].mean(axis=1) for group in groups)
        lengths[name] = np.linalg.norm(left - right, axis=-1)
    width, height = _box_sides(truth, box)
    lengths |= {"box": np.sqrt(width * height), "diagonal": np.hypot(width, height)}
    return {name: np.where(length > 0, length, np.nan) for name, length in lengths.items()}


def _box_sides(truth: np.ndarray, box: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Width and height (N,) of the face box; where there is none, of the smallest box around the labelled points."""
    labelled = ~np.isnan(truth)
    low = np.where(labelled, truth, np.inf).min(axis=1)  # (N, 2)
    high = np.where(labelled, truth, -np.inf).max(axis=1)
    sides = np.where(labelled.any(axis=1), high - low, np.nan)
    if box is not None:
        given = box[:, 2:].astype(np.float64) - box[:, :2]
        sides = np.where((given > 0).all(axis=1, keepdims=True), given, sides)
    return sides[:, 0], sides[:, 1]
