"""Atomic writing: after a crash a file holds its old or its new content, never a part of it.

This holds for a process that is killed, and for a machine that loses its power: the content reaches the disk before the
file gets its name, and the name before `atomic` returns.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from uuid import uuid4

import yaml

from facekp.core.csv_cells import neutral_frame
from facekp.core.errors import CannotWrite

if TYPE_CHECKING:
    import pandas as pd

YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has libyaml

PART = re.compile(r"\..+\.[0-9a-f]{12}\.part(\.mp4)?")  # name of a file that is being written
MAX_NAME_BYTES = 200  # bytes of the file's name in it; a name may have 255 in all

HINTS = {  # by the number of the error
    errno.ENOSPC: "make room on the disk, or choose another path",
    errno.EDQUOT: "make room in your quota, or choose another path",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
}
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # of file systems that can't flush a folder


@contextmanager
def atomic(path: Path, within: Path | None = None, durable: bool = True) -> Iterator[Path]:
    """Write to a temporary file that replaces ``path`` when the block ends, or is deleted if the block raises.

    Args:
        path: the file to write. Missing folders are created, and removed again if the block raises.
        within: a folder that must exist; only a folder in it is created. None: all are.
        durable: wait until the file is on the disk. False for many small files that can be made again.

    Yields:
        path of the temporary file, in the same folder.

    Raises:
        CannotWrite: the file cannot be written, for example because the disk is full or the folder is read-only.
    """
    part = part_of(path)
    try:
        with _folder(path.parent, within):
            try:
                yield part
                if durable:
                    _flush(part)
                os.replace(part, path)
                if durable:
                    _flush(path.parent)
            finally:
                with suppress(OSError):
                    part.unlink()
    except OSError as error:
        if within is not None and (error.errno == errno.ENOENT or not within.is_dir()):  # a copy may be there by now
            raise CannotWrite(f"{path}: cannot be written, as {within} was removed or renamed meanwhile") from error
        raise cannot_write(path, error) from error


def missing_folders(folder: Path) -> list[Path]:
    """The folder and its parents that do not exist, innermost first; empty if the folder exists."""
    return list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))


@contextmanager
def _folder(folder: Path, within: Path | None) -> Iterator[None]:
    """Make a folder, and remove what was made of it, as far as it is empty, if the block raises."""
    missing = missing_folders(folder) if folder != within else []
    try:
        if folder != within:
            folder.mkdir(parents=within is None, exist_ok=True)
        yield
    except BaseException:
        for made in missing:
            with suppress(OSError):
                made.rmdir()
        raise


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """One line for a file that the system refuses to write.

    Example:
        >>> str(cannot_write(Path("a.csv"), OSError(errno.ENOSPC, "No space left on device")))
        'a.csv: cannot be written (No space left on device); make room on the disk, or choose another path'
    """
    hint = HINTS.get(error.errno or 0, "choose another path")
    return CannotWrite(f"{path}: cannot be written ({error.strerror or error}); {hint}")


def remove_parts(folder: Path, older: float = 0.0) -> None:
    """Delete the temporary files that a killed process left in a folder.

    Args:
        folder: no other process may be writing to it, unless ``older`` is longer than any writing takes.
        older: seconds since a file was last written.
    """
    for path in folder.glob(".*.part*"):
        if PART.fullmatch(path.name):
            with suppress(OSError):
                if not older or time.time() - path.stat().st_mtime > older:
                    path.unlink()


def part_of(path: Path, ending: str = "") -> Path:
    """Where a file is written until it is complete: in the same folder, hidden, with ``ending`` last in its name."""
    shortened = os.fsencode(path.name)[:MAX_NAME_BYTES].decode(errors="ignore")
    return path.with_name(f".{shortened}.{uuid4().hex[:12]}.part{ending}")


def _flush(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, within: Path | None = None, durable: bool = True) -> None:
    """Write a text file in UTF-8; arguments and errors as `atomic`."""
    try:
        content = text.encode()
    except UnicodeEncodeError as error:  # of a file's name with other bytes
        found = error.object[max(error.start - 20, 0) : error.end + 20]
        raise CannotWrite(
            f"{path}: cannot be written in UTF-8, as it would hold {found!r}; rename that file"
        ) from error
    with atomic(path, within, durable) as draft:
        draft.write_bytes(content)


def write_json(path: Path, values: Any, within: Path | None = None, durable: bool = True) -> None:
    """Write a JSON file; NaN and infinity, which JSON does not have, become null. Arguments and errors as `atomic`."""
    write_text(path, json.dumps(json_value(values), indent=1, allow_nan=False) + "\n", within, durable)


def write_items(file: TextIO, items: Iterable[Any]) -> None:
    """Write the items of a JSON list, a line each, so that memory does not grow with their number."""
    for number, item in enumerate(items):
        file.write((",\n" if number else "\n") + json.dumps(item, allow_nan=False))


def json_value(value: Any) -> Any:
    """A value that JSON can hold: NaN and infinity become None.

    Example:
        >>> json_value({"a": [1.5, float("nan")], 2: "b"})
        {'a': [1.5, None], '2': 'b'}
    """
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_yaml(path: Path, values: Any) -> None:
    """Write plain values as a YAML file atomically, keys in their given order; errors as `atomic`."""
    write_text(path, yaml.safe_dump(values, sort_keys=False))


def write_csv(path: Path, frame: pd.DataFrame, within: Path | None = None) -> None:
    """Write a table as a CSV file without its index, texts as `neutral` cells; arguments and errors as `atomic`."""
    write_text(path, neutral_frame(frame).to_csv(index=False), within)


def write_tensors(path: Path, values: dict[str, Any], within: Path | None = None) -> None:
    """Write plain values and tensors as a file of torch; arguments and errors as `atomic`.

    The bytes are made in memory: where torch writes to a full disk itself, it hides the reason.
    """
    import torch  # imported here, as it takes seconds

    content = BytesIO()
    torch.save(values, content)
    with atomic(path, within) as draft:
        draft.write_bytes(content.getbuffer())
