"""What a resumed run continues from: the checkpoint, once it and the data are known to be those of the run.

A run's folder, its rows and digests of its data come in; the path of a checkpoint goes out, or one line that says what
has changed, is damaged or missing, and how to continue. Nothing is written here.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.data.digests import DIGEST_SIZE, table_digests
from facekp.data.table import FaceTable
from facekp.functional.finite import first_not_finite
from facekp.models.checkpoint import RESTORED, read_tensors
from facekp.models.packaged import file_of
from facekp.runs.folder import RunFolder
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
OF_RESUMED = ("images", "labels", "teacher")  # what a resumed run reads again


def data_digests(table: FaceTable, settings: TrainSettings) -> dict[str, str]:
    """Digests of all that a training reads, for data.yaml: a change that config.yaml does not show changes one.

    Args:
        table: of the data.
        settings: of the training.

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


def checkpoint_to_resume(run: RunFolder, split: pd.DataFrame, digests: Mapping[str, str]) -> Path | None:
    """The checkpoint to resume from; None where the run was killed before its first epoch ended.

    Args:
        run: the folder.
        split: of the data now.
        digests: of the data now (`data_digests`).

    Raises:
        UserError: the data have changed since the run began, or the checkpoint is damaged or missing.
    """
    try:
        _check_data(run, split, {key: digests[key] for key in OF_RESUMED if key in digests})
        if run.last_checkpoint.is_file():
            _check_state(run, run.last_checkpoint)
            return run.last_checkpoint
        return _without_last(run)
    except UserError as error:
        raise UserError(f"resume={run}: {error}") from error


def check_max_epochs(run: RunFolder, checkpoint: Path, max_epochs: int) -> None:
    """Refuse to make a run shorter than it is; Lightning notices after config.yaml has changed, if at all.

    Args:
        run: the folder.
        checkpoint: that the run is resumed from.
        max_epochs: of the resumed training.

    Raises:
        UserError: the checkpoint has completed more epochs.
    """
    completed = int(read_tensors(checkpoint)["epoch"]) + 1
    if max_epochs < completed:
        raise UserError(
            f"resume={run}: trainer.max_epochs={max_epochs}: the run has completed {count(completed, 'epoch')}; give "
            f"at least {completed}"
        )


def _check_data(run: RunFolder, split: pd.DataFrame, digests: Mapping[str, str]) -> None:
    """
    Raises:
        UserError: the data have changed since the run began.
    """
    if not run.read_split().equals(split.astype({"set": str})):
        raise UserError(f"the rows of the data differ from those in {run.split}; start a new run")
    if changed := changed_data(run.read_data(), digests):
        raise UserError(f"{changed[0]} have changed since the run began; put them back, or start a new run")


def _check_state(run: RunFolder, path: Path) -> None:
    """
    Raises:
        UserError: a checkpoint is damaged, not finite, or no training wrote it.
    """
    try:
        raw = read_tensors(path)
    except UserError as error:
        raise UserError(f"{error}; {_way_on(run)}") from error
    missing = set(NEEDED) - set(raw)
    if missing:
        raise UserError(f"{path} lacks {sorted(missing)[0]}; the run did not write this file; {_way_on(run)}")
    name = first_not_finite({part: raw.get(part) for part in RESTORED})
    if name is not None:
        raise UserError(f"{path}: {name} is not finite, the training diverged; start a new run with a lower lr=")


def _without_last(run: RunFolder) -> Path | None:
    """What to resume from without last.ckpt.

    A run that was killed before it was saved (``callbacks.save_every``) has best.ckpt at most, which holds the same.

    Raises:
        UserError: last.ckpt has been deleted; training again would overwrite results.
    """
    best = run.best_checkpoint
    epochs = run.completed_epochs()
    if best.is_file():
        _check_state(run, best)
        epochs = max(epochs, int(read_tensors(best).get("epoch", 0)) + 1)
    unsaved = epochs <= 1 or epochs <= run.read_config().get("callbacks", {}).get("save_every", 1)
    if not unsaved or run.is_finished():
        raise UserError(f"{run.last_checkpoint} is missing; put it back, or {_way_on(run)}")
    if not best.is_file():
        return None
    log.warning("%s is missing; the run continues from %s", run.last_checkpoint, best)
    return best


def _way_on(run: RunFolder) -> str:
    """What to do without a checkpoint to resume from."""
    best = f" init_from={run.best_checkpoint}" if run.best_checkpoint.is_file() else ""
    return f"start a new run with out=DIR{best}"
