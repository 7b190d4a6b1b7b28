"""`Curves`: metrics.csv of a run, one row per epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pytorch_lightning import LightningModule, Trainer

from facekp.config.migration import epochs_from_1
from facekp.functional.metrics import MAIN
from facekp.runs.folder import RunFolder
from facekp.runs.validated_epoch import ValidatedEpoch


class Curves(ValidatedEpoch):
    """Collects a row per epoch, and writes metrics.csv at the end of each epoch.

    A row has epoch (counted from 1), step, minutes (wall time of training and validation), lr, and every logged metric.
    Validation metrics are missing in epochs without a validation. The rows are saved in the checkpoint, so the curves
    of a resumed run are those of its completed epochs, and its ``minutes`` continue from the last of them.

    Args:
        folder: of the run.
        write: whether metrics.csv is written; the rows are collected in any case.
    """

    def __init__(self, folder: RunFolder, write: bool = True) -> None:
        self.folder, self.write = folder, write
        self.rows: list[dict[str, float]] = []
        self.started = 0.0  # monotonic clock in seconds, minus the time that a resumed run took before

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        before = self.rows[-1].get("minutes", 0.0) if self.rows else 0.0
        self.started = time.monotonic() - 60 * before

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        minutes = round((time.monotonic() - self.started) / 60, 4)
        metrics = {
            name: value.item()
            for name, value in sorted(trainer.callback_metrics.items())
            if self.validated or not name.startswith("val/")
        }
        position = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "minutes": minutes, "lr": rate}
        self.rows.append({**position, **metrics})
        if self.write and trainer.is_global_zero:
            self.folder.write_curves(pd.DataFrame(self.rows))

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        rows = state_dict["rows"]
        epochs = epochs_from_1([row["epoch"] for row in rows])
        self.rows = [{**row, "epoch": epoch} for row, epoch in zip(rows, epochs, strict=True)]


def best_row(rows: Sequence[Mapping[str, float]]) -> Mapping[str, float] | None:
    """The row with the lowest validation RMSE; None where no epoch was validated.

    Example:
        >>> best_row([{"epoch": 1, "val/rmse": 2.0}, {"epoch": 2}, {"epoch": 3, "val/rmse": 3.0}])
        {'epoch': 1, 'val/rmse': 2.0}
    """
    validated = [row for row in rows if math.isfinite(row.get(f"val/{MAIN}", math.nan))]
    return min(validated, key=lambda row: row[f"val/{MAIN}"], default=None)
