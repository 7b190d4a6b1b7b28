"""Folds without leakage: near-duplicate images are in the same fold, and every fold has all sources.

The images of a table come in; group numbers, fold numbers and image hashes go out.
"""

from __future__ import annotations

from hashlib import blake2b

import cv2
import numpy as np

from facekp.core.errors import UserError
from facekp.data.settings import DataSettings
from facekp.data.table import FaceTable, Images

CORRELATION = 0.97  # of grey values, above which two images are near-duplicates; the competition has about 1100

BLOCK = 1024  # rows at a time; a matrix of all pairs can exceed memory where the images just fit

CONTENT_SIDE = 8  # of the thumbnails by which `content_folds` tells images apart
PERIOD = 0.2  # of their projection; on the competition's faces it has a standard deviation of 0.1 to 0.3

COARSE = 24  # side of the thumbnails by which candidate pairs are chosen


def inseparable_groups(table: FaceTable) -> np.ndarray:
    """Groups of rows that a split must keep together: near-duplicates, and faces of one photo.

    Returns:
        int64 (N,): the index of the first row of each row's group.
    """
    return with_photos(near_duplicate_groups(table.images), table.name)


def split_folds(table: FaceTable, groups: np.ndarray, settings: DataSettings) -> np.ndarray:
    """The fold of each row, int64 (N,), as ``data.split`` says.

    Args:
        table: all rows.
        groups: int (N,) from `inseparable_groups`.
        settings: of the data.

    Raises:
        UserError: there are fewer groups than folds, or no image falls in the fold that is held out.
    """
    if settings.split == "rows":
        return assign_folds(groups, table.source, settings.folds, settings.split_seed)
    fold_of = content_folds(table.images, groups, settings.folds, settings.split_seed)
    held_out = fold_of == settings.fold
    if not held_out.any() or held_out.all():
        size = "all rows" if held_out.any() else "no row"
        raise UserError(f"data.split=content: {size} in data.fold={settings.fold}; use data.split=rows for so few rows")
    return fold_of


def with_photos(group: np.ndarray, name: np.ndarray | None) -> np.ndarray:
    """The groups (N,), merged where faces come from one photo (N,)."""
    if name is None:
        return group
    group = group.copy()
    _, first, member = np.unique(name, return_index=True, return_inverse=True)
    for i, j in enumerate(first[member]):
        _join(group, i, int(j))
    return _roots(group)


def near_duplicate_groups(images: Images) -> np.ndarray:
    """Groups of near-duplicate images: connected components of pairs whose grey values correlate above 0.97.

    Args:
        images: uint8 (N, H, W).

    Returns:
        int64 (N,): the index of the first image of each image's group.
    """
    small = thumbnails(images)
    _, first, member = np.unique(image_hashes(images), return_index=True, return_inverse=True)
    group = first[member]  # identical images, also uniform ones; correlation finds the nearly equal ones
    for start in range(0, len(images), BLOCK):
        for other in range(start, len(images), 8 * BLOCK):
            alike = small[start : start + BLOCK] @ small[other : other + 8 * BLOCK].T > CORRELATION - 0.03
            for i, j in np.argwhere(alike) + np.array([start, other]):
                if i < j and _correlation(images, i, j) > CORRELATION:
                    _join(group, i, j)
    return _roots(group)


def _correlation(images: Images, i: int, j: int) -> float:
    pair = standardise(images[np.array([i, j])])
    return float(pair[0] @ pair[1])


def thumbnails(images: Images, side: int = COARSE) -> np.ndarray:
    """The images as side x side area means, standardised: float32 (N, side * side)."""
    small = np.empty((len(images), side, side), dtype=np.float32)
    for i, image in enumerate(images):
        cv2.resize(image.astype(np.float32), (side, side), dst=small[i], interpolation=cv2.INTER_AREA)
    return standardise(small)


def standardise(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W) as float32 (N, H * W) of mean 0 and length 1, so that a dot product is a correlation.

    Example:
        >>> flat = standardise(np.array([[[0, 10]], [[5, 9]]]))
        >>> round(float(flat[0] @ flat[1]), 6)
        1.0
    """
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _roots(group: np.ndarray) -> np.ndarray:
    """The smallest index of each row's group; ``group`` is a union-find forest, int (N,)."""
    return np.array([_root(group, i) for i in range(len(group))])


def _root(group: np.ndarray, i: int) -> int:
    while group[i] != i:
        group[i] = group[group[i]]
        i = group[i]
    return int(i)


def _join(group: np.ndarray, i: int, j: int) -> None:
    first, second = sorted((_root(group, i), _root(group, j)))
    group[second] = first


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
        raise UserError(
            f"data.folds={folds}: there are only {len(names)} groups of different images; use 2 to {len(names)} folds, "
            f"or more rows"
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
        images: uint8 (N, H, W).
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


def image_hashes(images: Images) -> np.ndarray:
    """int64 (N,): 8 bytes of BLAKE2b of each image's pixels. Checkpoints record their training images by them."""
    digests = b"".join(blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)
