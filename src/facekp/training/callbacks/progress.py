"""What is seen of a training while it runs: a progress bar on a terminal, and a log line per epoch everywhere."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import ProcessingSpeedColumn

from facekp.core.console import StderrLogs, duration
from facekp.functional.metrics import MAIN, METRICS
from facekp.training.callbacks.curves import Curves, best_row
from facekp.training.estimator import KeypointEstimator

log = logging.getLogger(__name__)

RECENT = 5  # epochs whose mean time gives the time left
REFRESH = 0.5  # seconds between two readings of the loss, as each makes the CPU wait for a GPU


class EpochLog(Checkpoint):
    """Logs a line per epoch, from the first process.

    It is a `Checkpoint` so that Lightning calls it after the estimator has checked the loss.

    Args:
        curves: its rows hold the figures of each epoch.
        prefix: before each line, e.g. the name of a sweep's job.
    """

    def __init__(self, curves: Curves, prefix: str = "") -> None:
        self.curves, self.prefix = curves, prefix

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            log.info("%s%s", self.prefix, epoch_line(self.curves.rows, trainer.max_epochs or 0))


def epoch_line(rows: Sequence[Mapping[str, float]], epochs: int) -> str:
    """The last epoch in a line: losses, errors in pixels, learning rate, and the time left.

    Args:
        rows: of metrics.csv.
        epochs: length of the training in epochs.

    Example:
        >>> rows = [{"epoch": 1, "minutes": 2.0, "lr": 0.01, "train/loss": 4.5, "val/rmse": 2.25}]
        >>> epoch_line(rows, 12)
        'epoch  1/12: train loss 4.500, val RMSE 2.250 px, best 2.250 in epoch 1, lr 0.01, 22 min left'
    """
    row, best, text = rows[-1], best_row(rows), METRICS[MAIN].text
    parts = [f"train loss {row.get('train/loss', math.nan):#.4g}"]
    if f"val/{MAIN}" in row:
        parts.append(f"val RMSE {text(row[f'val/{MAIN}'])} px")
    if best is not None:
        parts.append(f"best {text(best[f'val/{MAIN}'])} in epoch {best['epoch']:.0f}")
    left = epochs - int(row["epoch"])
    time_left = f"{duration(60 * left * _minutes_per_epoch(rows))} left"
    parts += [f"lr {row['lr']:.3g}", time_left if left else f"{duration(60 * row['minutes'])} in all"]
    return f"epoch {row['epoch']:{len(str(epochs))}.0f}/{epochs}: {', '.join(parts)}"


def _minutes_per_epoch(rows: Sequence[Mapping[str, float]]) -> float:
    """Mean of the last epochs; the first one also contains the start of the training."""
    recent = [row["minutes"] for row in rows[-RECENT - 1 :]]
    return (recent[-1] - recent[0]) / (len(recent) - 1) if len(recent) > 1 else recent[0]


class ProgressBar(RichProgressBar):
    """Lightning's bar with epochs counted from 1, the loss, and the RMSE of the last validation.

    The loss is the mean over the epoch so far, as in metrics.csv. Log lines appear above the bar.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, Any] = {}
        self.read_at = -math.inf  # when the loss was read
        self.logs = StderrLogs()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.logs = StderrLogs()
        super().on_train_start(trainer, pl_module)
        self.logs.follow()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.read_at = -math.inf
        super().on_validation_end(trainer, pl_module)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What stands at the end of the bar."""
        if time.monotonic() - self.read_at >= REFRESH:
            self.read_at = time.monotonic()
            self.shown = super().get_metrics(trainer, pl_module)
            self.shown.pop("v_num", None)  # the number of a logger's folder
            assert isinstance(pl_module, KeypointEstimator)
            if pl_module.batches:
                self.shown["loss"] = pl_module.loss_sum.item() / pl_module.batches
            if f"val/{MAIN}" in trainer.callback_metrics:
                self.shown["RMSE"] = trainer.callback_metrics[f"val/{MAIN}"].item()
        return self.shown

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Without the speed, so that the bar fits 80 columns."""
        return [
            column for column in super().configure_columns(trainer) if not isinstance(column, ProcessingSpeedColumn)
        ]

    def _get_train_description(self, current_epoch: int) -> str:
        """Lightning counts epochs from 0."""
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"

    def _stop_progress(self) -> None:
        with suppress(OSError):  # the terminal was closed
            super()._stop_progress()
        self.logs.follow()
