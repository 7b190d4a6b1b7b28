"""Which run or checkpoint a setting names: a file, the folder of a run, or ``last`` for the newest run in outputs/.

Where several checkpoints may be named, the folder of a sweep stands for all of its finished runs.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from facekp.config.arguments import key_of
from facekp.core.errors import UserError
from facekp.core.settings import PathKind, Settings, did_you_mean, path_fields, replace_paths
from facekp.models.packaged import PACKAGED, file_of
from facekp.runs.folder import RunFolder, find_runs
from facekp.runs.sweep_folder import SweepFolder

log = logging.getLogger(__name__)
S = TypeVar("S", bound=Settings)
LAST = "last"
ROOT = Path("outputs")  # where runs are looked for
LAST_OF_TRAINING = ("init_from", "teacher.ckpt")  # keys of a training that may be last
LAST_AS_VALUE = re.compile(rf"(?<=[=,\[ '\"(]){LAST}(?=$|[,\] '\")])")


def with_newest_run(arguments: Sequence[str]) -> list[str]:
    """The arguments of a training with the newest run's folder in place of ``init_from=last`` and the like.

    So all jobs of a sweep and all processes of a training take the same run. Later, one of them would be the newest.
    With ``resume=auto`` the command stays as it is, as it must equal that which began the run.

    Raises:
        UserError: there is no run in outputs/.
    """
    if "resume=auto" in arguments:
        return list(arguments)
    return [
        LAST_AS_VALUE.sub(lambda _: str(newest_run()), text) if key_of(text) in LAST_OF_TRAINING else text
        for text in arguments
    ]


def with_checkpoint_files(settings: S) -> S:
    """The settings with the file of every checkpoint in place of a run's folder or ``last``.

    Raises:
        UserError: a folder holds no checkpoint, or there is no run.
    """
    settings = replace_paths(settings, checkpoint_files, [PathKind.CHECKPOINTS])
    return replace_paths(settings, checkpoint_file, [PathKind.CHECKPOINT])


def check_checkpoints_exist(settings: Settings) -> None:
    """Refuse checkpoints that do not exist, before anything else is read.

    Raises:
        UserError: names the setting, and the word of a packaged checkpoint that was probably meant.
    """
    for key, kind in path_fields(settings).items():
        if kind not in (PathKind.CHECKPOINT, PathKind.CHECKPOINTS):
            continue
        value = attrgetter(key)(settings)
        for path in value if isinstance(value, list) else [] if value is None else [value]:
            if not file_of(path).exists():
                raise UserError(f"{key}={path}: does not exist{did_you_mean(path, (*PACKAGED, LAST))}")


def checkpoint_files(name: str) -> str | list[str]:
    """The best checkpoints of all finished runs of the sweep that ``name`` names; else as `checkpoint_file`.

    Raises:
        UserError: the folder holds no best checkpoint, or there is no run in outputs/.
    """
    sweep = SweepFolder(Path(name))
    if not sweep.settings.is_file():
        return checkpoint_file(name)
    files = [str(run.best_checkpoint) for run in find_runs(sweep.path) if _is_complete(run)]
    if not files:
        raise UserError(f"{name}: the sweep has no finished run; resume it with sweep.resume={name}")
    log.info("%s: takes the best checkpoints of its %d finished runs", name, len(files))
    return files


def _is_complete(run: RunFolder) -> bool:
    """Whether a run was trained to its end, and not pruned by a search; of a damaged one a warning."""
    try:
        return run.is_finished() and run.known_status().status != "pruned"
    except UserError as error:
        log.warning("skipped: %s", error)
        return False


def checkpoint_file(name: str) -> str:
    """The best checkpoint of the run that ``name`` names; any other name as it is.

    Raises:
        UserError: the folder holds no best checkpoint, or there is no run in outputs/.
    """
    if name != LAST and not Path(name).is_dir():
        return name
    folder = newest_run() if name == LAST else RunFolder(name)
    if not folder.best_checkpoint.is_file():
        jobs = sorted(run.path for run in find_runs(folder.path) if run.best_checkpoint.is_file())
        hint = (
            f"name one of its runs, such as {jobs[0]}" if jobs else "name the folder of a trained run, or a .ckpt file"
        )
        raise UserError(f"{name}: the folder {folder} has no {folder.best_checkpoint.relative_to(folder.path)}; {hint}")
    log.info("%s: using the run's best checkpoint, %s", name, folder.best_checkpoint)
    return str(folder.best_checkpoint)


def run_folder(name: str) -> RunFolder:
    """The run that ``resume=`` names: its folder, a file in its checkpoints/, or ``last``.

    Raises:
        UserError: there is no run in outputs/.
    """
    if name == LAST:
        folder = newest_run()
        log.info("resume=last: %s", folder)
        return folder
    path = Path(name)
    holder = RunFolder(path.parent.parent)
    return holder if path.is_file() and path.parent == holder.checkpoints else RunFolder(path)


def newest_run(root: Path = ROOT) -> RunFolder:
    """The run in a folder or below it that was written to last, by its checkpoints.

    Damaged runs and trials (`RunFolder.is_trial`) are skipped.

    Raises:
        UserError: there is none.
    """
    runs = {folder: time for folder in find_runs(root) if (time := _written(folder)) is not None}
    for folder in sorted(runs, key=runs.__getitem__, reverse=True):
        try:
            if not folder.is_trial():
                return folder
        except UserError as error:
            log.warning("skipped: %s", error)
    raise UserError(f"last: there is no run in {root}/; train one, or name its folder")


def _written(folder: RunFolder) -> float | None:
    """When the run was written to, in seconds; None if it is not a training that has begun."""
    try:
        files = (folder.config, folder.best_checkpoint, folder.last_checkpoint)
        return max(file.stat().st_mtime for file in files if file.is_file()) if folder.has_begun() else None
    except (OSError, ValueError):  # removed meanwhile, or not readable
        return None
