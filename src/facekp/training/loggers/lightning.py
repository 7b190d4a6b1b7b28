"""`LightningLogs`: what Lightning's loggers (TensorBoard and any other) do not get from Lightning itself.

Lightning logs every training and validation metric. This adds the settings of the run, learning rate and minutes of
every epoch, and at the end the final figures and, to TensorBoard, sample faces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from facekp.data.table import FaceTable
from facekp.models.keypoint_model import KeypointModel
from facekp.training.callbacks.curves import Curves
from facekp.training.loggers.base import RunLogger, flat_figures
from facekp.training.loggers.sample_faces import SampleFace, sample_faces

FINAL = "final/"  # before the names of the final figures


class NoLogger(Logger):
    """Logs nothing. For trainings without a Lightning logger, as some callbacks refuse a trainer that has none."""

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        pass

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass


class LightningLogs(RunLogger):
    """Logs to all loggers of the trainer.

    Args:
        config: settings of the training as plain values.
        faces: number of sample faces; 0: none.
        curves: learning rate and minutes come from its last row.
    """

    def __init__(self, config: dict[str, Any], faces: int, curves: Curves) -> None:
        self.config, self.faces, self.curves = config, faces, curves
        self.loggers: list[Logger] = []  # of the trainer, from the beginning of the training
        self.step = 0  # optimiser steps so far

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.loggers = trainer.loggers
        for logger in self.loggers:
            logger.log_hyperparams(self.config)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step = trainer.global_step
        row = self.curves.rows[-1]
        for logger in self.loggers:
            logger.log_metrics({"lr": row["lr"], "minutes": row["minutes"]}, step=self.step)

    def log_end(self, figures: dict[str, Any], model: KeypointModel, table: FaceTable, points: np.ndarray) -> None:
        """The final figures as ``final/NAME``, and sample faces."""
        numbers = {name: value for name, value in flat_figures(figures).items() if isinstance(value, (int, float))}
        final = {f"{FINAL}{name}": value for name, value in numbers.items()}
        boards = [logger for logger in self.loggers if isinstance(logger, TensorBoardLogger)]
        faces = sample_faces(model, table, points, self.faces) if boards else []
        for logger in self.loggers:
            logger.log_metrics(final, step=self.step)
        for board in boards:
            _log_faces(board, faces, self.step)

    def close(self) -> None:
        """Write what was logged after Lightning finished its loggers."""
        for logger in self.loggers:
            logger.save()
        for board in (logger for logger in self.loggers if isinstance(logger, TensorBoardLogger)):
            board.experiment.close()


def _log_faces(board: TensorBoardLogger, faces: list[SampleFace], step: int) -> None:
    for face in faces:
        for name, picture in (("points", face.points), ("heatmaps", face.heatmaps)):
            tag = f"faces/row {face.row}, {face.source}/{name}"
            board.experiment.add_image(tag, picture[..., :3], step, dataformats="HWC")
