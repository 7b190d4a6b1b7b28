"""Distillation: learn the predictions of trained networks, and leave out labels that they contradict.

The teachers predict every training image by the convention of every source. The student learns these predictions beside
the labels (`teacher.weight`), also for images without labels. Labels far from the prediction can be left out
(`teacher.drop`). Training images of a teacher count as those of the student, too. A teacher that has seen validation
rows is therefore refused, unless `teacher.seen` says that the scores do not matter.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from facekp.core.errors import UserError
from facekp.data.near_duplicates import face_hashes, known_faces
from facekp.data.readers.base import DataSettings
from facekp.data.readers.kaggle import KaggleSettings
from facekp.data.readers.read import read_test
from facekp.data.table import FaceTable
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoints
from facekp.models.ensemble import predict_table
from facekp.models.training_data import warn_of_other_crops
from facekp.training.settings import TeacherSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DistillationData:
    """What a student learns from. Axes: N rows, S sources, K points.

    Attributes:
        table: the labelled rows without the labels that were left out, then the rows without labels.
        fold_of: int (N,), the fold of each row; -1: the row is never held out.
        teacher_points: float32 (N, S, K, 2), predictions in pixels; NaN where the source never labels the point.
        trained_on: int64 hashes of the teachers' training images.
    """

    table: FaceTable
    fold_of: np.ndarray
    teacher_points: np.ndarray
    trained_on: np.ndarray


def build_distillation(
    table: FaceTable, fold_of: np.ndarray, settings: TeacherSettings, data: DataSettings
) -> DistillationData:
    """Load the teachers and predict.

    Args:
        table: the labelled rows.
        fold_of: int (N,), the fold of each row.
        settings: of the teachers; ``ckpt`` is given.
        data: the fold that is held out, and the test images.

    Raises:
        UserError: a teacher can't be loaded, was trained on held-out rows, or does not state its training rows; or the
            data have no test images.
    """
    assert settings.ckpt is not None
    if settings.unlabelled and not isinstance(data, KaggleSettings):
        raise UserError(f"data={data.name}: has no test images for the teacher; set teacher.unlabelled=false")
    teachers = load_checkpoints(settings.ckpt)
    held_out, hashes = fold_of == data.fold, face_hashes(table)
    warn_of_other_crops(teachers, hashes, data)
    trained_on = _check_unseen(teachers, hashes[held_out], data.fold, settings.seen)
    teacher_points = _predict(teachers, table)
    if settings.drop is not None:
        table = _without_contradicted(table, teacher_points, ~held_out, settings.drop)
    if settings.unlabelled:
        test, _ = read_test(data, table.keypoints)
        more = test.take(~known_faces(face_hashes(test), hashes[held_out]))  # the same photo may be in both
        table = table.joined(replace(more, points=np.full_like(more.points, np.nan)))
        teacher_points = np.concatenate((teacher_points, _predict(teachers, more)))
        fold_of = np.concatenate((fold_of, np.full(len(more), -1)))
    return DistillationData(table, fold_of, teacher_points, trained_on)


def _check_unseen(teachers: Sequence[LoadedCheckpoint], held_out: np.ndarray, fold: int, allowed: bool) -> np.ndarray:
    """Hashes of all training images of the teachers; held-out images among them are an error unless allowed.

    Args:
        teachers: the checkpoints.
        held_out: `face_hashes` of the validation rows.
        fold: that is held out.
        allowed: whether a warning takes the error's place.
    """
    known = []
    for teacher in teachers:
        if teacher.trained_on is None:
            raise UserError(
                f"teacher.ckpt={teacher.path}: doesn't state its training images; give a checkpoint of facekp.train"
            )
        known.append(teacher.trained_on)
        seen = known_faces(held_out, teacher.trained_on).sum()
        fault = (
            f"teacher.ckpt={teacher.path}: {seen} of the {len(held_out)} validation images are among its training "
            "images"
        )
        if seen and not allowed:
            raise UserError(
                f"{fault}; give a teacher trained with the same data.fold={fold}, data.folds, data.split, "
                "data.split_seed, data.group_by and data.held_out, or set teacher.seen=true if the scores do not matter"
            )
        if seen:
            log.warning("%s: this run's scores say nothing about new faces", fault)
    return np.unique(np.concatenate(known))


def _predict(teachers: Sequence[LoadedCheckpoint], table: FaceTable) -> np.ndarray:
    """Mean prediction (N, S, K, 2) of the teachers for every image, by the convention of every source."""
    scheme = table.keypoints
    sources = np.tile(np.arange(len(scheme.sources)), (len(table), 1))  # (N, S)
    points = predict_table(teachers, table, sources).points
    labelled = np.stack([scheme.labels_of(source) for source in scheme.source_names])  # (S, K)
    return np.where(labelled[..., None], points, np.float32(np.nan))


def _without_contradicted(table: FaceTable, teacher_points: np.ndarray, rows: np.ndarray, limit: float) -> FaceTable:
    """The table without labels of these rows (bool (N,)) that lie farther than ``limit`` pixels from the prediction."""
    predicted = teacher_points[np.arange(len(table)), table.source]  # (N, K, 2), by each row's source
    contradicted = rows[:, None] & (np.linalg.norm(table.points - predicted, axis=-1) > limit)
    log.info("teacher: left out %d of %d training labels", contradicted.sum(), table.mask[rows].sum())
    return replace(table, points=np.where(contradicted[..., None], np.float32(np.nan), table.points))
