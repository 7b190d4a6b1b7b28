"""Checkpoints and exported files, and what they predict for a table: the mean prediction where there are several.

Training, `evaluate` and `submit` predict through `predict_table`, so the metrics of a run are those of `evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facekp.core.channels import CHANNEL_NAMES
from facekp.core.console import ProgressDisplay
from facekp.core.device import choose_device
from facekp.core.errors import UserError
from facekp.data.table import FaceTable
from facekp.functional.channels import channels_first
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint
from facekp.models.keypoint_model import KeypointModel
from facekp.models.label_shape import warn_of_other_shape
from facekp.models.mean_face import is_mean_face, report_mean_face
from facekp.models.onnx_model import LoadedOnnx, OnnxModel, load_onnx
from facekp.models.packaged import file_of
from facekp.models.prediction import Prediction, concatenate
from facekp.models.settings import DecoderOverride, ViewsChoice
from facekp.models.training_data import warn_of_mixed_data
from facekp.models.views import images_at_once
from facekp.networks.cpu import optimize_for_cpu

LoadedModel = LoadedCheckpoint | LoadedOnnx

PredictTable = Callable[[Sequence[LoadedModel], FaceTable], Prediction[np.ndarray]]  # as `predict_table`


def load_models(
    ckpt: str | Path | Sequence[str | Path], decoder: DecoderOverride | None = None, views: ViewsChoice = "all"
) -> list[LoadedModel]:
    """Read what ``ckpt=`` names for prediction: checkpoints, ONNX files, words of `facekp.models.packaged`, or a list.

    Args:
        ckpt: one or several.
        decoder: replaces settings of the files' decoders; None keeps them.
        views: ``one``: checkpoints predict without other views (`DecoderOverride.for_views`). An exported file keeps
            the views that it was exported with.

    Raises:
        UserError: a file can't be read (`facekp.models.checkpoint.load_checkpoint`,
            `facekp.models.onnx_model.load_onnx`), or an exported file has another decoder.
    """
    paths = [file_of(path) for path in ([ckpt] if isinstance(ckpt, (str, Path)) else ckpt)]
    models = [load_onnx(path) if path.suffix == ".onnx" else load_checkpoint(path) for path in paths]
    override = decoder or DecoderOverride()
    for loaded in models:
        of_checkpoint = isinstance(loaded.model, KeypointModel)
        loaded.model.override_decoder(override.for_views(views) if of_checkpoint else override)
    warn_of_mixed_data(models)
    return models


def predict_table(
    models: Sequence[LoadedModel], table: FaceTable, source: np.ndarray | None = None
) -> Prediction[np.ndarray]:
    """The mean prediction of checkpoints or exported files for a table; the log counts points of the mean face.

    Args:
        models: at least one; with the table's scheme and image size.
        table: N rows; their labels are not used.
        source: the labelling convention to predict, int (N,), or (N, Q) for Q conventions per row; None: the rows'.

    Returns:
        arrays (N, K), or (N, Q, K) for Q conventions. Several models give no deviation and no expected error.

    Raises:
        UserError: a model has another scheme or image size than the table, or does not predict a source.
    """
    for loaded in models:
        check_same_images(loaded, models[0])
    for loaded in models:
        check_fits(loaded, table)
    source = table.source if source is None else source
    for loaded in models:
        if isinstance(loaded.model, OnnxModel):
            loaded.model.check_source(source)  # now, not after minutes at the first such row
    with ProgressDisplay("predicting faces", len(models) * len(table)) as display:
        predictions = [_predict(loaded, table, source, display) for loaded in models]
    prediction = predictions[0] if len(predictions) == 1 else _mean(predictions)
    replaced = is_mean_face(prediction.points, models, source)
    report_mean_face(int(replaced.sum()), replaced.size)
    return prediction


def _mean(predictions: Sequence[Prediction[np.ndarray]]) -> Prediction[np.ndarray]:
    points, confidence, *_ = zip(*predictions, strict=True)
    mean_points = np.stack(points).mean(axis=0, dtype=np.float32)
    return Prediction(mean_points, np.stack(confidence).mean(axis=0, dtype=np.float32), None, None)


def check_fits(loaded: LoadedModel, table: FaceTable) -> None:
    """Check a model against the table that it predicts; warn of labels of another shape.

    Raises:
        UserError: the model has another scheme, image size or number of channels than the table.
    """
    ours, theirs = loaded.model.keypoints, table.keypoints
    for what, known, needed in (
        ("points", ours.names, theirs.names),
        ("sources", ours.source_names, theirs.source_names),
    ):
        if tuple(known) != tuple(needed):
            order = " in another order" if sorted(known) == sorted(needed) else ""
            raise UserError(
                f"{loaded.path}: predicts the {what} of {ours.name} ({', '.join(known)}), but the data has those of "
                f"{theirs.name}{order} ({', '.join(needed)}); give checkpoints of one scheme"
            )
    if loaded.model.size != table.size:
        (height, width), (table_height, table_width) = loaded.model.size, table.size
        raise UserError(
            f"{loaded.path}: takes images of size {width} x {height} pixels, but the data has {table_width} x "
            f"{table_height}; for photos set data.size={width}"
        )
    if loaded.model.image_channels != table.channels:
        raise UserError(
            f"{loaded.path}: takes {CHANNEL_NAMES[loaded.model.image_channels]} images, but those of the data are "
            f"{CHANNEL_NAMES[table.channels]}; for photos set data.channels={loaded.model.image_channels}"
        )
    warn_of_other_shape(loaded, table)


def check_same_images(loaded: LoadedModel, first: LoadedModel) -> None:
    """Refuse an ensemble of models for images of several sizes, or for grey and for colour images.

    Raises:
        UserError: two models take images of different sizes, or one takes grey images, the other one colour.
    """
    kinds = [
        (f"{model.size[1]} x {model.size[0]}", CHANNEL_NAMES[model.image_channels])
        for model in (loaded.model, first.model)
    ]
    for ours, theirs in zip(*kinds, strict=True):
        if ours != theirs:
            raise UserError(
                f"{loaded.path}: takes {ours} images, but {first.path} takes {theirs} ones; give checkpoints for the "
                "same kind of images"
            )


@torch.inference_mode()
def _predict(
    loaded: LoadedModel, table: FaceTable, source: np.ndarray, display: ProgressDisplay
) -> Prediction[np.ndarray]:
    device = choose_device()
    make_ready(loaded, device)
    batches = []
    for images, sources in image_batches(table, device, source):
        batches.append(loaded.model.predict(images, sources).map(_to_numpy))
        display.advance(len(images))
    return concatenate(batches, np.concatenate)


def _to_numpy(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()


def make_ready(loaded: LoadedModel, device: torch.device) -> None:
    """Move a checkpoint's model to the device and optimise its memory layout; an exported file stays on the CPU."""
    if isinstance(loaded.model, KeypointModel):
        optimize_for_cpu(loaded.model.to(device).network)


def image_batches(
    table: FaceTable, device: torch.device, source: np.ndarray | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images uint8 (n, I, H, W) and sources int64 of a table, `images_at_once` each; one empty batch of no rows.

    I is 1 for grey images and 3 for colour.

    Args:
        table: N rows.
        device: where the tensors are put.
        source: int (N,) or (N, Q), instead of the rows' sources.
    """
    source = table.source if source is None else source
    size = images_at_once(device)
    for start in range(0, max(len(table), 1), size):
        rows = slice(start, start + size)
        images = channels_first(torch.from_numpy(np.array(table.images[rows])).to(device))
        yield images, torch.from_numpy(source[rows].astype(np.int64)).to(device)
