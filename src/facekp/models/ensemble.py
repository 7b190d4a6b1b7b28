"""Checkpoints and exported files applied to a table: points of every row, their mean where several answer.

`train`, `evaluate` and `submit` all answer through here, so a run's own figure is the one `evaluate` gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facekp.core.errors import UserError
from facekp.data.table import FaceTable
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint
from facekp.models.keypoint_model import KeypointModel
from facekp.models.onnx_model import LoadedOnnx, load_onnx
from facekp.networks.cpu import optimize_for_cpu

# Rows at a time: the maps of wider batches fall out of the cache, and their pages are fetched anew each time.
BATCH = 16

LoadedModel = LoadedCheckpoint | LoadedOnnx


def load_models(ckpt: str | Path | Sequence[str | Path], decoder: Mapping[str, Any] | None = None) -> list[LoadedModel]:
    """What ``ckpt=`` names where nothing but answers is asked for: checkpoints, ``shipped``, ONNX files, or a list.

    Args:
        ckpt: one or several.
        decoder: settings put over the files' own (`facekp.models.keypoint_model.KeypointModel`); a value of None leaves the own one.

    Raises:
        UserError: one can't be read (`facekp.models.checkpoint.load_checkpoint`, `facekp.models.onnx_model.load_onnx`), the decoder is
            unknown, or an exported file was made with another.
    """
    paths = [ckpt] if isinstance(ckpt, (str, Path)) else ckpt
    answerers = [load_onnx(Path(path)) if str(path).endswith(".onnx") else load_checkpoint(path) for path in paths]
    for one in answerers:
        one.model.override_decoder(decoder or {})
    return answerers


def predict_points(
    trained: Sequence[LoadedModel], table: FaceTable, source: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The mean answer of checkpoints or exported files.

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
        check_fits(one, table)
    asked = table.source if source is None else source
    answers = [_predict(one, table, asked) for one in trained]
    points, confidence = zip(*answers, strict=True)
    return np.stack(points).mean(axis=0, dtype=np.float32), np.stack(confidence).mean(axis=0, dtype=np.float32)


def check_fits(trained: LoadedModel, table: FaceTable) -> None:
    """
    Raises:
        UserError: it is of another scheme or size than the table.
    """
    own, asked = trained.model.keypoints, table.keypoints
    for what, mine, theirs in (("points", own.names, asked.names), ("sources", own.source_names, asked.source_names)):
        if mine != theirs:
            raise UserError(
                f"{trained.path}: knows the {what} of {own.name} ({', '.join(mine)}), not those that the data has by "
                f"{asked.name} ({', '.join(theirs)})"
            )
    if trained.model.size != table.size:
        (height, width), (high, wide) = trained.model.size, table.size
        raise UserError(
            f"{trained.path}: takes images of {width} x {height} pixels, not {wide} x {high}; photos are cut to "
            f"them with data.size={width}"
        )


@torch.inference_mode()
def _predict(trained: LoadedModel, table: FaceTable, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make_ready(trained, device)
    confidence = np.empty((*source.shape, len(table.keypoints.names)), dtype=np.float32)
    points = np.empty((*confidence.shape, 2), dtype=np.float32)
    for here, images, asked in batches(table, device, source):
        found, sure = trained.model.detect(images, asked)
        points[here], confidence[here] = found.cpu().numpy(), sure.cpu().numpy()
    return points, confidence


def make_ready(trained: LoadedModel, device: torch.device) -> None:
    """Put a checkpoint's model on the device, laid out for speed; an exported file stays on the CPU."""
    if isinstance(trained.model, KeypointModel):
        optimize_for_cpu(trained.model.to(device).network)


def batches(
    table: FaceTable, device: torch.device, source: np.ndarray | None = None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows, images uint8 (n, 1, H, W) and sources int64 of a table, `BATCH` at a time.

    Args:
        table: N rows.
        device: where the tensors are put.
        source: int (N,) or (N, Q) instead of the rows' own.
    """
    asked = table.source if source is None else source
    for start in range(0, len(table), BATCH):
        here = slice(start, start + BATCH)
        images = torch.from_numpy(np.array(table.images[here])).to(device).unsqueeze(1)
        yield here, images, torch.from_numpy(asked[here].astype(np.int64)).to(device)
