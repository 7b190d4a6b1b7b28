"""The estimator at the start of a training: a new model, or one with the weights of a checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.datamodule import FaceData
from facekp.data.near_duplicates import face_hashes, known_faces
from facekp.data.settings import DataSettings
from facekp.data.table import FaceTable
from facekp.functional.metrics import mean_face
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint
from facekp.models.keypoint_model import KeypointModel
from facekp.models.label_shape import warn_of_other_shape
from facekp.models.settings import ModelSettings
from facekp.models.training_data import name_points, points_of_sources, warn_of_other_crops
from facekp.models.transfer import copy_matching, in_brackets, point_pairs, source_pairs
from facekp.networks.cpu import optimize_for_cpu, store_channels_last
from facekp.runs.folder import FIND
from facekp.training.dataset import TrainingData
from facekp.training.estimator import KeypointEstimator
from facekp.training.settings import TrainSettings

log = logging.getLogger(__name__)
UNTIL_FOUND = 1e-3  # learning rate of an estimator while lr=find has not found one


def build_estimator(dataset: TrainingData, settings: TrainSettings, resume_from: Path | None) -> KeypointEstimator:
    """The estimator with its initial weights.

    Args:
        dataset: the rows of the training, and the training images of the teachers.
        settings: of the training.
        resume_from: last checkpoint of the run that is resumed; it replaces ``init_from``. The weights themselves are
            restored by the Trainer.

    Raises:
        UserError: a checkpoint can't be loaded or does not fit, or a setting is refused.
    """
    data = dataset.module
    path = resume_from or settings.init_from
    start = load_checkpoint(path) if path is not None else None
    model = _new_model(data.table, settings, None if start is None or resume_from is None else start.model.settings)
    if start is not None and resume_from is None:
        _start_from(model, start, data, settings.data)
    _set_mean_face(model, data)
    if settings.trainer.channels_last:
        store_channels_last(model.network)
    if settings.trainer.fast_cpu:
        optimize_for_cpu(model.network)
    trained_start = np.empty(0, dtype=np.int64) if start is None else start.trained_on
    estimator = KeypointEstimator(
        model=model,
        loss=settings.loss,
        lr=UNTIL_FOUND if settings.lr == FIND else float(settings.lr),
        optimizer=settings.optimizer,
        scheduler=settings.scheduler,
        teacher_weight=settings.teacher.weight,
        trained_before=None if trained_start is None else np.concatenate((trained_start, dataset.trained_teacher)),
        labels_before=_labels_before(model, start),
        config=settings.with_references(),
    )
    _warn_of_untrained(estimator, data)
    return estimator


def _new_model(table: FaceTable, settings: TrainSettings, resumed: ModelSettings | None) -> KeypointModel:
    """A model with random weights.

    Args:
        table: the rows of the training; the model has their keypoints, size in pixels and colours.
        settings: of the training.
        resumed: of the model that is resumed, in place of ``settings.model``; None: a new training.
    """
    return KeypointModel(
        keypoints=table.keypoints,
        size=table.size,
        settings=settings.model if resumed is None else resumed,
        activation=settings.loss.activation,
        decoder=settings.decoder,
        offsets=settings.data.offsets,
        image_channels=table.channels,
    )


def _start_from(model: KeypointModel, start: LoadedCheckpoint, data: FaceData, settings: DataSettings) -> None:
    """Copy the weights of ``init_from``, and warn where it does not suit the data."""
    table = data.table
    take_weights(model, start)
    hashes = face_hashes(table)
    warn_of_other_crops([start], hashes, settings)
    _warn_if_seen(start, hashes[data.val_rows])
    if (start.model.keypoints.names, start.model.size) == (table.keypoints.names, table.size):
        warn_of_other_shape(start, table)


def _set_mean_face(model: KeypointModel, data: FaceData) -> None:
    """Set the model's mean face to that of all rows that are not held out, where these have labels."""
    others = data.table.without(data.val_rows)  # includes rows that subset= leaves out of training
    face = torch.from_numpy(mean_face(others.points, others.source, data.table.keypoints))
    model.mean_face = torch.where(face.isnan(), model.mean_face, face)


def _warn_of_untrained(estimator: KeypointEstimator, data: FaceData) -> None:
    """Warn of points that neither the training rows nor the initial weights' have a label of."""
    labels, scheme = estimator.trained_labels(data), data.table.keypoints
    if labels is None:
        return
    untrained = points_of_sources(scheme, range(len(scheme.sources))) & (labels == 0)
    if untrained.any():
        log.warning(
            "no training row has a label of %s: the network can't learn them; label them, train on more rows, or leave "
            "them out of keypoints %s",
            name_points(scheme, untrained),
            scheme.name,
        )


def _labels_before(model: KeypointModel, start: LoadedCheckpoint | None) -> np.ndarray | None:
    """int64 (S, K), the labels that the initial weights were trained on; None: unknown."""
    labels = np.zeros(model.channels.shape, dtype=np.int64)
    if start is None:
        return labels
    if start.labels is None:
        return None
    for s, old_s in source_pairs(model.keypoints, start.model.keypoints):
        for k, old_k in point_pairs(model.keypoints, start.model.keypoints):
            labels[s, k] = start.labels[old_s, old_k]
    return labels


def take_weights(model: KeypointModel, start: LoadedCheckpoint) -> None:
    """Copy the tensors of a checkpoint that fit into the model, and log which in one line.

    Raises:
        UserError: no tensor of the network fits.
    """
    report = copy_matching(model, start)
    copied = [name for name in report.copied + report.partly_copied if name.startswith("network.")]
    not_copied = [name for name in report.not_copied if name.startswith("network.")]
    if not copied:
        raise UserError(
            f"init_from={start.path}: no weight of its network {start.model.settings.network.name} fits model= here; "
            "choose the same model, or init_from=null"
        )
    log.info("init_from=%s: %s; %s", start.path, report, _known_points(model.keypoints, start.model.keypoints))
    if len(copied) < len(not_copied):
        network = start.model.settings.network.plain().items()
        given = [f"model.network.{key}={value}" for key, value in network if not isinstance(value, (dict, list))]
        log.warning(
            "init_from=%s: most of the network starts with random weights, as the checkpoint has another network; to "
            "use its weights, give %s",
            start.path,
            " ".join(given),
        )


def _known_points(scheme: Keypoints, old: Keypoints) -> str:
    """Which points of a scheme an older one has, by name.

    Example:
        >>> eyes = Keypoints.from_dict({"name": "eyes", "names": ["left", "right"]})
        >>> _known_points(eyes, eyes)
        'all 2 points are also in the checkpoint'
        >>> _known_points(Keypoints.from_dict({"name": "x", "names": ["left", "chin", "ear"]}), eyes)
        '1 of 3 points is also in the checkpoint (left)'
    """
    known = [scheme.names[k] for k, _ in point_pairs(scheme, old)]
    if len(known) == len(scheme.names):
        return f"all {len(known)} points are also in the checkpoint"
    verb = "is" if len(known) == 1 else "are"
    return f"{len(known)} of {len(scheme.names)} points {verb} also in the checkpoint{in_brackets(known)}"


def _warn_if_seen(start: LoadedCheckpoint, held_out: np.ndarray) -> None:
    """Warn of initial weights that were trained on validation images, given their `face_hashes`."""
    seen = 0 if start.trained_on is None else known_faces(held_out, start.trained_on).sum()
    if seen:
        log.warning(
            "%s: %d of the %d validation images are among its training images; this run's scores say nothing about new "
            "faces",
            start.path,
            seen,
            len(held_out),
        )
