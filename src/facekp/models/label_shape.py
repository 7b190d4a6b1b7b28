"""Warns of labels that do not have the shape that a checkpoint learnt: sides or axes are exchanged between the two."""

from __future__ import annotations

import logging

import numpy as np

from facekp.data.table import FaceTable
from facekp.functional.metrics import mean_face
from facekp.models.checkpoint import LoadedCheckpoint
from facekp.models.onnx_model import LoadedOnnx

log = logging.getLogger(__name__)
MIN_ROWS = 3  # labelled rows from which on the shape is judged
MAX_DISTANCE = 0.05  # of the image's side: the RMSE between the two mean faces, below which they agree
MAX_RATIO = 0.5  # of that RMSE: an exchange is likely if it brings the mean faces this close


def warn_of_other_shape(loaded: LoadedCheckpoint | LoadedOnnx, table: FaceTable) -> None:
    """Warn where the checkpoint's mean face fits the table's much better with exchanged sides or axes.

    Args:
        loaded: a checkpoint or exported file of the table's scheme and image size.
        table: N rows; those without a label say nothing.
    """
    if table.mask.any(axis=1).sum() < MIN_ROWS:
        return
    learnt = loaded.model.mean_face.detach().cpu().numpy()  # (S, K, 2)
    given = mean_face(table.points, table.source, table.keypoints)
    exchanges = {
        "left and right points": given[:, table.keypoints.flip_order()],
        "x and y": given[..., ::-1],
    }
    distance = rms(given - learnt)
    nearest = min(exchanges, key=lambda name: rms(exchanges[name] - learnt))
    if distance > MAX_DISTANCE * max(table.size) and rms(exchanges[nearest] - learnt) < MAX_RATIO * distance:
        log.warning(
            "%s: its mean face is %.1f px from that of these labels, but %.1f px with %s exchanged: correct the "
            "labels, or use a checkpoint that was trained on such labels",
            loaded.path,
            distance,
            rms(exchanges[nearest] - learnt),
            nearest,
        )


def rms(difference: np.ndarray) -> float:
    """Root of the mean square of what is not NaN; 0 where all is."""
    known = difference[~np.isnan(difference)]
    return float(np.sqrt(np.square(known, dtype=np.float64).mean())) if len(known) else 0.0
