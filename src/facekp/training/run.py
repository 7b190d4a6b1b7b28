"""What ``facekp.train`` does with its arguments: a new run, a resumed run, or a job of a sweep."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from facekp.config.command import is_child_process, key_of, plain_values
from facekp.core.errors import UserError
from facekp.core.settings import parse, replace_paths
from facekp.runs.folder import RunFolder
from facekp.runs.job import Pruned, run_job, train_in_new_process
from facekp.runs.pruning import pruning_callback
from facekp.runs.settings import parse_search
from facekp.training.settings import TrainSettings
from facekp.training.setup import train

MAY_CHANGE = ("resume", "trainer.max_epochs", "logger", "debug", "plugins")  # keys that may be given with resume=


def run(cfg: DictConfig) -> dict[str, Any] | None:
    """Train what Hydra composed.

    Returns:
        the metrics of the run; None if it is a job of a sweep that failed or was pruned.

    Raises:
        UserError: the data or a setting is not valid.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    torch.set_float32_matmul_precision("high")
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(RunFolder(folder), cfg, lambda resume: _train_job(cfg, folder, resume))
    settings = read_train_settings(cfg)
    if settings.resume is not None:
        return train(resumed(settings, _overrides()), Path(settings.resume), resume=True)
    return _train_new(settings, folder)


def read_train_settings(cfg: DictConfig) -> TrainSettings:
    """The settings of a run, without those of a sweep.

    Raises:
        UserError: a setting is not valid, or a search is not started with ``-m``.
    """
    values = plain_values(cfg)
    del values["sweep"]
    search = parse_search(values.pop("hparams_search"))
    if search is not None and HydraConfig.get().mode != RunMode.MULTIRUN:
        raise UserError(f"hparams_search={search.name}: trains several networks; start it with -m")
    return parse(TrainSettings, values)


def _overrides() -> list[str]:
    return list(HydraConfig.get().overrides.task)


def _train_new(settings: TrainSettings, folder: Path, callbacks: Sequence[pl.Callback] = ()) -> dict[str, Any]:
    if not is_child_process():
        RunFolder(folder).check_new()
    return train(replace_paths(settings, _absolute), folder, callbacks=callbacks)


def _absolute(path: str) -> str:
    """A path that config.yaml can be read with from any working directory."""
    return path if path == "shipped" else str(Path(path).expanduser().absolute())


def resumed(settings: TrainSettings, overrides: Sequence[str]) -> TrainSettings:
    """The settings of a stopped run, with those that may change.

    Args:
        settings: composed from the command line; ``resume`` is the run's folder.
        overrides: of the command line.

    Raises:
        UserError: another key is given, a plug-in of the run is not imported, or config.yaml is not valid.
    """
    keys = [key_of(override) for override in overrides]
    for key in keys:
        if key not in MAY_CHANGE and not key.startswith("logger."):
            raise UserError(
                f"resume={settings.resume}: {key} can't be changed when a run is resumed; leave it out, or start a new "
                "run"
            )
    try:
        config = RunFolder(str(settings.resume)).read_config()
        _check_plugins(config["plugins"])
        if "trainer.max_epochs" in keys:
            config["trainer"]["max_epochs"] = settings.trainer.max_epochs
        if any(key.split(".")[0] == "logger" for key in keys):
            config["logger"] = settings.logger.plain()
        return parse(TrainSettings, config)
    except UserError as error:
        raise UserError(f"resume={settings.resume}: {error}") from error


def _check_plugins(needed: Sequence[str]) -> None:
    """
    Raises:
        UserError: a module that registered parts of the run is not imported. What a file names is never imported.
    """
    missing = [name for name in needed if name not in sys.modules]
    if missing:
        raise UserError(f"the run needs plugins=[{','.join(needed)}]; add this to the command line")


def _train_job(cfg: DictConfig, folder: Path, resume: bool) -> dict[str, Any]:
    """Train a job of a sweep; in a process of its own if it is distributed.

    Raises:
        UserError: the data or a setting is not valid.
        Pruned: a search ended the job early.
    """
    settings = read_train_settings(cfg)
    if settings.resume is not None:
        raise UserError(f"resume={settings.resume}: resumes one run, without -m; sweep.resume=DIR resumes a sweep")
    if settings.trainer.is_distributed:
        return train_in_new_process(RunFolder(folder), _overrides(), resume)
    pruning = pruning_callback(RunFolder(folder))
    callbacks = [] if pruning is None else [pruning]
    if resume:
        metrics = train(resumed(settings.replaced(resume=str(folder)), []), folder, resume=True, callbacks=callbacks)
    else:
        metrics = _train_new(settings, folder, callbacks)
    if pruning is not None and pruning.message:
        raise Pruned(pruning.message)
    return metrics
