"""`python -m facekp.train optimizer=adam lr=5e-4`: trains one network and leaves a folder that tells all about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from facekp.config.command import is_child_process, key_of, plain, run_command
from facekp.config.rules import check
from facekp.core.errors import UserError
from facekp.runs import search, sweep
from facekp.runs.folder import RunFolder
from facekp.training.setup import Config, train

BESIDE_RESUME = ("resume", "trainer.max_epochs", "logger", "debug")  # keys that may be given with resume=


def _resumed(config: Config, overrides: list[str]) -> Config:
    """The stopped run's own config, with what may be changed on the way.

    Raises:
        UserError: a key stands beside ``resume=`` that the run's config.yaml decides.
    """
    keys = [key_of(override) for override in overrides]
    for key in keys:
        if key not in BESIDE_RESUME and not key.startswith("logger."):
            raise UserError(f"resume={config['resume']}: {key} can't be changed on the way; leave it out or start anew")
    own = RunFolder(config["resume"]).read_config()
    check(own)
    own["data"].setdefault("offsets", None)  # older runs know none
    if "trainer.max_epochs" in keys:
        own["trainer"]["max_epochs"] = config["trainer"]["max_epochs"]
    if any(key.split(".")[0] == "logger" for key in keys):
        own["logger"] = config["logger"]
    return own


def _absolute(config: Config) -> Config:
    """Paths that config.yaml may be read with from anywhere: files that are read, made absolute."""
    data = dict(config["data"])
    for key in {"dir", "cache", "images", "labels"} & set(data):
        data[key] = None if data[key] is None else str(Path(data[key]).expanduser().absolute())
    teacher = {**config["teacher"], "ckpt": _absolute_files(config["teacher"]["ckpt"])}
    return {**config, "data": data, "init_from": _absolute_files(config["init_from"]), "teacher": teacher}


def _absolute_files(ckpt: Any) -> Any:
    """A checkpoint's path, or each of several, made absolute."""
    if isinstance(ckpt, list):
        return [_absolute_files(one) for one in ckpt]
    return ckpt if ckpt in (None, "shipped") else str(Path(ckpt).absolute())


def main(cfg: DictConfig) -> dict[str, Any] | None:
    """Hydra's task: a run in its own folder, or a job of a sweep."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    torch.set_float32_matmul_precision("high")
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return sweep.perform(folder, cfg, lambda resume: _job(cfg, folder, resume))
    if cfg[sweep.SEARCH].name != "none":
        raise UserError(f"{sweep.SEARCH}={cfg[sweep.SEARCH].name}: trains one network after the other; call with -m")
    return _run(_config(cfg), folder)


def _config(cfg: DictConfig) -> Config:
    """The run's own part of what Hydra composed, checked."""
    config = plain(cfg)
    del config["sweep"], config[sweep.SEARCH]
    return config


def _run(config: Config, folder: Path, beside: Sequence[pl.Callback] = ()) -> dict[str, Any]:
    """A new run, or a stopped one gone on with."""
    resume = config["resume"] is not None
    if resume:
        folder = Path(config["resume"])
        config = _resumed(config, list(HydraConfig.get().overrides.task))
    elif not is_child_process():
        RunFolder(folder).check_new()
        config = _absolute(config)
    return train(config, folder, resume, beside)


def _job(cfg: DictConfig, folder: Path, resume: bool) -> dict[str, Any]:
    """A run of a sweep, new or gone on with; one of several processes is a command of its own.

    Raises:
        UserError: bad data or settings.
        Pruned: a search ended it early.
    """
    config = _config(cfg)
    if config["resume"] is not None:
        raise UserError(f"resume={config['resume']}: goes on with one run, without -m; sweep.resume=DIR with a sweep")
    if config["trainer"]["devices"] != 1 or "strategy" in config["trainer"]:
        return sweep.train_apart(folder, list(HydraConfig.get().overrides.task), resume)
    hopeless = search.watch(folder)
    if resume:
        figures = train(_resumed({**config, "resume": str(folder)}, []), folder, resume, hopeless)
    else:
        figures = _run(config, folder, hopeless)
    if any(one.message for one in hopeless):
        raise sweep.Pruned(hopeless[0].message)
    return figures


if __name__ == "__main__":
    run_command("train", main, sweep.reword)
