"""Training rows in an order that reads a large file chunk by chunk, for images on a slow disk or in a shared folder.

Single images at random places are slow to read there. So the chunks of an epoch are drawn in random order, and the rows
of `POOL` chunks at a time are mixed. While a network trains on them, the system reads the next ones.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from facekp.data.table import HostImages, Images

POOL = 8  # chunks whose rows are mixed
GAP = 16  # images; a longer gap between two rows is not read with them


def shuffled_pools(rows: np.ndarray, chunk: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Rows in random order, in pools; those of a pool are mixed, and lie in a few chunks of neighbouring rows.

    Args:
        rows: int64 (N,), increasing.
        chunk: rows in a chunk; 0: all rows are one pool.
        generator: draws the order of the chunks, and the order in each pool.

    Returns:
        int64 arrays that hold every row once.

    Example:
        >>> [pool.tolist() for pool in shuffled_pools(np.arange(6), 0, np.random.default_rng(0))]
        [[3, 2, 5, 4, 0, 1]]
    """
    if not chunk:
        return [generator.permutation(rows)]
    chunks = np.split(rows, range(chunk, len(rows), chunk))
    order = generator.permutation(len(chunks))
    pools = (order[i : i + POOL] for i in range(0, len(order), POOL))
    return [generator.permutation(np.concatenate([chunks[i] for i in pool])) for pool in pools]


def pools_in_order(rows: np.ndarray, chunk: int) -> list[np.ndarray]:
    """As `shuffled_pools`, but in the order of the rows."""
    size = chunk * POOL
    return np.split(rows, range(size, len(rows), size)) if chunk else [rows]


def while_reading_ahead(images: Images, pools: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """The pools, one after another; as one begins, the system starts to read the images of the next."""
    for i, pool in enumerate(pools):
        for ahead in pools[i + 1 : i + 2] if i else pools[:2]:
            start_reading(images, ahead)
        yield pool


def start_reading(images: Images, rows: np.ndarray) -> None:
    """Let the system read some images from their file in the background; nothing is done for images in memory."""
    if not isinstance(images, HostImages) or not len(rows):
        return
    array, places = images.array, np.sort(images.rows[rows])
    mapping = _mapping(array)
    if mapping is None:
        return
    start = array.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data
    for stretch in np.split(places, np.flatnonzero(np.diff(places) > GAP) + 1):
        first = start + int(stretch[0]) * array.strides[0]
        end = start + int(stretch[-1] + 1) * array.strides[0]
        page = first // mmap.PAGESIZE * mmap.PAGESIZE
        mapping.madvise(mmap.MADV_WILLNEED, page, end - page)


def _mapping(array: np.ndarray) -> mmap.mmap | None:
    """The memory-mapped file that an array lies in; None for an array in memory."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def cut(pools: Iterable[np.ndarray], sizes: Iterable[int]) -> Iterator[np.ndarray]:
    """The rows of the pools in pieces; a pool is asked for once the rows before it are used up.

    Args:
        pools: int64 arrays.
        sizes: of the pieces, together at most as many rows as there are.

    Example:
        >>> [piece.tolist() for piece in cut([np.arange(4), np.arange(4, 6)], [3, 2])]
        [[0, 1, 2], [3, 4]]
    """
    remaining, rest = iter(pools), np.empty(0, np.int64)
    for size in sizes:
        while len(rest) < size:
            rest = np.concatenate((rest, next(remaining)))
        piece, rest = rest[:size], rest[size:]
        yield piece


def even_sizes(rows: int, pieces: int) -> list[int]:
    """Sizes of pieces of ``rows`` rows, which differ by at most one.

    Example:
        >>> even_sizes(7, 3)
        [3, 2, 2]
    """
    return [rows // pieces + (i < rows % pieces) for i in range(pieces)]
