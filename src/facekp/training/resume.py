"""What a resumed run continues from: the checkpoint, once it and the data are known to be those of the run.

A run's folder, its rows and digests of its data come in; the path of a checkpoint goes out, or one line that says what
has changed, is damaged or missing, and how to continue. Nothing is written here.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from facekp.config.migration import migrate
from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.data.digests import DIGEST_SIZE, table_digests
from facekp.data.table import FaceTable
from facekp.functional.finite import first_not_finite
from facekp.models.checkpoint import KEY, RESUMED_STATE, read_tensors
from facekp.models.packaged import file_of
from facekp.models.packing import PATH_KEYS
from facekp.runs.folder import RunFolder
from facekp.runs.resume_arguments import CHANGEABLE, RESUME
from facekp.training.callbacks.checkpoints import BestAndLastCheckpoints
from facekp.training.settings import TrainSettings

log = logging.getLogger(__name__)
# Keys of a checkpoint that can be resumed
NEEDED = ("epoch", "optimizer_states", "pytorch-lightning_version", "callbacks")
CHANGED = {  # what a digest is of
    "images": "the images of the data",
    "labels": "the labels of the data",
    "init_from": "the weights of init_from=",
    "teacher": "the teacher's checkpoints",
}
OBSERVERS = ("callbacks", "logger", "plugins", "debug")  # groups of config.yaml that do not change what is learnt
OF_RESUMED = ("images", "labels", "teacher")  # what a resumed run reads again


def data_digests(table: FaceTable, settings: TrainSettings) -> dict[str, str]:
    """Digests of all that a training reads, for data.yaml: a change that config.yaml does not show changes one.

    Args:
        table: all rows of the data.
        settings: of the training; they name the checkpoints that it reads.

    Returns:
        `table_digests`, and such digests of ``init_from`` and ``teacher`` where they are set and exist. What loads a
        file names it if it is missing.
    """
    teacher = settings.teacher.ckpt
    files = {
        "init_from": [] if settings.init_from is None else [settings.init_from],
        "teacher": [] if teacher is None else [teacher] if isinstance(teacher, str) else teacher,
    }
    there = {key: [file_of(path) for path in paths if file_of(path).is_file()] for key, paths in files.items()}
    return table_digests(table) | {key: _digest_of_files(paths) for key, paths in there.items() if paths}


def _digest_of_files(paths: list[Path]) -> str:
    total = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "blake2b").digest())
    return str(total.hexdigest())


def changed_data(before: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """What differs between two results of `data_digests`, in words; what only one of them has is passed over.

    Example:
        >>> changed_data({"images": "a", "labels": "b"}, {"images": "a", "labels": "c"})
        ['the labels of the data']
    """
    return [words for key, words in CHANGED.items() if key in before and key in now and before[key] != now[key]]


def checkpoint_to_resume(
    run: RunFolder, split: pd.DataFrame, digests: Mapping[str, str], max_epochs: int
) -> Path | None:
    """The checkpoint to resume from; None where the run was killed before its first epoch ended.

    Args:
        run: the folder.
        split: of the data now, as in split.csv.
        digests: of the data now (`data_digests`).
        max_epochs: of the resumed training.

    Raises:
        UserError: the data have changed since the run began, the checkpoint is damaged or missing, or it has completed
            more epochs than ``max_epochs``. Lightning would notice that after config.yaml has changed, if at all.
    """
    try:
        _check_data(run, split, {key: digests[key] for key in OF_RESUMED if key in digests})
        if not run.last_checkpoint.is_file():
            return _without_last(run, max_epochs)
        last = _read_state(run, run.last_checkpoint)
        _check_best(run, last)
        _check_max_epochs(_epochs(last), max_epochs)
        return run.last_checkpoint
    except UserError as error:
        raise UserError(f"resume={run}: {error}") from error


def _check_max_epochs(completed: int, max_epochs: int) -> None:
    """Refuse to resume a run with fewer epochs than it has completed.

    Raises:
        UserError: the resumed training would be shorter than the run is already.
    """
    if max_epochs < completed:
        raise UserError(
            f"trainer.max_epochs={max_epochs}: the run has completed {count(completed, 'epoch')}; give at least "
            f"{completed}"
        )


def _check_data(run: RunFolder, split: pd.DataFrame, digests: Mapping[str, str]) -> None:
    """Refuse to resume a run with other data.

    Raises:
        UserError: the data have changed since the run began.
    """
    if not run.read_split().equals(split.astype({"set": str})):
        raise UserError(f"the rows of the data differ from those in {run.split}; start a new run")
    if changed := changed_data(run.read_data(), digests):
        what = " and ".join(changed)  # a corrected label may also move the image that is cut out of its photo
        raise UserError(f"{what} have changed since the run began; put them back, or start a new run")


def _read_state(run: RunFolder, path: Path) -> dict[str, Any]:
    """The content of a checkpoint that can be resumed.

    Raises:
        UserError: it is damaged, not finite, no training wrote it, or one of other settings.
    """
    raw = _read(run, path)
    missing = set(NEEDED) - set(raw)
    if missing:
        raise UserError(f"{path} lacks {sorted(missing)[0]}; the run did not write this file; {_way_on(run)}")
    name = first_not_finite({part: raw.get(part) for part in RESUMED_STATE})
    if name is not None:
        raise UserError(f"{path}: {name} is not finite, the training diverged; start a new run with a lower lr=")
    _check_settings(run, path, raw)
    return raw


def _read(run: RunFolder, path: Path) -> dict[str, Any]:
    """The content of a checkpoint; errors as `facekp.models.checkpoint.read_tensors`."""
    try:
        return read_tensors(path)
    except UserError as error:
        raise UserError(f"{error}; {_way_on(run)}") from error


def _epochs(state: Mapping[str, Any]) -> int:
    """The number of epochs that a checkpoint has completed."""
    return int(state["epoch"]) + 1


def _check_settings(run: RunFolder, path: Path, raw: Mapping[str, Any]) -> None:
    """Check that a checkpoint was written with the settings of config.yaml.

    Raises:
        UserError: a setting differs, so one of the two files is of another run.
    """
    entry = raw.get(KEY)
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        return  # of an older version
    stored, here = _trained_settings(migrate(entry["config"])), _trained_settings(run.read_config())
    for key in stored.keys() & here.keys():
        if stored[key] != here[key]:
            raise UserError(
                f"{path} was written with {key}={stored[key]}, but {run.config} has {key}={here[key]}: one of them is "
                f"of another run; put the run's own file back, or {_way_on(run)}"
            )


def _trained_settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Numbers and texts by dotted key, without paths, references, observers, and what may change in a resumed run.

    Lists and null are left out: config.yaml of a resumed run may have them in another form than an older checkpoint.
    """
    values: dict[str, Any] = {}
    for name, value in config.items():
        key = f"{prefix}{name}"
        may_differ = key.split(".")[0] in OBSERVERS or key in CHANGEABLE[RESUME] or name in PATH_KEYS
        if isinstance(value, dict):
            values |= _trained_settings(value, f"{key}.")
        elif isinstance(value, (bool, int, float, str)) and not may_differ and "${" not in str(value):
            values[key] = value
    return values


def _check_best(run: RunFolder, last: Mapping[str, Any]) -> None:
    """Check best.ckpt of a run that continues from last.ckpt.

    Raises:
        UserError: it is damaged or of another run; or it is missing, though an epoch saved it.
    """
    best = run.best_checkpoint
    if best.is_file():
        _check_settings(run, best, _read(run, best))
    elif math.isfinite(last["callbacks"].get(BestAndLastCheckpoints.STATE, {}).get("best", math.inf)):
        raise UserError(
            f"{best} is missing; put it back, or start a new run with out=DIR init_from={run.last_checkpoint}"
        )


def _without_last(run: RunFolder, max_epochs: int) -> Path | None:
    """What to resume from without last.ckpt.

    A run that was killed before it was saved (``callbacks.save_every``) has best.ckpt at most, which holds the same.

    Raises:
        UserError: last.ckpt has been deleted, so that training again would overwrite results; or best.ckpt can't be
            resumed.
    """
    best = run.best_checkpoint
    in_best = _epochs(_read_state(run, best)) if best.is_file() else 0
    epochs = max(run.completed_epochs(), in_best)
    unsaved = epochs <= 1 or epochs <= run.read_config().get("callbacks", {}).get("save_every", 1)
    if not unsaved or run.is_finished():
        raise UserError(f"{run.last_checkpoint} is missing; put it back, or {_way_on(run)}")
    if not best.is_file():
        return None
    _check_max_epochs(in_best, max_epochs)
    log.warning("%s is missing; the run continues from %s", run.last_checkpoint, best)
    return best


def _way_on(run: RunFolder) -> str:
    """What to do without a checkpoint to resume from."""
    best = f" init_from={run.best_checkpoint}" if run.best_checkpoint.is_file() else ""
    return f"start a new run with out=DIR{best}"
