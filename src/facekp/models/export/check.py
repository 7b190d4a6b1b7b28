"""Compares an exported graph with its checkpoint on faces, and says whether the difference is too large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from facekp.core.console import ProgressDisplay
from facekp.core.keypoints import Keypoints
from facekp.data.synthetic.faces import draw_faces
from facekp.data.table import FaceTable
from facekp.models.checkpoint import LoadedCheckpoint
from facekp.models.ensemble import image_batches
from facekp.models.scoring import compute_metrics

# By precision: the value of `compare` that is limited, and its limit in pixels. The rms distance also bounds every
# change of the RMSE.
LIMITS = {"float32": ("furthest", 0.01), "int8": ("rms", 0.1)}

Predict = Callable[[Tensor, Tensor], Sequence[Any]]  # images and source in; points and confidence first


@torch.inference_mode()
def compare(loaded: LoadedCheckpoint, predict: Predict, faces: FaceTable) -> dict[str, Any]:
    """The differences of a graph's predictions from the checkpoint's.

    Args:
        loaded: the checkpoint.
        predict: runs the graph on images (N, I, H, W) and sources (N,).
        faces: to predict.

    Returns:
        ``faces`` (their number), ``furthest`` and ``rms`` (largest, and root mean squared distance of a point from the
        checkpoint's, pixels), ``confidence`` (largest difference), and the RMSE of both against the labels, pixels:
        ``rmse_checkpoint`` and ``rmse``, None where nothing is labelled.
    """
    cpu = torch.device("cpu")
    exported, expected = [], []
    with ProgressDisplay("checking faces", len(faces)) as display:
        for images, source in image_batches(faces, cpu):
            exported.append(predict(images, source)[:2])
            expected.append(loaded.model.predict(images, source)[:2])
            display.advance(len(images))
    points, confidence = (torch.cat(part) for part in zip(*exported, strict=True))
    expected_points, expected_confidence = (torch.cat(part) for part in zip(*expected, strict=True))
    distance = (points - expected_points).norm(dim=-1)
    labelled = bool(faces.mask.any())
    return {
        "faces": len(faces),
        "furthest": float(distance.max()),
        "rms": float(distance.square().mean().sqrt()),
        "confidence": float((confidence - expected_confidence).abs().max()),
        "rmse_checkpoint": compute_metrics(expected_points.numpy(), faces)["rmse"] if labelled else None,
        "rmse": compute_metrics(points.numpy(), faces)["rmse"] if labelled else None,
    }


def summary(check: dict[str, Any]) -> str:
    """One line on the differences that `compare` measured."""
    line = (
        "difference from the checkpoint on {faces} faces: points {furthest:.2g} px at most, {rms:.2g} px rms; "
        "confidence {confidence:.2g}"
    ).format(**check)
    if check["rmse"] is None:
        return line
    return line + "; RMSE against labels {rmse:.4f} px, of the checkpoint {rmse_checkpoint:.4f}".format(**check)


def too_far(check: dict[str, Any], precision: str) -> str:
    """The problem if the difference exceeds the limit of the precision; otherwise an empty text."""
    name, limit = LIMITS[precision]
    if check[name] <= limit:  # false of NaN
        return ""
    return f"{name}: points differ from the checkpoint's by {check[name]:.3g} px, the limit is {limit} px"


def drawn_faces(per_source: int, loaded: LoadedCheckpoint) -> FaceTable:
    """Unlabelled drawn faces of the model's size, with its channels: as many of each source."""
    model = loaded.model
    sources = len(model.keypoints.source_names)
    drawable = Keypoints.from_dict({"name": "eyes", "names": ["left_eye_center", "right_eye_center"]})
    drawn = draw_faces(per_source * sources, 0, drawable).images
    images = np.stack([cv2.resize(image, model.size[::-1], interpolation=cv2.INTER_AREA) for image in drawn])
    if model.image_channels == 3:
        images = np.repeat(images[..., None], 3, axis=-1)
    points = np.full((len(images), len(model.keypoints.names), 2), np.nan, np.float32)
    rows = np.arange(len(images))
    return FaceTable(model.keypoints, images, points, (rows % sources).astype(np.int8), rows)
