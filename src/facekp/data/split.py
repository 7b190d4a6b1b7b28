"""Folds that don't leak: near-duplicate images stay together, every fold has the full mixture of sources.

A table's images come in; group numbers, fold numbers and image hashes go out.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from facekp.errors import UserError

CORRELATION = 0.97  # of grey values, above which two images count as one (DESIGN: the competition has about 1100)
COARSE = 24  # side of the thumbnails that pick the candidates; block means keep what near-duplicates share


def near_duplicate_groups(images: np.ndarray) -> np.ndarray:
    """Connected components of "grey values correlate above 0.97".

    Args:
        images: uint8 (N, H, W).

    Returns:
        int64 (N,): the index of the first image of each one's group.
    """
    height, width = (side // COARSE * COARSE for side in images.shape[1:])
    small = images[:, :height, :width].reshape(len(images), COARSE, height // COARSE, COARSE, width // COARSE)
    thumbnails = _standardise(small.mean(axis=(2, 4), dtype=np.float32))
    _, first, member = np.unique(image_hashes(images), return_index=True, return_inverse=True)
    group = first[member]  # identical images, flat ones too; correlation finds the nearly equal
    for start in range(0, len(images), 1024):
        alike = thumbnails[start : start + 1024] @ thumbnails.T > CORRELATION - 0.03
        for i, j in np.argwhere(np.triu(alike, k=start + 1)):
            pair = _standardise(images[[start + i, j]])
            if pair[0] @ pair[1] > CORRELATION:
                _join(group, start + i, j)
    return np.array([_root(group, i) for i in range(len(images))])


def _standardise(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _root(group: np.ndarray, i: int) -> int:
    while group[i] != i:
        group[i] = group[group[i]]
        i = group[i]
    return int(i)


def _join(group: np.ndarray, i: int, j: int) -> None:
    first, second = sorted((_root(group, i), _root(group, j)))
    group[second] = first


def assign_folds(groups: np.ndarray, source: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Deal whole groups to the folds so that each fold gets its share of every source.

    Args:
        groups: int (N,) from `near_duplicate_groups`.
        source: int (N,), the stratum of each row.
        folds: how many.
        seed: of the order in which groups are dealt.

    Returns:
        int64 (N,): the fold of each row.

    Raises:
        UserError: fewer groups than folds.
    """
    names, member = np.unique(groups, return_inverse=True)
    if not 2 <= folds <= len(names):
        raise UserError(
            f"data.folds: {folds} folds can't be dealt from {len(names)} groups of different images; "
            f"take 2 to {len(names)} folds or more rows"
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


def image_hashes(images: np.ndarray) -> np.ndarray:
    """int64 (N,): 8 bytes of BLAKE2b of each image's pixels, by which a checkpoint knows what trained it."""
    digests = b"".join(blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)
