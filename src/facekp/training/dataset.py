"""The rows of a training: split into folds, and with a teacher's predictions where there is a teacher."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

from facekp.core.console import listed
from facekp.core.keypoints import Keypoints
from facekp.data.datamodule import FaceData, check_split
from facekp.data.labels.scheme_guess import side_pairs
from facekp.data.split import inseparable_groups, split_folds
from facekp.data.table import FaceTable
from facekp.models.training_data import warn_of_unscored
from facekp.runs.frames import split_frame
from facekp.training.distillation import build_distillation
from facekp.training.settings import TrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """What a training reads.

    Attributes:
        module: the batches.
        split: the set of every row, for split.csv (`facekp.runs.frames.split_frame`).
        trained_teacher: int64 hashes of the teachers' training images; empty without a teacher.
    """

    module: FaceData
    split: pd.DataFrame
    trained_teacher: np.ndarray


def build_data(table: FaceTable, settings: TrainSettings) -> TrainingData:
    """Split the rows of a table, and let the teachers predict.

    Raises:
        UserError: the fold can't be held out, no row is left to train on, or a teacher is not allowed.
    """
    data = settings.data
    groups = inseparable_groups(table, data.cache_folder)
    fold_of = split_folds(table, groups, data)
    check_split(table, fold_of, data.fold, settings.subset)
    warn_of_unscored(table, fold_of == data.fold)
    if settings.augment.flip or settings.decoder.flip:
        warn_of_unpaired(table.keypoints)
    rows, teacher_points, trained_teacher = table, None, np.empty(0, dtype=np.int64)
    if settings.teacher.ckpt is not None:
        distillation = build_distillation(table, fold_of, settings.teacher, data)
        rows, fold_of = distillation.table, distillation.fold_of
        teacher_points, trained_teacher = distillation.teacher_points, distillation.trained_on
    module = FaceData(
        table=rows,
        fold_of=fold_of,
        fold=data.fold,
        subset=settings.subset,
        batch_size=data.batch_size,
        augmentation=settings.augment,
        seed=settings.seed,
        teacher_points=teacher_points,
        offsets=data.offsets,
        accumulate=settings.trainer.accumulate_grad_batches,
        chunk_rows=data.chunk_rows,
    )
    train_rows = module.train_rows[module.train_rows < len(table)]  # later rows are unlabelled images of other files
    split = split_frame(table, fold_of[: len(table)], groups, train_rows, module.val_rows)
    return TrainingData(module, split, trained_teacher)


def warn_of_unpaired(keypoints: Keypoints) -> None:
    """Warn of left and right points that a mirror image does not exchange, as the scheme does not say that it does."""
    paired = {name for pair in keypoints.pairs for name in pair}
    unpaired = [pair for pair in side_pairs(keypoints.names) if not paired.intersection(pair)]
    if unpaired:
        log.warning(
            "keypoints %s: a mirror image has left and right exchanged, but pairs lacks %s: the network can't tell "
            "them apart; add them to pairs, or set augment.flip=0 decoder.flip=false",
            keypoints.name,
            listed([f"[{left}, {right}]" for left, right in unpaired]),
        )
