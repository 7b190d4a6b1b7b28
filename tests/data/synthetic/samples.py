"""Measures of drawn faces."""

from __future__ import annotations

import numpy as np

from facekp.data.synthetic.geometry import Pose, Shape, landmarks, project


def centroid(weights: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


def pooled(errors: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(errors**2)))


def position(name: str, shape: Shape, pose: Pose) -> np.ndarray:
    return project(landmarks(shape)[name], shape, pose)[0]
