"""Which rows ``data.rows`` reads: spread over the file, each source in proportion, the same rows every time."""

from __future__ import annotations

import numpy as np

SEED = 0  # the same rows in every run, whatever the seeds of its split and its training


def spread_rows(source: np.ndarray, count: int) -> np.ndarray:
    """Rows spread evenly over a file: each source's rows are cut into equal parts, and one row is drawn of each part.

    Args:
        source: int (N,), the labelling convention of each row.
        count: rows to take; every source gets its part of them, and at least one row where that is possible.

    Returns:
        int64 (min(count, N),), increasing.

    Example:
        >>> spread_rows(np.array([0] * 6 + [1] * 12), 3).tolist()
        [5, 9, 15]
    """
    if count >= len(source):
        return np.arange(len(source))
    generator = np.random.default_rng(SEED)
    names, sizes = np.unique(source, return_counts=True)
    drawn = [
        np.flatnonzero(source == name)[_one_of_each_part(size, part, generator)]
        for name, size, part in zip(names, sizes, _parts(sizes, count), strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def _parts(sizes: np.ndarray, count: int) -> np.ndarray:
    """How many of ``count`` rows each source gets, in proportion to its size (largest remainders)."""
    exact = sizes * count / sizes.sum()
    parts = np.floor(exact).astype(np.int64)
    if count >= len(sizes):
        parts = np.maximum(parts, 1)
    while (missing := count - parts.sum()) != 0:
        allowed = parts < sizes if missing > 0 else parts > 1
        gap = np.where(allowed, np.sign(missing) * (exact - parts), -np.inf)
        parts[int(gap.argmax())] += np.sign(missing)
    return parts


def _one_of_each_part(size: int, parts: int, generator: np.random.Generator) -> np.ndarray:
    """One number of each of ``parts`` equal parts of 0 to size - 1."""
    edges = np.linspace(0, size, parts + 1).round().astype(np.int64)
    return generator.integers(edges[:-1], edges[1:])
