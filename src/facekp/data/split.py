"""Folds without leakage: near-duplicate images are in the same fold, and every fold has all sources.

Faces of one photo stay together too, and those with the same value of an attribute in ``data.group_by``.

The images of a table come in; group numbers, fold numbers and image hashes go out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.data.near_duplicates import Forest, near_duplicate_groups, thumbnails
from facekp.data.settings import DataSettings
from facekp.data.subsets import attributes_of_table, subset_of_table
from facekp.data.table import FaceTable, Images

log = logging.getLogger(__name__)
HELD_OUT = "data.held_out"
CONTENT_SIDE = 8  # of the thumbnails by which `content_folds` tells images apart
PERIOD = 0.2  # of their projection; on the competition's faces it has a standard deviation of 0.1 to 0.3


def inseparable_groups(table: FaceTable, cache: Path | None = None) -> np.ndarray:
    """Groups of rows that a split must keep together: near-duplicates, and what `with_common` adds.

    Args:
        table: N rows.
        cache: folder that keeps near-duplicates which took more than a moment to find; None: no cache.

    Returns:
        int64 (N,): the index of the first row of each row's group.
    """
    return with_common(near_duplicate_groups(table.images, cache), table)


def split_folds(table: FaceTable, groups: np.ndarray, settings: DataSettings) -> np.ndarray:
    """The fold of each row, int64 (N,), as ``data.split`` says.

    Args:
        table: all rows.
        groups: int (N,) from `inseparable_groups`.
        settings: how and into how many folds the rows are split.

    Returns:
        -1 where a row is never held out: a single group can't be split, so all of it is trained on. With
        ``data.held_out`` it is 0 in the rows that are held out, and -1 in the others.

    Raises:
        UserError: there are fewer groups than folds, no image falls in the fold that is held out, or ``data.held_out``
            chooses no row or all.
    """
    if settings.held_out is not None:
        return _held_out(table, groups, settings.held_out)
    if (groups == groups[0]).all():
        return np.full(len(groups), -1)
    if settings.split == "rows":
        return assign_folds(groups, table.source, settings.folds, settings.split_seed)
    fold_of = content_folds(table.images, groups, settings.folds, settings.split_seed)
    held_out = fold_of == settings.fold
    if not held_out.any() or held_out.all():
        size = "all rows" if held_out.any() else "no row"
        raise UserError(f"data.split=content: {size} in data.fold={settings.fold}; use data.split=rows for so few rows")
    return fold_of


def _held_out(table: FaceTable, groups: np.ndarray, subset: Mapping[str, Sequence[str]]) -> np.ndarray:
    """The fold of each row, int64 (N,): 0 in a subset, -1 elsewhere; a warning counts groups that are in both.

    Raises:
        UserError: no row is in the subset, or all are.
    """
    held_out = subset_of_table(table, subset, HELD_OUT)
    if held_out.all():
        raise UserError(
            f"{HELD_OUT}: all {len(table)} rows have these values; choose others, so that rows are left to train on"
        )
    leaked = np.isin(groups, groups[held_out]) & ~held_out
    if leaked.any():
        log.warning(
            "%s: %s in a group with held-out rows (%s), so the validation error is too low; choose other values",
            HELD_OUT,
            count(int(leaked.sum()), "training row is", "training rows are"),
            ", ".join(["near-duplicates", "same photo", *(f"same {name}" for name in table.group_by)]),
        )
    return np.where(held_out, 0, -1)


def with_common(group: np.ndarray, table: FaceTable) -> np.ndarray:
    """The groups (N,), merged where faces have the same photo, or the same value of an attribute in `group_by`."""
    if table.photo is not None:
        group = _merged(group, table.photo)
    attributes = attributes_of_table(table)
    for name in table.group_by:
        group = _merged(group, attributes[name]) if name in attributes else group
    return group


def _merged(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The groups (N,), merged where rows have the same value (N,). Rows with an empty text are not merged."""
    forest = Forest(len(group))
    _, first, member = np.unique(value, return_index=True, return_inverse=True)
    of_value = first[member]
    if value.dtype.kind == "U":
        of_value = np.where(value == "", np.arange(len(group)), of_value)
    for i, others in enumerate(zip(group, of_value, strict=True)):
        if others != (i, i):
            forest.join(np.array([i, *others]))
    return forest.roots(np.arange(len(group)))


def assign_folds(groups: np.ndarray, source: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Assign whole groups to folds, so that every source is spread evenly over the folds.

    Args:
        groups: int (N,) from `near_duplicate_groups`.
        source: int (N,), the source of each row, by which folds are stratified.
        folds: number of folds.
        seed: of the order in which groups are assigned.

    Returns:
        int64 (N,): the fold of each row.

    Raises:
        UserError: fewer groups than folds.
    """
    names, member = np.unique(groups, return_inverse=True)
    if not 2 <= folds <= len(names):
        usable = "2" if len(names) == 2 else f"2 to {len(names)}"
        raise UserError(
            f"data.folds={folds}: the rows are only {len(names)} groups (near-duplicates, faces of one photo, and "
            f"of one data.group_by value); use {usable} folds, or more rows"
        )
    sizes = np.zeros((len(names), source.max() + 1), dtype=np.int64)  # rows of each source in each group
    np.add.at(sizes, (member, source), 1)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order].sum(axis=1), kind="stable")]  # large groups first, else random
    filled = np.zeros((folds, sizes.shape[1]), dtype=np.int64)
    fold_of_group = np.empty(len(names), dtype=np.int64)
    for g in order:
        load = filled[:, sizes[g] > 0].sum(axis=1)
        fold_of_group[g] = np.lexsort((filled.sum(axis=1), load))[0]
        filled[fold_of_group[g]] += sizes[g]
    return fold_of_group[member]


def content_folds(images: Images, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Assign groups to folds by what their images show: an image's fold does not depend on the rows beside it.

    An image becomes a number from 0 to 1: a fixed projection of its standardised 8 x 8 thumbnail, of which many periods
    cover the range of faces. Folds are equal parts of 0 to 1, so neighbouring numbers alternate between folds, and a
    fold prefers no kind of face. Compression hardly changes the number, so it rarely changes the fold. A group has the
    smallest number of its images.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        groups: int (N,) from `inseparable_groups`.
        folds: number of folds; they are only about equally large, and so are the parts of each source.
        seed: of the projection.

    Returns:
        int64 (N,): the fold of each row.
    """
    weights = np.random.default_rng(seed).normal(size=CONTENT_SIDE**2)
    weights -= weights.mean()
    place = thumbnails(images, CONTENT_SIDE).astype(np.float64) @ (weights / np.linalg.norm(weights)) / PERIOD % 1
    _, member = np.unique(groups, return_inverse=True)
    smallest = np.ones(member.max() + 1)
    np.minimum.at(smallest, member, place)
    return np.floor(smallest[member] * folds).astype(np.int64)
