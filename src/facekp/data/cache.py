"""Keeps parsed tables: a file each, named by what it was parsed from; checked and memory-mapped when it is loaded.

Layout: 32 bytes of SHA-256 over all that follows, then ``points``, ``source``, ``row`` and ``images`` as .npy.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from facekp.data.table import FaceTable
from facekp.errors import UserError
from facekp.files import atomic
from facekp.keypoints import Keypoints

log = logging.getLogger(__name__)
DIGEST = hashlib.sha256().digest_size


def cached(folder: Path, key: list[Any], keypoints: Keypoints, build: Callable[[], FaceTable]) -> FaceTable:
    """The table that ``build`` makes, from the cache where it is there and whole, else built and put there.

    Args:
        folder: where cached tables live; made if missing. One that cannot be written costs a warning, no more.
        key: everything that decides the result (the file's hash, the parser's version); strings and numbers.
        keypoints: the table's scheme; part of the key.
        build: reads the table; called only where the cache has no answer.
    """
    name = hashlib.sha256(json.dumps([key, keypoints.to_dict()]).encode()).hexdigest()
    path = folder / f"{name[:32]}.faces"
    table = _load(path, keypoints)
    if table is None:
        table = build()
        _store(path, table)
    return table


def _store(path: Path, table: FaceTable) -> None:
    try:
        with atomic(path) as part, part.open("w+b") as stream:
            stream.write(bytes(DIGEST))
            for array in (table.points, table.source, table.row, table.images):
                np.save(stream, array, allow_pickle=False)
            digest = _digest(stream)
            stream.seek(0)
            stream.write(digest)
    except UserError as error:
        log.warning("no cache kept: %s", error)


def _load(path: Path, keypoints: Keypoints) -> FaceTable | None:
    """The table in ``path``, images memory-mapped and read-only; None if there is none or it is damaged."""
    try:
        with path.open("rb") as stream:
            if stream.read(DIGEST) != _digest(stream):
                raise ValueError("checksum differs")
            stream.seek(DIGEST)
            points, source, row = (np.load(stream, allow_pickle=False) for _ in range(3))
            return _checked(FaceTable(keypoints, _mapped(stream), points, source, row))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        log.warning("%s: damaged cache (%s); reading the CSV again", path, error)
        return None


def _digest(stream: IO[bytes]) -> bytes:
    """SHA-256 of all that follows the digest itself."""
    stream.seek(DIGEST)
    return hashlib.file_digest(stream, "sha256").digest()  # type: ignore[arg-type]


def _mapped(stream: IO[bytes]) -> np.ndarray:
    """The .npy array that starts here, mapped instead of read."""
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return np.memmap(stream, dtype, mode="r", offset=stream.tell(), shape=shape)


def _checked(table: FaceTable) -> FaceTable:
    n, k = len(table.images), len(table.keypoints.names)
    found = [(a.shape, a.dtype.name) for a in (table.points, table.source, table.row)]
    wanted = [((n, k, 2), "float32"), ((n,), "int8"), ((n,), "int64")]
    if found != wanted or table.images.ndim != 3 or table.images.dtype != np.uint8:
        raise ValueError(f"arrays are {found}, not {wanted}")
    return table
