"""What stands beside the training loop: curves, checkpoints, progress, loggers. Settings in, Lightning objects out."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, EMAWeightAveraging, RichProgressBar
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO

from facekp.errors import UserError
from facekp.files import atomic
from facekp.runs import write_csv


class Curves(Callback):
    """metrics.csv in the run's folder, a row an epoch, written anew at the end of each.

    The rows ride in the checkpoint, so a resumed run's curves are those of its completed epochs and no others, and its
    ``minutes`` (wall time of training and validation) go on from where the last of them ended.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.csv"
        self.rows: list[dict[str, float]] = []
        self.started = 0.0  # seconds on the monotonic clock, moved back by what a resumed run took before

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        before = self.rows[-1].get("minutes", 0.0) if self.rows else 0.0
        self.started = time.monotonic() - 60 * before

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        figures = {name: value.item() for name, value in sorted(trainer.callback_metrics.items())}
        minutes = round((time.monotonic() - self.started) / 60, 4)
        place = {"epoch": trainer.current_epoch, "step": trainer.global_step, "minutes": minutes, "lr": rate}
        self.rows.append({**place, **figures})
        if trainer.is_global_zero:
            write_csv(self.path, pd.DataFrame(self.rows))

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


class Checkpoints(Checkpoint):
    """best.ckpt (lowest val/rmse) and last.ckpt in the run's folder, at the end of every epoch.

    Lightning's ModelCheckpoint forgets its best score when the folder was moved, and writes a last checkpoint only when
    there is a new best one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkpoints"
        self.best = math.inf

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics["val/rmse"].item()
        if score < self.best:
            self.best = score
            trainer.save_checkpoint(self.folder / "best.ckpt")
        trainer.save_checkpoint(self.folder / "last.ckpt")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, then moves it there: a killed run leaves the old one or the new one.

    Lightning's own drafts it in the temporary folder, from where it may have to be copied.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic(Path(path)) as draft:
            torch.save(checkpoint, draft)


def build_callbacks(config: dict[str, Any], folder: Path) -> list[Callback]:
    """Checkpoints; curves unless ``logger=none``; progress bar, averaged weights, early stopping where asked for."""
    curves = [] if config["logger"]["name"] == "none" else [Curves(folder)]
    progress = [RichProgressBar()] if config["callbacks"]["progress"] else []
    decay = config["callbacks"]["ema"]
    average = [] if decay is None else [EMAWeightAveraging(decay=decay)]
    patience = config["callbacks"]["patience"]
    stop = [] if patience is None else [EarlyStopping("val/rmse", patience=patience, check_on_train_epoch_end=True)]
    return [*curves, *progress, *average, *stop, Checkpoints(folder)]


def build_loggers(config: dict[str, Any], folder: Path) -> list[Logger]:
    """What was asked for beside metrics.csv.

    Raises:
        UserError: unknown name, or its package is not installed.
    """
    settings = config["logger"]
    name = settings["name"]
    try:
        if name == "tensorboard":
            return [TensorBoardLogger(folder, name=None, version="tensorboard")]
        if name == "wandb":
            offline = settings["offline"]
            return [WandbLogger(project=settings["project"], save_dir=folder, offline=offline, config=config)]
    except ModuleNotFoundError as error:
        raise UserError(f"logger={name}: {str(error).splitlines()[0]}; pip install 'facekp[tensorboard]'") from error
    if name not in ("csv", "none"):
        raise UserError(f"logger.name: {name!r} is unknown; choose one of csv, wandb, tensorboard, none")
    return []


def close_loggers(loggers: list[Logger]) -> None:
    """End what a logger keeps open for the whole process, so that the next run of a sweep begins its own."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
