"""What stands beside the training loop: progress, checkpoints, loggers. Settings come in, Lightning objects go out."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from facekp.errors import UserError


def build_callbacks(config: dict[str, Any], folder: Path) -> list[Callback]:
    """Checkpoints of the best and the last epoch, and the progress bar."""
    checkpoint = ModelCheckpoint(
        dirpath=folder / "checkpoints",
        filename="best",
        monitor="val/rmse",
        save_last=True,
        save_on_train_epoch_end=True,  # after the schedule's last step of the epoch, so a resumed run is the same
        enable_version_counter=False,
    )
    return [checkpoint, *([RichProgressBar()] if config["callbacks"]["progress"] else [])]


def build_loggers(config: dict[str, Any], folder: Path, resume: bool) -> list[Logger]:
    """The curves' loggers: metrics.csv always but for ``logger=none``, and what was asked for beside it.

    Raises:
        UserError: unknown name, or its package is not installed.
    """
    settings = config["logger"]
    name = settings["name"]
    if name == "none":
        return []
    loggers: list[Logger] = [_csv_logger(folder, resume)]
    try:
        if name == "tensorboard":
            loggers.append(TensorBoardLogger(folder, name=None, version="tensorboard"))
        elif name == "wandb":
            loggers.append(WandbLogger(project=settings["project"], save_dir=folder, offline=settings["offline"]))
        elif name != "csv":
            raise UserError(f"logger.name: {name!r} is unknown; choose one of csv, wandb, tensorboard, none")
    except ModuleNotFoundError as error:
        raise UserError(f"logger={name}: {str(error).splitlines()[0]}; pip install 'facekp[{name}]'") from error
    return loggers


def _csv_logger(folder: Path, resume: bool) -> CSVLogger:
    """metrics.csv in the run's folder; a resumed run keeps the rows of its completed epochs."""
    path, last = folder / "metrics.csv", folder / "checkpoints" / "last.ckpt"
    rows: list[dict[str, Any]] = []
    if resume and path.is_file() and last.is_file():
        done = torch.load(last, map_location="cpu", weights_only=True)["epoch"]
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("epoch") and int(float(row["epoch"])) <= done]
        path.unlink()  # the logger would warn, then delete it itself
    logger = CSVLogger(folder, name=None, version="")
    if rows:
        logger.experiment.metrics.extend(rows)
        logger.experiment.save()
    return logger
