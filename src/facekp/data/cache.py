"""Caches tables in files, named by a hash of their inputs; checked and memory-mapped when loaded.

Layout: 32 bytes of SHA-256 over the rest of the file, then as .npy ``points``, ``source``, ``row``, ``name``,
``photo_matrix``, ``photo_hash``, ``visible``, ``box`` (these five without rows where the table has none), the names of
the attributes (A,), their values (A, N), the warnings logged while the table was read (M,) and ``images``.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from facekp.core.console import recorded_warnings
from facekp.core.errors import UserError
from facekp.core.files import atomic, remove_parts
from facekp.core.keypoints import Keypoints
from facekp.data.table import FaceTable

log = logging.getLogger(__name__)
LAYOUT = 5  # part of every key

ABANDONED = 86400.0  # seconds without a write, after which an unfinished file belongs to no process
DIGEST = hashlib.sha256().digest_size


def cached(folder: Path, key: list[Any], keypoints: Keypoints, build: Callable[[], FaceTable]) -> FaceTable:
    """The table that ``build`` returns: loaded from the cache if it is there and intact, else built and stored.

    The stored table is returned, so images are memory-mapped from the cache's file. What was warned of when it was read
    is warned of again.

    Args:
        folder: of the cached tables; created if missing. If it can't be written, a warning says so.
        key: everything that determines the result, such as the file's hash and the parser's version; strings and
            numbers.
        keypoints: the table's scheme; part of the key.
        build: reads the table; called only if the table is not cached.
    """
    name = hashlib.sha256(json.dumps([LAYOUT, key, keypoints.to_dict()]).encode()).hexdigest()
    path = folder / f"{name[:32]}.faces"
    table = _load(path, keypoints)
    if table is not None:
        return table
    with recorded_warnings(shown=True) as warnings:
        built = build()
    _store(path, built, warnings)
    table = _load(path, keypoints, show_warnings=False)
    return built if table is None else table


def _store(path: Path, table: FaceTable, warnings: Sequence[str]) -> None:
    given = (table.name, table.photo_matrix, table.photo_hash, table.visible, table.box)
    optional = [np.empty(0) if array is None else array for array in given]
    attributes = [np.array(list(table.attributes), str), np.array(list(table.attributes.values()), str)]
    texts = (*attributes, np.array(warnings, str))
    arrays = (table.points, table.source, table.row, *optional, *texts, np.asarray(table.images))
    try:
        remove_parts(path.parent, older=ABANDONED)
        with atomic(path) as part, part.open("w+b") as stream:
            stream.write(bytes(DIGEST))
            for array in arrays:
                np.save(stream, array, allow_pickle=False)
            digest = _digest(stream)
            stream.seek(0)
            stream.write(digest)
    except UserError as error:
        log.warning("table not cached: %s", error)


def _load(path: Path, keypoints: Keypoints, show_warnings: bool = True) -> FaceTable | None:
    """The table in ``path``, images memory-mapped and read-only; None if the file is missing or damaged."""
    try:
        with path.open("rb") as stream:
            if stream.read(DIGEST) != _digest(stream):
                raise ValueError("checksum differs")
            stream.seek(DIGEST)
            arrays = (np.load(stream, allow_pickle=False) for _ in range(11))
            points, source, row, *optional, names, values, warnings = arrays
            name, photo_matrix, photo_hash, visible, box = (array if len(array) else None for array in optional)
            attributes = dict(zip(names.tolist(), values, strict=True))
            faces = (keypoints, _mapped(stream), points, source, row, name, photo_matrix, photo_hash)
            table = _checked(FaceTable(*faces, attributes, visible, box))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        log.warning("%s: damaged cache (%s); reading the data again", path, error)
        return None
    for warning in warnings.tolist() if show_warnings else ():
        log.warning("%s", warning)
    return table


def _digest(stream: IO[bytes]) -> bytes:
    """SHA-256 of everything after the digest."""
    stream.seek(DIGEST)
    return hashlib.file_digest(stream, "sha256").digest()  # type: ignore[arg-type]


def _mapped(stream: IO[bytes]) -> np.ndarray:
    """The .npy array that starts at the stream's position, memory-mapped instead of read."""
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return np.memmap(stream, dtype, mode="r", offset=stream.tell(), shape=shape)


def _checked(table: FaceTable) -> FaceTable:
    """The table, if its parts fit each other.

    Raises:
        ValueError: an array has another shape or type.
    """
    n, k = len(table.images), len(table.keypoints.names)
    actual = [(a.shape, a.dtype.name) for a in (table.points, table.source, table.row)]
    expected = [((n, k, 2), "float32"), ((n,), "int8"), ((n,), "int64")]
    images, name, photo_matrix = np.asarray(table.images), table.name, table.photo_matrix
    if actual != expected or images.ndim not in (3, 4) or images.dtype != np.uint8:
        raise ValueError(f"arrays are {actual}, not {expected}")
    if name is not None and photo_matrix is not None and (name.shape, photo_matrix.shape) != ((n,), (n, 2, 3)):
        raise ValueError(f"photos are {name.shape} and {photo_matrix.shape}, not {(n,)} and {(n, 2, 3)}")
    for attribute, values in table.attributes.items():
        if values.shape != (n,) or values.dtype.kind != "U":
            raise ValueError(f"attribute {attribute!r} is {values.dtype} {values.shape}, not {n} texts")
    optional = {"photo_hash": ((n,), np.int64), "visible": ((n, k), np.uint8), "box": ((n, 4), np.float32)}
    for part, (shape, dtype) in optional.items():
        array = getattr(table, part)
        if array is not None and (array.shape != shape or array.dtype != dtype):
            raise ValueError(f"{part} is {array.dtype} {array.shape}, not {dtype.__name__} {shape}")
    return table
