"""Builds what observes a training: settings in, Lightning's callbacks and loggers out."""

from __future__ import annotations

import os
from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from facekp.core.console import is_terminal
from facekp.core.errors import UserError, first_line
from facekp.runs.folder import RunFolder
from facekp.training.callback_settings import CallbackSettings
from facekp.training.callbacks.averaging import weight_averaging
from facekp.training.callbacks.checkpoints import BestAndLastCheckpoints
from facekp.training.callbacks.curves import Curves
from facekp.training.callbacks.early_stopping import PatientStopping
from facekp.training.callbacks.progress import EpochLog, ProgressBar
from facekp.training.callbacks.validation_results import ValidationResults
from facekp.training.logger_settings import LoggerSettings
from facekp.training.loggers.lightning import LightningLogs, NoLogger
from facekp.training.loggers.wandb_callback import WandbCallback
from facekp.training.targets import build_targets, find_targets


def check_observers(callbacks: CallbackSettings, loggers: LoggerSettings) -> None:
    """Check the classes that the settings name, before data are read.

    Raises:
        UserError: a class does not exist, or is not a Lightning callback or logger.
    """
    find_targets(callbacks, "callbacks", Callback)
    find_targets(loggers, "logger", Logger)  # type: ignore[type-abstract]


def build_callbacks(
    settings: CallbackSettings,
    loggers: LoggerSettings,
    config: dict[str, Any],
    folder: RunFolder,
    results: ValidationResults,
) -> list[Callback]:
    """All callbacks of a training, in the order in which Lightning calls them.

    Args:
        settings: of the group ``callbacks``.
        loggers: of the group ``logger``.
        config: settings of the whole training as plain values, which loggers record.
        folder: of the run.
        results: of the validation; the callback that saves checkpoints comes after it.

    Raises:
        UserError: a class named by ``callbacks.NAME._target_`` is not a Lightning callback, or can't be created.
    """
    curves = Curves(folder, write=loggers.csv)
    callbacks: list[Callback] = [curves]
    if settings.progress and is_terminal():
        callbacks.append(ProgressBar())
    if settings.ema is not None:
        callbacks.append(weight_averaging(settings.ema))
    if settings.patience is not None:
        callbacks.append(PatientStopping(settings.patience, folder))
    callbacks += build_targets(settings, "callbacks", Callback)
    job = f"{folder.path.name}: " if folder.status.is_file() else ""
    callbacks += [results, EpochLog(curves, prefix=job), LightningLogs(config, loggers.faces, curves)]
    if loggers.wandb and os.environ.get("WANDB_MODE") != "disabled":
        callbacks.append(WandbCallback(loggers, config, folder, curves, results))
    return [*callbacks, BestAndLastCheckpoints(folder, settings.save_every)]


def build_loggers(settings: LoggerSettings, folder: RunFolder) -> list[Logger]:
    """Lightning's loggers: TensorBoard if chosen, and those named by ``logger.NAME._target_``; at least one.

    metrics.csv and W&B are callbacks (`build_callbacks`).

    Raises:
        UserError: the package of a logger is not installed, or a named class is not a Lightning logger.
    """
    loggers: list[Logger] = build_targets(settings, "logger", Logger)  # type: ignore[type-abstract]
    if settings.tensorboard:
        loggers.append(_tensorboard(folder))
    return loggers or [NoLogger()]


def _tensorboard(folder: RunFolder) -> TensorBoardLogger:
    tensorboard = folder.tensorboard
    try:
        return TensorBoardLogger(tensorboard.parent, name=None, version=tensorboard.name, default_hp_metric=False)
    except ModuleNotFoundError as error:
        message = first_line(error)
        raise UserError(f"logger=tensorboard: {message}; pip install 'facekp[tensorboard]'") from error
