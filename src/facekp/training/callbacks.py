"""What stands beside the training loop: curves, checkpoints, progress, loggers. Settings in, Lightning objects out."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, RichProgressBar, WeightAveraging
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.optim.swa_utils import get_ema_avg_fn

from facekp.core.errors import UserError
from facekp.core.files import atomic, write_csv
from facekp.training.validation_results import ValidationResults
from facekp.training.wandb_run import WandbCallback

LOGGERS = ("csv", "wandb", "tensorboard", "none")


class MetricsCsv(Callback):
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


class BestAndLastCheckpoints(Checkpoint):
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


def build_callbacks(config: dict[str, Any], folder: Path, interim: ValidationResults) -> list[Callback]:
    """MetricsCsv (unless ``logger=none``) and checkpoints; progress, averaged weights, early stopping, W&B where asked for.

    Raises:
        UserError: unknown logger.
    """
    name = config["logger"]["name"]
    if name not in LOGGERS:
        raise UserError(f"logger.name: {name!r} is unknown; choose one of {', '.join(LOGGERS)}")
    curves = MetricsCsv(folder)
    progress = [RichProgressBar()] if config["callbacks"]["progress"] else []
    decay = config["callbacks"]["ema"]
    average = [] if decay is None else [WeightAveraging(avg_fn=_averaging(decay))]
    patience = config["callbacks"]["patience"]
    stop = [] if patience is None else [EarlyStopping("val/rmse", patience=patience, check_on_train_epoch_end=True)]
    wanted = name == "wandb" and os.environ.get("WANDB_MODE") != "disabled"
    wandb = [WandbCallback(config, folder, curves, interim)] if wanted else []
    told = [] if name == "none" else [curves]
    return [*told, *progress, *average, *stop, interim, *wandb, BestAndLastCheckpoints(folder)]


def _averaging(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Exponential moving average of weights and batch statistics.

    `EMAWeightAveraging` would average indices too, and cut what rounding makes of them to the whole number below.
    """
    average = get_ema_avg_fn(decay)
    return lambda kept, new, count: average(kept, new, count) if kept.is_floating_point() else new


def build_loggers(config: dict[str, Any], folder: Path) -> list[Logger]:
    """Lightning's logger, where one was asked for that is none of the callbacks.

    Raises:
        UserError: its package is not installed.
    """
    if config["logger"]["name"] != "tensorboard":
        return []
    try:
        return [TensorBoardLogger(folder, name=None, version="tensorboard")]
    except ModuleNotFoundError as error:
        raise UserError(
            f"logger=tensorboard: {str(error).splitlines()[0]}; pip install 'facekp[tensorboard]'"
        ) from error
