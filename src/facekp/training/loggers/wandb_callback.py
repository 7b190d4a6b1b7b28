"""`WandbCallback`: logs a run to Weights & Biases, online or on disk, without ever getting in the way of the training.

One background thread makes all calls of the client. A slow call delays nothing, a failed one switches W&B off with one
warning, and the end of the run waits a limited time.

W&B gets the resolved config with the code's revision, the overrides as the run's name, the sweep's folder as its group,
tags, the rows of metrics.csv as history, metrics.json as summary, a table of sample faces, and best.ckpt as an artifact
(online only). The client itself records the machine's load.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from pytorch_lightning import LightningModule, Trainer

from facekp.data.table import FaceTable
from facekp.models.keypoint_model import KeypointModel
from facekp.runs.folder import RunFolder
from facekp.training.callbacks.curves import Curves
from facekp.training.callbacks.validation_results import ValidationResults
from facekp.training.logger_settings import LoggerSettings
from facekp.training.loggers import wandb_client
from facekp.training.loggers.background import BackgroundCaller, quietly
from facekp.training.loggers.base import RunLogger
from facekp.training.loggers.sample_faces import sample_faces

log = logging.getLogger(__name__)

NAME = "W&B"
KILL_TIMEOUT = 10.0  # seconds that the background thread has to end after the client's process was killed


class WandbCallback(RunLogger):
    """Logs to W&B from the first process.

    Args:
        settings: project, tags and so on.
        config: settings of the training as plain values.
        folder: of the run.
        curves: its rows are the history.
        results: its figures are the summary.
    """

    def __init__(
        self,
        settings: LoggerSettings,
        config: dict[str, Any],
        folder: RunFolder,
        curves: Curves,
        results: ValidationResults,
    ) -> None:
        self.settings, self.config, self.folder = settings, config, folder
        self.curves, self.results = curves, results
        self.caller: BackgroundCaller | None = None  # None before the training, and in all other processes
        self.run: wandb_client.WandbRun | None = None  # used by the background thread only
        self.rows_sent = 0  # of the curves
        self.exit_code = 1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.caller = BackgroundCaller(NAME, on_failure=wandb_client.tear_down)
            self.caller.send(self._start)
            self._send_rows()  # of the epochs before a resume

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._send_rows()
        figures = self.results.figures
        self._send(lambda run: run.update_summary(figures))

    def log_end(self, figures: dict[str, Any], model: KeypointModel, table: FaceTable, points: np.ndarray) -> None:
        """The final figures, sample faces and, online, the best checkpoint."""
        if self.caller is None:
            return
        self.exit_code = 0
        self._send(lambda run: run.update_summary(figures))
        faces = sample_faces(model, table, points, self.settings.faces)
        if faces:
            self._send(lambda run: run.log_faces(faces))
        self._send(lambda run: run.upload_checkpoint(figures))

    def close(self) -> None:
        """End the W&B run; wait up to ``logger.patience`` seconds for what is still to be sent."""
        if self.caller is None:
            return
        self._send(lambda run: run.finish(self.exit_code))
        if not self.caller.wait(self.settings.patience):
            self._give_up(self.caller)
        self.caller = None

    def _give_up(self, caller: BackgroundCaller) -> None:
        """Kill the client's process: a blocked call then returns, and the exit of this process waits for nothing."""
        rest = "nothing was logged"
        if self.run is not None:
            rest = f"the rest is on disk; {wandb_client.how_to_send(self.run.run)}"
        log.warning("W&B: not done after logger.patience=%s s, %s", self.settings.patience, rest)
        quietly(NAME, wandb_client.kill_service)
        caller.wait(KILL_TIMEOUT)

    def _start(self) -> None:
        self.run = wandb_client.WandbRun(self.settings, self.config, self.folder)

    def _send_rows(self) -> None:
        rows = self.curves.rows[self.rows_sent :]
        self.rows_sent = len(self.curves.rows)
        self._send(lambda run: run.log_rows(rows))

    def _send(self, call: Callable[[wandb_client.WandbRun], None]) -> None:
        """Queue a call with the run, which exists once the background thread makes the call."""
        if self.caller is not None:
            self.caller.send(lambda: call(self.run))  # type: ignore[arg-type]
