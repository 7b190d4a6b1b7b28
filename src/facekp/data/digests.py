"""Digests of a table's images and labels, by which data are the same whatever folder their files are in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from facekp.data.table import FaceTable

BLOCK = 1024  # rows that are hashed at a time; a table of images may exceed the memory
DIGEST_SIZE = 16  # bytes
CONTENT = ("images", "labels")  # keys of the digests that identify the data


def is_data_of(recorded: Mapping[str, Any], table: FaceTable) -> bool:
    """Whether a table is that of which digests were recorded; True where none were, as in older runs."""
    return are_of_same_data(recorded, table_digests(table))


def are_of_same_data(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two records of digests are of the same images and labels; what either lacks is passed over."""
    return all(one[part] == other[part] for part in CONTENT if part in one and part in other)


def table_digests(table: FaceTable) -> dict[str, str]:
    """Hexadecimal BLAKE2 digests of ``images`` and ``labels``."""
    images, labels = (hashlib.blake2b(digest_size=DIGEST_SIZE) for _ in range(2))
    for start in range(0, len(table), BLOCK):
        images.update(np.ascontiguousarray(table.images[start : start + BLOCK]).data)
    labelled = ~np.isnan(table.points)
    for part in (labelled, np.where(labelled, table.points, 0), table.source, table.row):
        labels.update(np.ascontiguousarray(part).data)
    return {"images": images.hexdigest(), "labels": labels.hexdigest()}
