"""Sweeps: `python -m facekp.train -m lr=1e-3,5e-4 …` trains a network per job; here is what Hydra lacks for it.

Jobs are named by the settings that differ, all of them end in one table, and a killed sweep can be resumed. This works
through a callback of Hydra, so any sweeper and any launcher may run the jobs. Every training imports this module, so it
imports nothing heavy.
"""

from __future__ import annotations

import atexit
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from facekp.config.arguments import key_of
from facekp.config.command import exit_with_error
from facekp.config.references import remember_references
from facekp.core.errors import UserError
from facekp.core.files import remove_parts
from facekp.core.outputs import exclusive, output_folder
from facekp.core.settings import NewPath, Settings, parse
from facekp.core.signals import stop_before_errors
from facekp.runs.folder import config_dir_options
from facekp.runs.resume_arguments import RUN_DIR, check_run_dir
from facekp.runs.searches.space import SEARCH
from facekp.runs.settings import parse_search
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.arguments import MAY_DIFFER, SWEEP_DIR, SWEEP_RESUME, sweeper_params
from facekp.runs.sweeps.checks import (
    check_command_line,
    check_numbers,
    check_ranges,
    check_storage,
    check_trial_names,
    check_values,
    subdir_of,
)
from facekp.runs.sweeps.finish import finish_sweep
from facekp.runs.sweeps.job_names import constant_keys, register_job_name

log = logging.getLogger(__name__)
SHARED_KEYS = "hydra.job.config.override_dirname.exclude_keys"  # Hydra's key for overrides that name no folder
MODE = "hydra.mode"
NOT_KEPT = ("debug", MODE, "hydra.sweep.dir")  # keys that change nothing about the jobs
JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
FAULT_TOLERANT_JOBLIB = "hydra_plugins.facekp_joblib.FaultTolerantJoblibLauncher"  # takes its place

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
RESUMING_SWEEPER = "hydra_plugins.facekp_resume.ResumingSweeper"  # takes its place in a sweep that is resumed
RESUMING = "hydra_plugins.facekp_resume.ResumingLauncher"  # around the launcher of a sweep that is resumed
NAMED_BY_SETTINGS = "${job_name:}"


class _SweepDir(Settings):
    dir: NewPath


class Sweep(Callback):
    """Hydra calls it before a run, and before the first and after the last job of a sweep.

    In between, the sweep holds its folder's lock.
    """

    def __init__(self) -> None:
        self._held = ExitStack()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # launchers send the callback to their workers; the lock stays here

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _errors_end_the_command():
            check_run_dir([f"{RUN_DIR}={config.hydra.run.dir}"])  # again, as a config file may set it

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        register_job_name()
        with _errors_end_the_command():
            self._held = begin_sweep(config)
        atexit.register(self._held.close)  # Hydra does not call the end of a sweep that is stopped

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from facekp.core.keypoints import Keypoints  # imported here, as it needs NumPy

        with _errors_end_the_command():
            scheme: Any = OmegaConf.to_container(config.keypoints, resolve=True)
            sources = Keypoints.from_dict(scheme).source_names
            by_option = MODE in map(key_of, _typed(config)["hydra"])  # Hydra adds it for -m
            options = [] if by_option else [f"{MODE}=RUN"]  # a config file sets the mode, for the best job, too
            successful = finish_sweep(SweepFolder(config.hydra.sweep.dir), sources, config.plugins, options)
        self._held.close()
        if not successful:
            sys.exit(1)


@contextmanager
def _errors_end_the_command() -> Iterator[None]:
    """Exit with 2 after a mistake and with 1 after another error. Hydra would print a warning and exit with 0."""
    try:
        with stop_before_errors():
            yield
    except UserError as error:
        exit_with_error(error)
    except Exception:  # also of a plug-in
        traceback.print_exc()
        sys.exit(1)


def _typed(config: DictConfig) -> dict[str, list[str]]:
    """The overrides of the command line, unresolved: one may refer to what only a job has."""
    typed: Any = OmegaConf.to_container(config.hydra.overrides, resolve=False)
    return typed


def begin_sweep(config: DictConfig) -> ExitStack:
    """Write sweep.yaml, and name the jobs by the settings that differ.

    Args:
        config: of the multirun with Hydra's part, where the keys that all jobs share are noted.

    Returns:
        what holds the folder's lock until it is closed, so that no other sweep uses the folder.

    Raises:
        UserError: the folder holds something else, another process writes to it, two jobs would get one name, or a
            setting is not valid.
    """
    remember_references(config)

    typed = _typed(config)
    task = [*sweeper_params(config), *typed["task"]]
    check_command_line(config, task)
    check_numbers(config)
    parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(task)
    check_values(parsed)
    shared = [*config.hydra.job.config.override_dirname.exclude_keys, *constant_keys(parsed)]
    search = parse_search(OmegaConf.to_container(config[SEARCH], resolve=True))
    check_storage(search)
    if config.hydra.sweeper._target_ == BASIC_SWEEPER:
        check_ranges(parsed)
    elif search is not None:
        check_trial_names(config)

    # the folder
    overrides = [text for text in (*typed["task"], *typed["hydra"]) if key_of(text) not in NOT_KEPT]
    arguments = [*config_dir_options(config.hydra), *overrides]
    named = any(key_of(text) == SWEEP_DIR for text in typed["hydra"])
    with ExitStack() as stack:
        folder = stack.enter_context(_claimed(str(config.hydra.sweep.dir), named, arguments))
        remove_parts(folder.path)
        folder.write_settings(arguments, search)
        held = stack.pop_all()
    _configure_hydra(config, folder, shared)
    return held


def _configure_hydra(config: DictConfig, folder: SweepFolder, shared: Sequence[str]) -> None:
    """Let Hydra write to the sweep's folder, and choose the launcher and the sweeper that it needs.

    Args:
        config: of the multirun; Hydra's part of it is changed.
        folder: of the sweep.
        shared: keys that all jobs share, which are not part of the jobs' names.
    """
    with read_write(config):
        hydra = config.hydra
        hydra.sweep.dir = str(folder)
        hydra.overrides.hydra += [f"{SWEEP_DIR}={folder}", f"{SHARED_KEYS}=[{','.join(shared)}]"]
        if hydra.launcher._target_ == JOBLIB:
            hydra.launcher._target_ = FAULT_TOLERANT_JOBLIB
        if folder.jobs() and subdir_of(config) == NAMED_BY_SETTINGS:
            hydra.launcher = {
                "_target_": RESUMING,
                "_recursive_": False,
                "chosen": hydra.launcher,
                "shared": list(shared),
            }
            if hydra.sweeper._target_ == BASIC_SWEEPER:
                hydra.sweeper._target_ = RESUMING_SWEEPER


@contextmanager
def _claimed(path: str, named: bool, arguments: Sequence[str]) -> Iterator[SweepFolder]:
    """The sweep's folder: new or empty, or that of the same sweep, which is continued.

    Args:
        path: folder that the user or the config names.
        named: whether the user named it; else a suffix makes it new.
        arguments: arguments of the command that starts the sweep.

    Raises:
        UserError: the folder holds something else, or its path would have to be quoted in ``ckpt=`` and ``resume=``.
    """
    folder = SweepFolder(str(parse(_SweepDir, {"dir": path}, "hydra.sweep").dir))
    if named and folder.settings.is_file():
        with exclusive(folder.path, SWEEP_DIR):
            if folder.jobs() and _fixed(folder.read_overrides()) != _fixed(arguments):
                raise UserError(
                    f"{SWEEP_DIR}={folder}: holds another sweep; choose another folder, or resume it with "
                    f"{SWEEP_RESUME}{folder}"
                )
            yield folder
        return
    with output_folder(str(folder) if named else None, str(folder), key=SWEEP_DIR) as claimed:
        yield SweepFolder(claimed)


def _fixed(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if key_of(override) not in MAY_DIFFER]
