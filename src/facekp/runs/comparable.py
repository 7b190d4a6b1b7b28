"""Finds the last run that was trained and scored on the same data as a given run."""

from __future__ import annotations

import filecmp
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facekp.core.errors import UserError
from facekp.data.digests import are_of_same_data
from facekp.functional.metrics import MAIN
from facekp.runs.folder import RunFolder

DATE = re.compile(r"\d{4}-\d\d-\d\d")  # a folder that holds the runs of a day
# Settings of data that change neither the held-out faces nor their labels.
TRAINING_ONLY = ("offsets", "batch_size", "chunk_rows", "device_bytes", "cache", "download", "skip_broken")


def last_comparable_run(run: RunFolder) -> RunFolder | None:
    """The newest other finished run beside a run, with the same rows, labels, images, split and settings of the data.

    Folders beside the run's, and the folders in them, are searched. If the folder around the run is named by a date,
    the folders beside that one are searched instead.

    Args:
        run: a finished run.
    """
    data = _data_of(run)
    others = [other for other in _neighbours(run) if other.path.resolve() != run.path.resolve()]
    others.sort(key=_written, reverse=True)
    return next((other for other in others if _is_comparable(other, run, data)), None)


def _written(run: RunFolder) -> float:
    """The time at which metrics.json was written; 0 if another process has deleted it."""
    try:
        return run.metrics.stat().st_mtime
    except OSError:
        return 0.0


def _neighbours(run: RunFolder) -> Iterator[RunFolder]:
    root = run.path.absolute().parent
    root = root.parent if DATE.fullmatch(root.name) else root
    for pattern in ("*", "*/*"):
        for path in root.glob(f"{pattern}/{run.metrics.name}"):
            yield RunFolder(_as_given(path.parent, run.path))


def _as_given(path: Path, like: Path) -> Path:
    """A path relative to the working directory where the other one is, too."""
    here = Path.cwd()
    return path.relative_to(here) if not like.is_absolute() and path.is_relative_to(here) else path


def _is_comparable(other: RunFolder, run: RunFolder, data: dict[str, Any]) -> bool:
    try:
        same_split = other.split.is_file() and filecmp.cmp(other.split, run.split, shallow=False)
        if not same_split or _data_of(other) != data or not are_of_same_data(other.read_data(), run.read_data()):
            return False
        return other.is_finished() and not other.is_trial() and MAIN in other.read_metrics()
    except (UserError, OSError):
        return False  # a damaged run must not end this one


def _data_of(run: RunFolder) -> dict[str, Any]:
    config = run.read_config()
    data = {key: value for key, value in config["data"].items() if key not in TRAINING_ONLY}
    return {"data": data, "keypoints": config["keypoints"]}
