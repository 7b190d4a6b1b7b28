"""Runs one after another, each as a command of its own, so that a sequence can be killed and started again."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from facekp.config.arguments import key_of
from facekp.runs.child_command import shell_code, wait_for_command
from facekp.runs.folder import RunFolder, config_dir_options
from facekp.runs.resume_arguments import DATA_PATHS, is_repeated, moved_keys

log = logging.getLogger(__name__)
NOT_SHOWN = ("--config-dir", "seed", "out", *DATA_PATHS)  # arguments that do not say what is compared


def run_unless_finished(command: str, overrides: Sequence[str], folder: RunFolder) -> None:
    """Run a command unless its folder holds a finished run; a training that was stopped is resumed.

    The command gets the ``--config-dir`` of this one.

    Args:
        command: ``train`` or ``evaluate``.
        overrides: of a new run, ``out=`` among them.
        folder: where the run is written.

    Raises:
        SystemExit: the command failed; the exit code is the same.
        Stopped: a signal came; the command has ended, too.
    """
    if folder.is_finished():
        log.info("skipped: %s is already finished; remove the folder to run it again", folder)
        return
    arguments = resume_arguments(folder, overrides) if folder.has_begun() else list(overrides)
    if command == "evaluate" and folder.path.is_dir():
        arguments.append("overwrite=true")  # an evaluation that was killed has left files
    if HydraConfig.initialized():
        arguments = [*config_dir_options(HydraConfig.get()), *arguments]
    log.info("python -m facekp.%s %s", command, shlex.join(arguments))
    code = wait_for_command([sys.executable, "-m", f"facekp.{command}", *arguments])
    if code:
        sys.exit(shell_code(code))


def with_plugins(overrides: Sequence[str], plugins: Sequence[str]) -> list[str]:
    """The overrides of a command, with the plug-ins of this command unless they name some.

    Example:
        >>> with_plugins(["lr=1"], ["mine"]), with_plugins(["plugins=[theirs]"], ["mine"])
        (['plugins=[mine]', 'lr=1'], ['plugins=[theirs]'])
    """
    if not plugins or "plugins" in map(key_of, overrides):
        return list(overrides)
    return [f"plugins=[{','.join(plugins)}]", *overrides]


def shown_overrides(overrides: Sequence[str]) -> list[str]:
    """Those that say what is compared, without the seed and where files are."""
    return [override for override in overrides if key_of(override) not in NOT_SHOWN]


def warn_of_changed_overrides(folder: RunFolder, overrides: Sequence[str]) -> None:
    """Warn where a finished run was started with others than these; which weights it started from does not count."""
    if not folder.overrides.is_file():
        return
    before, now = (
        [text for text in shown_overrides(given) if key_of(text) != "init_from"]
        for given in (folder.read_overrides(), overrides)
    )
    if before != now:
        log.warning(
            "%s: was run with %s; the settings are now %s. The old result is shown; remove the folder to run it again",
            folder,
            " ".join(before),
            " ".join(now),
        )


def replaced_checkpoints(folder: RunFolder, trainings: Sequence[RunFolder]) -> list[Path]:
    """The best checkpoints that were trained again after a run had read them.

    overrides.yaml has the time: a training writes it when it starts, an evaluation when it has scored.

    Args:
        folder: of the finished run.
        trainings: whose best checkpoints it read.
    """
    files = [training.best_checkpoint for training in trainings if training.best_checkpoint.is_file()]
    if not folder.overrides.is_file():
        return []
    began = folder.overrides.stat().st_mtime_ns
    return [file for file in files if file.stat().st_mtime_ns > began]


def resume_arguments(folder: RunFolder, overrides: Sequence[str]) -> list[str]:
    """Arguments of a training that continues a stopped one.

    Paths and settings of the machine are given again if they have changed; and what names code, as no file may do so.

    Args:
        folder: of the stopped training.
        overrides: of the command that would start it.
    """
    moved = moved_keys(folder, overrides)
    again = [text for text in overrides if is_repeated(key_of(text)) or key_of(text) in moved]
    return [*again, f"resume={folder}"]
