"""The mean face, with which every score is compared."""

from __future__ import annotations

import numpy as np

from facekp.core.keypoints import Keypoints


def mean_face(points: np.ndarray, source: np.ndarray, keypoints: Keypoints) -> np.ndarray:
    """The baseline that every score is compared with: the mean labelled position of each point, by source.

    Args:
        points: (N, K, 2) labels in pixels, NaN where unlabelled.
        source: (N,).
        keypoints: names the sources.

    Returns:
        float32 (S, K, 2). Where a source never labels a point, the mean over all sources; where none does, NaN.
    """
    faces = np.stack([_labelled_mean(points[source == s]) for s in range(len(keypoints.sources))])
    return np.where(np.isnan(faces), _labelled_mean(points)[None], faces).astype(np.float32)


def _labelled_mean(points: np.ndarray) -> np.ndarray:
    labelled = ~np.isnan(points)
    count = labelled.sum(axis=0)
    total = np.where(labelled, points, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
