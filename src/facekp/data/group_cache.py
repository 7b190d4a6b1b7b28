"""Keeps groups of near-duplicates in a file beside the cached table, named by a hash of the images.

Layout: 32 bytes of SHA-256 over the rest of the file, then the group of each image as int64, little-endian.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from facekp.core.errors import UserError
from facekp.core.files import atomic

log = logging.getLogger(__name__)
VERSION = b"near-duplicates 2"  # part of the name: change it whenever the same images would give other groups
MOMENT = 1.0  # seconds; groups that are found faster are not kept
DIGEST = hashlib.sha256().digest_size


def cached_groups(folder: Path | None, hashes: np.ndarray, build: Callable[[], np.ndarray]) -> np.ndarray:
    """The groups that ``build`` returns: loaded if they are kept and intact, else built, and kept if that took long.

    Args:
        folder: of the kept groups; None: nothing is kept.
        hashes: int64 (N,), which identify the images.
        build: returns int64 (N,), the index of the first image of each image's group.
    """
    if folder is None:
        return build()
    name = hashlib.sha256(VERSION + hashes.astype("<i8").tobytes()).hexdigest()
    path = folder / f"{name[:32]}.groups"
    kept = _load(path, len(hashes))
    if kept is not None:
        return kept
    started = time.monotonic()
    groups = build()
    if time.monotonic() - started > MOMENT:
        _store(path, groups)
    return groups


def _load(path: Path, count: int) -> np.ndarray | None:
    """The groups in a file; None if it is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, values = content[:DIGEST], content[DIGEST:]
    if digest != hashlib.sha256(values).digest() or len(values) != 8 * count:
        log.warning("%s: damaged cache; comparing the images again", path)
        return None
    return np.frombuffer(values, dtype="<i8").astype(np.int64)


def _store(path: Path, groups: np.ndarray) -> None:
    values = groups.astype("<i8").tobytes()
    try:
        with atomic(path) as part:
            part.write_bytes(hashlib.sha256(values).digest() + values)
    except UserError as error:
        log.warning("groups of near-duplicates not cached: %s", error)
