"""Atomic writing: after a crash a file holds its old or its new content, never a part of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import yaml

from facekp.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has libyaml


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write to a temporary file that replaces ``path`` when the block ends, or is deleted if the block raises.

    Args:
        path: the file to write. Missing folders are created.

    Yields:
        path of the temporary file, in the same folder.

    Raises:
        UserError: the file cannot be written, for example because the disk is full or the folder is read-only.
    """
    part = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); choose another path") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; errors as `atomic`."""
    with atomic(path) as draft:
        draft.write_text(text)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file atomically; errors as `atomic`."""
    write_text(path, json.dumps(values, indent=1) + "\n")


def write_yaml(path: Path, values: Any) -> None:
    """Write plain values as a YAML file atomically, keys in their given order; errors as `atomic`."""
    write_text(path, yaml.safe_dump(values, sort_keys=False))


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as a CSV file atomically, without its index; errors as `atomic`."""
    write_text(path, frame.to_csv(index=False))
