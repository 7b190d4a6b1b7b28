"""Counts points that the network did not find: the mean face is predicted in their place, at every face the same.

It replaces points of a confidence below the decoder's floor, and those of heatmaps that are empty or not finite.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from facekp.core.console import count
from facekp.models.checkpoint import LoadedCheckpoint
from facekp.models.onnx_model import LoadedOnnx

log = logging.getLogger(__name__)
MAX_REPLACED = 0.05  # of the points; the shipped checkpoint predicts none of 7500 points of the competition's faces so


def is_mean_face(points: np.ndarray, models: Sequence[LoadedCheckpoint | LoadedOnnx], source: np.ndarray) -> np.ndarray:
    """Which predicted points are those of the mean face; of several models, where all of them predict it.

    Args:
        points: float32 (N, K, 2), the mean prediction, in pixels of the network's image; or (N, Q, K, 2).
        models: the models that predicted the points.
        source: int (N,) or (N, Q), the labelling convention of each row.

    Returns:
        bool (N, K) or (N, Q, K).
    """
    faces = [loaded.model.mean_face.cpu().numpy()[source] for loaded in models]
    mean_face = faces[0] if len(faces) == 1 else np.stack(faces).mean(axis=0, dtype=np.float32)
    return (points == mean_face).all(axis=-1)


def report_mean_face(replaced: int, points: int) -> None:
    """Log how many points are those of the mean face: a line if there are any, a warning if there are many.

    Args:
        replaced: number of points that are the mean face's.
        points: number of all predicted points.
    """
    if not replaced:
        return
    text = f"{replaced} of {count(points, 'predicted point')} ({replaced / points:.1%}) are those of the mean face"
    if replaced / points > MAX_REPLACED:
        log.warning(
            "%s: the network is not sure of them (decoder.floor); is this checkpoint meant for such images?", text
        )
    else:
        log.info("%s: the network is not sure of them (decoder.floor)", text)
