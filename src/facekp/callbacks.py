"""What stands beside the training loop: curves, checkpoints, progress, loggers. Settings in, Lightning objects out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from facekp.errors import UserError
from facekp.runs import write_csv


class Curves(Callback):
    """metrics.csv in the run's folder, a row an epoch, written anew at the end of each.

    The rows ride in the checkpoint, so a resumed run's curves are those of its completed epochs and no others.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.csv"
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        figures = {name: value.item() for name, value in sorted(trainer.callback_metrics.items())}
        self.rows.append({"epoch": trainer.current_epoch, "step": trainer.global_step, "lr": rate, **figures})
        if trainer.is_global_zero:
            write_csv(self.path, pd.DataFrame(self.rows))

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


def build_callbacks(config: dict[str, Any], folder: Path) -> list[Callback]:
    """Curves (unless ``logger=none``), progress bar, and checkpoints of the best and of every last epoch."""
    curves = [] if config["logger"]["name"] == "none" else [Curves(folder)]
    progress = [RichProgressBar()] if config["callbacks"]["progress"] else []
    same: dict[str, Any] = {"dirpath": folder / "checkpoints", "enable_version_counter": False}
    best = ModelCheckpoint(filename="best", monitor="val/rmse", save_on_train_epoch_end=True, **same)
    last = ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **same)
    return [*curves, *progress, best, last]


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
            return [WandbLogger(project=settings["project"], save_dir=folder, offline=settings["offline"])]
    except ModuleNotFoundError as error:
        raise UserError(f"logger={name}: {str(error).splitlines()[0]}; pip install 'facekp[{name}]'") from error
    if name not in ("csv", "none"):
        raise UserError(f"logger.name: {name!r} is unknown; choose one of csv, wandb, tensorboard, none")
    return []
