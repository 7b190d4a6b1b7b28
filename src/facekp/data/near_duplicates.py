"""Near-duplicates: groups of images that show the same, found without comparing every image with every other.

Identical images are one image. Each of the others gets a signature from its 24 x 24 thumbnail: a unit vector; the dot
product of two is an upper bound of the correlation. So signatures of near-duplicates have a small distance. They are
sorted into leaves of a tree. Two leaves that are too far apart to hold a pair are not compared, nor are two whose
images are all in one group already, so thousands of frames of one scene cost little more than their number. Pairs of
other leaves are sieved: by the signatures' coarse form, by the signatures, at full size. Only signatures are kept in
memory, 2.3 KB an image. Axes: N images, U different images, G numbers of a coarse form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np

from facekp.core.channels import to_grey
from facekp.core.console import ProgressDisplay
from facekp.data.group_cache import cached_groups
from facekp.data.table import FaceTable, HostImages, Images

CORRELATION = 0.97  # of grey values, above which two images are near-duplicates; the competition has about 1100
THUMBNAIL_SIDE = 24  # side of the thumbnails that signatures are made of
MIN_SIGNATURE = CORRELATION - 0.002  # bound below which a pair is not compared; it is exact where 24 divides the sides
# Correlation of thumbnails: images whose thumbnails correlate less, such as noise, are not near-duplicates.
MIN_THUMBNAIL = CORRELATION - 0.03
MAX_DISTANCE = math.sqrt(2 - 2 * MIN_SIGNATURE) + 1e-4  # distance of the signatures of two candidates
CELL = 4  # pixels of a thumbnail along each side of the cells that a coarse form sums up
DIMENSIONS = 16  # numbers of a coarse form
MAX_SAMPLE = 4096  # images at most that the principal components are computed from
MAX_LEAF = 1024  # images in a leaf at most; its matrix of pairs is small, and a matrix product is still fast
BLOCK = 128  # images compared at full size at a time; those that are joined meanwhile are not compared again
MIN_NORM = 1e-6  # norm of an image that is not constant
ROUNDING = 1e-5  # rounding of a matrix product: correlations this close to the limit are computed pair by pair


def near_duplicate_groups(images: Images, cache: Path | None = None) -> np.ndarray:
    """Groups of near-duplicate images: connected components of pairs whose grey values correlate above 0.97.

    Args:
        images: uint8 (N, H, W), or in colour (N, H, W, 3).
        cache: folder that keeps groups which took more than a moment; None: no cache.

    Returns:
        int64 (N,): the index of the first image of each image's group.
    """
    hashes = image_hashes(images)
    return cached_groups(cache, hashes, lambda: _groups(images, hashes))


def _groups(images: Images, hashes: np.ndarray) -> np.ndarray:
    _, first, member = np.unique(hashes, return_index=True, return_inverse=True)
    different = np.sort(first)  # (U,), of identical images the first one
    groups = _Comparison(images, different).groups()
    return different[groups[np.searchsorted(different, first[member])]]


class _Comparison:
    """Joins near-duplicates among different images.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        rows: int (U,), increasing: the images to compare.
    """

    def __init__(self, images: Images, rows: np.ndarray) -> None:
        self.images, self.rows = images, rows
        different = images.take(rows) if isinstance(images, HostImages) else HostImages(images, rows)
        self.signatures = signatures(different)  # (U, 577)
        self.coarse = coarse_forms(self.signatures)  # (U, G)
        half, one = np.square(self.coarse).sum(axis=1, keepdims=True) / 2, np.ones((len(rows), 1), np.float32)
        self.left = np.hstack((self.coarse, -half, one))  # a row here times one there: minus half the squared distance
        self.right = np.hstack((self.coarse, one, -half))
        self.forest = Forest(len(rows))

    def groups(self) -> np.ndarray:
        """int64 (U,): the position of the first image of each image's group."""
        leaves = tree_leaves(self.coarse)
        pairs = [(leaf, leaf) for leaf in leaves] + close_pairs(self.coarse, leaves)
        with ProgressDisplay("comparing images to find near-duplicates", len(pairs)) as display:
            for first, second in pairs:
                self._compare(first, second)
                display.advance(1)
        return self.forest.roots(np.arange(len(self.rows)))

    def _compare(self, first: np.ndarray, second: np.ndarray) -> None:
        """Join the near-duplicates of two leaves, or of a leaf with itself."""
        if len(np.unique(self.forest.roots(np.concatenate((first, second))))) == 1:
            return
        near = self.left[first] @ self.right[second].T > -(MAX_DISTANCE**2) / 2
        if first is second:
            near = np.triu(near, 1)
        if not near.any():
            return
        for start in range(0, len(first), BLOCK):
            block = first[start : start + BLOCK]
            wanted = near[start : start + BLOCK] & (self.forest.roots(block)[:, None] != self.forest.roots(second))
            self._join_close(block, second, wanted)

    def _join_close(self, first: np.ndarray, second: np.ndarray, wanted: np.ndarray) -> None:
        """Join those of the wanted pairs, bool (n, m), that correlate."""
        first, second, wanted = _needed(first, second, wanted)
        wanted &= self._are_candidates(first, second)
        first, second, wanted = _needed(first, second, wanted)
        if not len(first):
            return
        correlation = self._full_size(first) @ self._full_size(second).T
        close = wanted & (correlation > CORRELATION)
        for a, b in np.argwhere(wanted & (np.abs(correlation - CORRELATION) < ROUNDING)):
            pair = self._full_size(np.array([first[a], second[b]]))
            close[a, b] = float(pair[0] @ pair[1]) > CORRELATION
        for a in close.any(axis=1).nonzero()[0]:
            self.forest.join(np.append(second[close[a]], first[a]))

    def _are_candidates(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether pairs may be near-duplicates by their thumbnails, bool (n, m)."""
        left, right = self.signatures[first], self.signatures[second]
        common = left[:, :-1] @ right[:, :-1].T
        lengths = np.outer(*(np.sqrt(1 - np.square(side[:, -1])) for side in (left, right)))
        return (common + np.outer(left[:, -1], right[:, -1]) > MIN_SIGNATURE) & (common > MIN_THUMBNAIL * lengths)

    def _full_size(self, positions: np.ndarray) -> np.ndarray:
        return standardise(self.images[self.rows[positions]])


def _needed(first: np.ndarray, second: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The members of both sides that are in a wanted pair, bool (n, m), and the pairs that are left of them."""
    i, j = wanted.any(axis=1), wanted.any(axis=0)
    return first[i], second[j], wanted[np.ix_(i, j)]


class Forest:
    """Groups of N members that are joined step by step (union-find); the smallest member stands for its group.

    Example:
        >>> forest = Forest(5)
        >>> forest.join(np.array([4, 2]))
        >>> forest.join(np.array([1, 4]))
        >>> forest.roots(np.arange(5)).tolist()
        [0, 1, 1, 3, 1]
    """

    def __init__(self, members: int) -> None:
        self.above = np.arange(members)

    def roots(self, members: np.ndarray) -> np.ndarray:
        """The smallest member of each member's group."""
        found = self.above[members]
        while not np.array_equal(higher := self.above[found], found):
            self.above[found] = found = self.above[higher]  # shortens the way for the next call
        self.above[members] = found
        return found

    def join(self, members: np.ndarray) -> None:
        """Join the groups of all these members."""
        roots = self.roots(members)
        self.above[roots] = roots.min()


def coarse_forms(vectors: np.ndarray) -> np.ndarray:
    """Leading principal components of signatures whose thumbnails are summed over square cells, float32 (U, G).

    They are scaled so that no distance between two signatures becomes larger.

    Args:
        vectors: (U, 577), of `signatures`.
    """
    cells = THUMBNAIL_SIDE // CELL
    squares = vectors[:, :-1].reshape(-1, cells, CELL, cells, CELL)
    sums = np.hstack((squares.sum(axis=(2, 4)).reshape(len(vectors), -1) / CELL, vectors[:, -1:]))  # (U, 37)
    sample = sums[:: -(-len(sums) // MAX_SAMPLE)]
    centred = sample - sample.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)  # by increasing variance
    return sums @ np.ascontiguousarray(directions[:, : -DIMENSIONS - 1 : -1])


def tree_leaves(points: np.ndarray) -> list[np.ndarray]:
    """Indices of points (U, G) in leaves of at most `MAX_LEAF`; a leaf holds points that are close to each other."""

    def halves(rows: np.ndarray) -> list[np.ndarray]:
        if len(rows) <= MAX_LEAF:
            return [rows]
        widest = np.ptp(points[rows], axis=0).argmax()
        ordered = rows[np.argsort(points[rows, widest], kind="stable")]
        middle = len(ordered) // 2
        return [*halves(ordered[:middle]), *halves(ordered[middle:])]

    return halves(np.arange(len(points)))


def close_pairs(points: np.ndarray, leaves: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of leaves whose boxes are at most `MAX_DISTANCE` apart; no other leaves hold a candidate pair."""
    low = np.stack([points[leaf].min(axis=0) for leaf in leaves])  # (L, G)
    high = np.stack([points[leaf].max(axis=0) for leaf in leaves])
    pairs = []
    for i, leaf in enumerate(leaves):
        gap = np.maximum(np.maximum(low[i] - high[i + 1 :], low[i + 1 :] - high[i]), 0)  # to each later leaf
        near = np.square(gap).sum(axis=1) <= MAX_DISTANCE**2
        pairs += [(leaf, leaves[i + 1 + other]) for other in np.flatnonzero(near).tolist()]
    return pairs


# What images are compared by


def image_hashes(images: Images) -> np.ndarray:
    """int64 (N,): 8 bytes of BLAKE2b of each image's pixels."""
    digests = b"".join(blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)


def face_hashes(table: FaceTable) -> np.ndarray:
    """What a checkpoint records of its training faces, and recognises them by, int64 (N, H).

    Returns:
        the hash of each face's image; for faces that were cropped from photos also the photo's, so that they are
        recognised in other crops. H is 1 or 2.
    """
    hashes = [image_hashes(table.images)]
    return np.stack(hashes if table.photo_hash is None else [*hashes, table.photo_hash], axis=1)


def known_faces(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """bool (N,): the faces, by their `face_hashes` (N, H), whose image or photo is among known hashes (M,)."""
    return np.asarray(np.isin(hashes, known).any(axis=1))


def thumbnails(images: Images, side: int = THUMBNAIL_SIDE) -> np.ndarray:
    """The grey levels of images as side x side area means, standardised: float32 (N, side * side)."""
    small = np.empty((len(images), side, side), dtype=np.float32)
    for image, means in zip(images, small, strict=True):
        cv2.resize(to_grey(image).astype(np.float32), (side, side), dst=means, interpolation=cv2.INTER_AREA)
    return standardise(small)


def signatures(images: Images) -> np.ndarray:
    """Unit vectors, float32 (N, 577): the dot product of two is at least the correlation of the images.

    An image x of mean 0 and length 1 is m + r: its area means m, and the rest r, which is orthogonal to the area means
    of any image. By Cauchy and Schwarz ``x1 · x2 <= m1 · m2 + norm(r1) norm(r2)``. A signature is m, as a thumbnail,
    and norm(r).
    """
    found = np.empty((len(images), THUMBNAIL_SIDE**2 + 1), dtype=np.float32)
    for image, signature in zip(images, found, strict=True):
        levels = to_grey(image).astype(np.float32)
        means = signature[:-1].reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE)
        cv2.resize(levels, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), dst=means, interpolation=cv2.INTER_AREA)
        signature[-1] = cv2.meanStdDev(levels)[1].item()  # until the next loop
    for start in range(0, len(found), BLOCK):
        block = found[start : start + BLOCK]
        centred = _centred(block[:, None, :-1]) / THUMBNAIL_SIDE  # their norm is the standard deviation
        centred /= np.maximum(np.maximum(block[:, -1], np.linalg.norm(centred, axis=1)), MIN_NORM)[:, None]
        block[:, :-1] = centred
        block[:, -1] = np.sqrt(np.maximum(1 - np.square(centred).sum(axis=1), 0))
    return found


def _centred(images: np.ndarray) -> np.ndarray:
    """Grey levels of images (n, H, W) or (n, H, W, 3) minus their mean, float32 (n, H * W)."""
    grey = np.array([to_grey(image) for image in images]) if images.ndim == 4 else images
    flat = grey.reshape(len(images), -1).astype(np.float32)
    return flat - flat.mean(axis=1, keepdims=True)


def standardise(images: np.ndarray) -> np.ndarray:
    """Grey levels of images (N, H, W) or (N, H, W, 3) as float32 (N, H * W) of mean 0 and length 1.

    A dot product is then a correlation.

    Example:
        >>> flat = standardise(np.array([[[0, 10]], [[5, 9]]]))
        >>> round(float(flat[0] @ flat[1]), 6)
        1.0
    """
    flat = _centred(images)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), MIN_NORM)
