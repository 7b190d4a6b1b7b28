"""Learning from a trained network's answers: labels for what nobody labelled, and a check of what somebody did.

A teacher answers every training image by every source's convention. A student learns those answers beside the labels
(`teacher.weight`), for images without any label as well; labels far from the teacher's answer may be left out. Whatever
trained the one counts as having trained the other: a teacher that has seen the validation rows is refused, unless the
run is for use and not for its scores (`teacher.seen`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facekp.core.errors import UserError
from facekp.data.readers.registry import read_test
from facekp.data.split import image_hashes
from facekp.data.table import FaceTable, Images
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoints
from facekp.models.ensemble import predict_points

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DistillationData:
    """What a student learns from. N rows, S sources, K points.

    Attributes:
        table: the labelled rows, without the labels that the teacher doubts, then the unlabelled ones.
        fold_of: int (N,); -1 where a row is never held out.
        answers: float32 (N, S, K, 2), pixels; NaN where the source never labels the point.
        trained_on: int64 hashes of the images that trained the teacher.
    """

    table: FaceTable
    fold_of: np.ndarray
    answers: np.ndarray
    trained_on: np.ndarray


def build_distillation(
    table: FaceTable, fold_of: np.ndarray, fold: int, settings: Mapping[str, Any], data: Mapping[str, Any]
) -> DistillationData:
    """Ask the teacher.

    Args:
        table: the labelled rows.
        fold_of: int (N,), the fold of each.
        fold: the one held out.
        settings: the teacher config: ``ckpt`` (a path or several, whose mean answer counts), ``unlabelled`` (also the
            test images), ``drop`` (pixels from the answer beyond which a training label is left out, or None), ``seen``
            (a teacher trained on held-out rows is only warned of).
        data: the data config, for the test images.

    Raises:
        UserError: the teacher is no checkpoint, was trained on held-out rows or does not tell on which.
    """
    teachers = load_checkpoints(settings["ckpt"])
    held_out = fold_of == fold
    trained_on = _check_unseen(teachers, table.take(held_out).images, fold, settings["seen"])
    answers = _answers(teachers, table)
    if settings["drop"] is not None:
        table = _without_doubted(table, answers, ~held_out, settings["drop"])
    if settings["unlabelled"]:
        if "dir" not in data:
            raise UserError(f"teacher.unlabelled=true: data={data['name']} has no test images; set it to false")
        more, _ = read_test(data, table.keypoints)
        table = table.joined(replace(more, points=np.full_like(more.points, np.nan)))
        answers = np.concatenate((answers, _answers(teachers, more)))
        fold_of = np.concatenate((fold_of, np.full(len(more), -1)))
    return DistillationData(table, fold_of, answers, trained_on)


def _check_unseen(teachers: Sequence[LoadedCheckpoint], held_out: Images, fold: int, allowed: bool) -> np.ndarray:
    """Hashes of all images that trained the teachers, none of which is held out where that is not allowed."""
    hashes = image_hashes(held_out)
    for one in teachers:
        if one.trained_on is None:
            raise UserError(f"teacher.ckpt={one.path}: doesn't tell which images trained it; take one of facekp.train")
        seen = np.isin(hashes, one.trained_on).sum()
        told = f"teacher.ckpt={one.path}: {seen} of the {len(hashes)} validation images trained it"
        if seen and not allowed:
            raise UserError(
                f"{told}; take a teacher trained with the same data.fold={fold}, data.folds and data.split_seed, "
                "or set teacher.seen=true, where the scores shall not count"
            )
        if seen:
            log.warning("%s: this run's scores say nothing about new faces", told)
    return np.unique(np.concatenate([one.trained_on for one in teachers if one.trained_on is not None]))


def _answers(teachers: Sequence[LoadedCheckpoint], table: FaceTable) -> np.ndarray:
    """(N, S, K, 2): every image answered as each source would label it."""
    scheme = table.keypoints
    sources = np.tile(np.arange(len(scheme.sources)), (len(table), 1))
    points, _ = predict_points(teachers, table, sources)
    labelled = np.stack([scheme.labels_of(source) for source in scheme.source_names])  # (S, K)
    return np.where(labelled[..., None], points, np.float32(np.nan))


def _without_doubted(table: FaceTable, answers: np.ndarray, rows: np.ndarray, limit: float) -> FaceTable:
    """The table without labels of these rows (bool (N,)) that lie farther than ``limit`` pixels from the answer."""
    own = answers[np.arange(len(table)), table.source]
    doubted = rows[:, None] & (np.linalg.norm(table.points - own, axis=-1) > limit)
    log.info("teacher: %d of %d training labels doubted and left out", doubted.sum(), table.mask[rows].sum())
    return replace(table, points=np.where(doubted[..., None], np.float32(np.nan), table.points))
