"""What ``facekp.train`` does with its arguments: a new run, a resumed run, or a job of a sweep."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from facekp.config.arguments import key_of
from facekp.config.command import plain_values
from facekp.config.references import (
    command_line_overrides,
    remember_references,
    resolve_stored_references,
    restore_references,
)
from facekp.config.trust import check_stored_targets
from facekp.core.errors import UserError
from facekp.core.outputs import exclusive, output_folder
from facekp.core.registry import REGISTRIES
from facekp.core.settings import Settings, parse, replace_paths
from facekp.models.checkpoint import load_checkpoint
from facekp.models.packaged import PACKAGED
from facekp.runs.folder import RunFolder
from facekp.runs.lookup import check_checkpoints_exist, run_folder, with_checkpoint_files
from facekp.runs.resume_arguments import (
    AUTO,
    NOT_SETTINGS,
    RERUN,
    RESUME,
    changed_settings,
    first_difference,
    may_change,
    moved_keys,
    with_changes,
)
from facekp.runs.searches.pruning import pruning_callback
from facekp.runs.settings import parse_search
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.job import Pruned, run_job, train_in_new_process
from facekp.training.rerun import restore_environment
from facekp.training.settings import TrainSettings
from facekp.training.setup import train

log = logging.getLogger(__name__)
DEFAULT_FOLDER = "outputs/%Y-%m-%d/%H-%M-%S"


class _Overwrite(Settings):
    overwrite: bool


def run(cfg: DictConfig) -> dict[str, Any] | None:
    """Train what Hydra composed.

    Returns:
        the metrics of the run; None if it is a job of a sweep that failed or was pruned.

    Raises:
        UserError: the data or a setting is not valid.
    """
    torch.set_float32_matmul_precision("high")
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        subdir = str(HydraConfig.get().sweep.subdir)
        if "/" in subdir:
            raise UserError(f"hydra.sweep.subdir={subdir}: must be the name of one folder, without /")
        folder = _below_working_directory(Path(HydraConfig.get().runtime.output_dir))
        return run_job(RunFolder(folder), cfg, lambda resume: _train_job(cfg, folder, resume))
    # ".", or in the process of a distributed job (`train_in_new_process`) its folder, which the sweep has locked.
    run_dir = HydraConfig.get().run.dir
    locked = run_dir != "."
    if cfg.resume == AUTO:
        if (begun := _begun(cfg)) is not None:
            return _continue(begun, cfg, locked)
        cfg = cfg.copy()
        cfg.resume = None
    if cfg.resume is not None:
        return _resume(run_folder(str(Path(str(cfg.resume)).expanduser())), cfg, _overrides(), locked)
    repeats = None if cfg.rerun is None else run_folder(str(Path(str(cfg.rerun)).expanduser()))
    settings = read_train_settings(cfg) if repeats is None else repeated(repeats, cfg, _overrides())
    if run_dir != ".":
        return _train_new(settings, Path(run_dir))
    if settings.trainer.is_child_process:  # the first process has given out= to this one, unless a cluster started both
        return _train_new(settings, Path(settings.out or time.strftime(DEFAULT_FOLDER)), repeats=repeats)
    return _train_in_new_folder(settings, parse(_Overwrite, {"overwrite": cfg.overwrite}).overwrite, repeats)


def _below_working_directory(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def read_train_settings(cfg: DictConfig) -> TrainSettings:
    """The settings of a run, without those of a sweep and of the output folder.

    Raises:
        UserError: a setting is not valid, a search is not started with ``-m``, or there is no such checkpoint.
    """
    values = plain_values(cfg)
    for key in ("sweep", "overwrite", "rerun"):
        values.pop(key, None)  # ~KEY has removed it
    search = parse_search(values.pop("hparams_search", None))
    if search is not None and HydraConfig.get().mode != RunMode.MULTIRUN:
        raise UserError(f"hparams_search={search.name}: trains several networks; start it with -m")
    settings = with_checkpoint_files(parse(TrainSettings, values))
    check_checkpoints_exist(settings)
    return settings


def _overrides() -> list[str]:
    return command_line_overrides(HydraConfig.get())


def _train_in_new_folder(settings: TrainSettings, overwrite: bool, repeats: RunFolder | None) -> dict[str, Any]:
    """Train in a folder that no other command writes to.

    Args:
        settings: of the training.
        overwrite: whether the folder may hold a run already.
        repeats: the run that is repeated, if one is.

    Raises:
        UserError: the folder holds a run or other files, or a setting is not valid.
    """
    if settings.out is not None and RunFolder(settings.out).has_begun() and not overwrite:
        raise UserError(
            f"out={settings.out}: holds a run already; choose another folder, continue it with resume={settings.out}, "
            "or replace it with overwrite=true"
        )
    ignored = RunFolder("").names_before_begin()
    with output_folder(settings.out, DEFAULT_FOLDER, overwrite, ignored) as folder:
        if settings.trainer.is_distributed:
            sys.argv.append(f"out={folder}")  # Lightning starts the other processes with these arguments
        return _train_new(settings, folder, repeats=repeats)


def _train_new(
    settings: TrainSettings, folder: Path, callbacks: Sequence[pl.Callback] = (), repeats: RunFolder | None = None
) -> dict[str, Any]:
    settings = replace_paths(settings.replaced(out=str(folder)), _absolute)
    return train(settings, folder, callbacks=callbacks, repeats=repeats)


def _absolute(path: str) -> str:
    """A path that config.yaml can be read with from any working directory."""
    return path if path in PACKAGED else str(Path(path).absolute())


def _resume(folder: RunFolder, cfg: DictConfig, overrides: Sequence[str], locked: bool) -> dict[str, Any]:
    """Continue a run; the folder's lock is taken unless it is ``locked`` for this process already."""
    settings = resumed(folder, cfg, overrides)
    locked = locked or settings.trainer.is_child_process  # by the first process
    with nullcontext() if locked else exclusive(folder.path, "resume"):
        metrics = train(settings, folder.path, resume=True)
        if not locked and folder.status.is_file():  # a sweep's job, which it may have pruned or failed to train
            folder.write_status(replace(folder.known_status(), status="ok", message=""))
            folder.remove_traceback()
        return metrics


def _begun(cfg: DictConfig) -> RunFolder | None:
    """The run in ``out=``, which ``resume=auto`` continues; None: it has not begun.

    Raises:
        UserError: ``out=`` is not given.
    """
    if cfg.out is None:
        raise UserError("resume=auto: needs the folder of the run that is begun or continued; add out=DIR")
    folder = RunFolder(Path(str(cfg.out)).expanduser())
    return folder if folder.has_begun() else None


def _continue(folder: RunFolder, cfg: DictConfig, locked: bool) -> dict[str, Any]:
    """Continue a run that was started by the same command line; one that is finished is kept.

    Raises:
        UserError: the command line has other settings than that of the run.
    """
    ignored = (*NOT_SETTINGS[RESUME], *NOT_SETTINGS[RERUN])
    again = may_change(_overrides())
    if difference := first_difference(folder, (*ignored, *map(key_of, (*again, *may_change(folder.read_overrides()))))):
        raise UserError(f"resume=auto: out={folder} holds a run of other settings ({difference}); choose another out")
    epochs = resumed(folder, cfg, again).trainer.max_epochs
    if folder.is_finished() and epochs == folder.read_config()["trainer"]["max_epochs"]:
        log.info("skipped: %s is already finished", folder)
        return folder.read_metrics()
    return _resume(folder, cfg, again, locked)


def repeated(folder: RunFolder, cfg: DictConfig, overrides: Sequence[str]) -> TrainSettings:
    """The settings of a run that is repeated in another folder; the number of threads is set to that of the run.

    Args:
        folder: of the run.
        cfg: what Hydra composed of the command line.
        overrides: of the command line.

    Raises:
        UserError: as `resumed`.
    """
    settings = resumed(folder, cfg, overrides, RERUN)
    restore_environment(folder)
    return settings.replaced(out=cfg.out)


def resumed(folder: RunFolder, cfg: DictConfig, overrides: Sequence[str], key: str = RESUME) -> TrainSettings:
    """The settings of a stopped run, with those that may change.

    Args:
        folder: of the run.
        cfg: what Hydra composed of the command line.
        overrides: of the command line.
        key: ``resume`` or ``rerun``, for what may change and for messages.

    Raises:
        UserError: another key is given, a plug-in of the run is not imported, config.yaml is not valid, or it names
            classes or variables of the environment that a file may not name.
    """
    if SweepFolder(folder.path).settings.is_file():
        raise UserError(f"{key}={folder}: is a sweep; name one of its jobs, or resume it with sweep.resume={folder}")
    try:
        stored = folder.read_config()
    except UserError as error:
        raise UserError(f"{key}={folder}: {error}") from error
    changed = changed_settings(str(folder), cfg, overrides, key)
    try:
        config = with_changes(stored, changed)
        _check_plugins(config["plugins"])
        _check_choices(folder, config)
        check_stored_targets(config, cfg)
        remember_references(cfg)
        restore_references(config, changed)
        settings = with_checkpoint_files(parse(TrainSettings, resolve_stored_references(config)))
        check_checkpoints_exist(settings if key == RERUN else settings.replaced(init_from=None))
        return replace_paths(settings, _absolute)
    except UserError as error:
        raise UserError(f"{key}={folder}: {error}") from error


def _check_plugins(needed: Any) -> None:
    """Check that the modules which registered parts of a stored run are imported.

    Raises:
        UserError: a module that registered parts of the run is not imported. What a file names is never imported.
    """
    if not isinstance(needed, list) or not all(isinstance(name, str) for name in needed):
        raise UserError(f"config.yaml: plugins={needed}: must be a list of module names; put the file back")
    missing = [name for name in needed if name not in sys.modules]
    if missing:
        raise UserError(f"the run needs plugins=[{','.join(needed)}]; add this to the command line")


def _check_choices(folder: RunFolder, config: dict[str, Any]) -> None:
    """Check that the registered parts of a stored run are installed.

    Raises:
        UserError: a package that brought a part of the run, such as its loss, is not installed any more.
    """
    for registry in REGISTRIES.values():
        group: Any = config
        for key in registry.key.split("."):
            group = group.get(key) if isinstance(group, dict) else None
        name = group.get("name") if isinstance(group, dict) else None
        if isinstance(name, str) and name not in registry:
            if folder.last_checkpoint.is_file():
                load_checkpoint(str(folder.last_checkpoint))  # its message names the package of a network
            raise UserError(
                f"{registry.key}: the {registry.kind} {name!r} of the run is not part of facekp; install the package "
                "that brings it, or add its module to the command line: plugins=[MODULE]"
            )


def _train_job(cfg: DictConfig, folder: Path, resume: bool) -> dict[str, Any]:
    """Train a job of a sweep; in a process of its own if it is distributed.

    Raises:
        UserError: the data or a setting is not valid.
        Pruned: a search ended the job early.
    """
    settings = read_train_settings(cfg)
    if settings.resume is not None:
        raise UserError(f"resume={settings.resume}: resumes one run, without -m; sweep.resume=DIR resumes a sweep")
    if cfg.rerun is not None:
        raise UserError(f"rerun={cfg.rerun}: repeats one run, without -m")
    if settings.trainer.is_distributed:
        return train_in_new_process(RunFolder(folder), _overrides(), resume)
    pruning = pruning_callback(RunFolder(folder))
    callbacks = [] if pruning is None else [pruning]
    if resume:
        moved = moved_keys(RunFolder(folder), _overrides())
        given = [key for key in moved if OmegaConf.select(cfg, key) is not None]
        metrics = train(resumed(RunFolder(folder), cfg, given), folder, resume=True, callbacks=callbacks)
    else:
        metrics = _train_new(settings, folder, callbacks)
    if pruning is not None and pruning.message:
        raise Pruned(pruning.message)
    return metrics
