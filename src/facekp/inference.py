"""Trained checkpoints applied to a table: points of every row, averaged over the checkpoints, always finite.

`train`, `evaluate` and `submit` all answer through here, so a run's own figure is the one `evaluate` gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from facekp.checkpoint import Trained
from facekp.data.table import FaceTable
from facekp.errors import UserError
from facekp.speed import speed_up

# Rows at a time: the maps of wider batches fall out of the cache, and their pages are fetched anew each time.
BATCH = 16


def predict_points(
    trained: Sequence[Trained], table: FaceTable, source: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The mean answer of the checkpoints.

    Args:
        trained: at least one; all of the table's scheme and image size.
        table: N rows; labels are not looked at.
        source: by whose convention, int (N,), or (N, Q) for Q answers a row from one look; None: the rows' own.

    Returns:
        points float32 (N, K, 2) or (N, Q, K, 2) in pixels, finite, and confidence float32 (N, K) or (N, Q, K).

    Raises:
        UserError: a checkpoint is of another scheme or size than the table.
    """
    for one in trained:
        _check_fits(one, table)
    asked = table.source if source is None else source
    answers = [_predict(one, table.images, asked) for one in trained]
    points, confidence = zip(*answers, strict=True)
    return np.stack(points).mean(axis=0, dtype=np.float32), np.stack(confidence).mean(axis=0, dtype=np.float32)


def _check_fits(trained: Trained, table: FaceTable) -> None:
    own, asked = trained.detector.keypoints, table.keypoints
    if own.names != asked.names or own.source_names != asked.source_names:
        raise UserError(f"{trained.path}: knows the points of {own.name}, not of {asked.name} as the data has")
    if trained.detector.codec.size != table.size:
        (height, width), (high, wide) = trained.detector.codec.size, table.size
        raise UserError(
            f"{trained.path}: takes images of {width} x {height} pixels, not {wide} x {high}; photos are cut to "
            f"them with data.size={width}"
        )


@torch.inference_mode()
def _predict(trained: Trained, images: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    detector = trained.detector.to(device)
    speed_up(detector.network)
    confidence = np.empty((*source.shape, len(detector.keypoints.names)), dtype=np.float32)
    points = np.empty((*confidence.shape, 2), dtype=np.float32)
    for start in range(0, len(images), BATCH):
        here = slice(start, start + BATCH)
        batch = torch.from_numpy(np.array(images[here])).to(device).unsqueeze(1)
        asked = torch.from_numpy(source[here].astype(np.int64)).to(device)
        found, sure = detector.detect(batch, asked)
        points[here], confidence[here] = found.cpu().numpy(), sure.cpu().numpy()
    return points, confidence
