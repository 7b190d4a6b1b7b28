"""Results of the best epoch so far: predictions.csv and metrics.json, written while the training runs.

Both come from the predictions of the validation loop, so they need no further pass over the images. A killed run leaves
them behind. The end of a run replaces them, and only then metrics.json says ``finished``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor, distributed

from facekp.data.table import FaceTable
from facekp.functional.metrics import ScoreSettings, epoch_metrics
from facekp.models.scoring import metric_input, score_predictions
from facekp.runs.folder import RunFolder
from facekp.runs.frames import predictions_frame
from facekp.runs.validated_epoch import ValidatedEpoch
from facekp.training.callbacks.curves import Curves, best_row

Batches = list[tuple[Tensor, Tensor, Tensor]]  # row numbers (n,), points (n, K, 2) and confidence (n, K) of each batch
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]  # the same of all N rows


class ValidationResults(ValidatedEpoch, Checkpoint):
    """Logs the metrics that are declared for every epoch, and writes the results of the best one.

    It is a `Checkpoint` so that Lightning calls it after the estimator has checked the loss. In the list of callbacks
    it comes before the one that saves last.ckpt, which then contains its state.

    Args:
        folder: of the run.
        table: all rows, in the order in which `facekp.data.datamodule` numbers them.
        others: the rows whose mean face is the baseline.
        started: when the run began, in seconds of the monotonic clock.
        settings: of metrics that divide errors by the size of the face; None: the defaults.

    Attributes:
        best: lowest val/rmse so far, in pixels.
        figures: metrics of that epoch; empty before the first validation.
    """

    def __init__(
        self,
        folder: RunFolder,
        table: FaceTable,
        others: FaceTable,
        started: float,
        settings: ScoreSettings | None = None,
    ) -> None:
        self.folder, self.table, self.others, self.started = folder, table, others, started
        self.settings = (settings or ScoreSettings()).replaced(resamples=0)  # intervals take time; the end has them
        self.best = math.inf
        self.figures: dict[str, Any] = {}
        self.batches: Batches = []  # of the last validation, in this process
        self.gathered: Arrays | None = None  # the same of all processes, once it is needed

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.batches, self.gathered = [], None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert isinstance(outputs, Mapping)
        self.batches.append((batch["row"], outputs["points"], outputs["confidence"]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the declared metrics that the estimator does not log, as ``val/NAME``."""
        declared = epoch_metrics()
        if not declared or not trainer.datamodule.has_scores:  # type: ignore[attr-defined]
            return
        rows, points, confidence = self._predictions()
        held_out = self.table.take(rows)
        if not held_out.mask.any():  # in a shortened validation
            return
        scored = metric_input(points, held_out, self.settings, confidence, _floor(pl_module))
        figures = {key: value for metric in declared for key, value in metric(scored).items()}
        numbers = {f"val/{key}": float(value) for key, value in figures.items() if not isinstance(value, dict)}
        pl_module.log_dict(numbers)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics.get("val/rmse")  # None where no validated row has a label
        if self.validated and score is not None and score < self.best:
            self.best = score.item()
            predictions = self._predictions()  # in all processes
            if trainer.is_global_zero:
                self._write_predictions(*predictions, _floor(pl_module))
        if trainer.is_global_zero and self.figures:
            progress = {"epochs": trainer.current_epoch + 1, "finished": False}
            summary = training_summary(trainer, self.folder, self.started)
            self.folder.write_metrics({**self.figures, **summary, **progress})

    def _predictions(self) -> Arrays:
        if self.gathered is None:
            self.gathered = gather_in_order(self.batches)
        return self.gathered

    def _write_predictions(self, rows: np.ndarray, points: np.ndarray, confidence: np.ndarray, floor: float) -> None:
        held_out = self.table.take(rows)
        scored = metric_input(points, held_out, self.settings, confidence, floor)
        self.figures = score_predictions(scored, self.others)
        self.folder.write_predictions(predictions_frame(held_out, "val", points, confidence))

    @property
    def state_key(self) -> str:
        return "Interim"  # in checkpoints since 0.1

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "figures": self.figures}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.figures = state_dict["best"], state_dict["figures"]


def _floor(module: Any) -> float:
    return float(module.model.decoder.floor)


def gather_in_order(batches: Batches) -> Arrays:
    """Predictions of all processes by increasing row number. All processes must call this.

    Args:
        batches: of this process; none if it had no rows.

    Returns:
        rows (N,), points (N, K, 2), confidence (N, K).
    """
    here = [torch.cat(part).cpu().numpy() for part in zip(*batches, strict=True)]
    parts = [here]
    if distributed.is_initialized():
        parts = [[]] * distributed.get_world_size()
        distributed.all_gather_object(parts, here)
    rows, points, confidence = (np.concatenate(part) for part in zip(*filter(None, parts), strict=True))
    order = np.argsort(rows)
    return rows[order], points[order], confidence[order]


def training_summary(trainer: Trainer, folder: RunFolder, started: float) -> dict[str, Any]:
    """What metrics.json says about the training.

    Returns:
        number of epochs, the best of them (counted from 1), steps, minutes, parameters, path of the best checkpoint.
    """
    (curves,) = (callback for callback in trainer.callbacks if isinstance(callback, Curves))  # type: ignore[attr-defined]
    best = best_row(curves.rows)
    model: Any = trainer.lightning_module.model
    return {
        "epochs": trainer.current_epoch,
        "best_epoch": None if best is None else int(best["epoch"]),
        "steps": trainer.global_step,
        "minutes": round((time.monotonic() - started) / 60, 2),
        "parameters": sum(p.numel() for p in model.parameters()),
        "checkpoint": str(folder.best_checkpoint),
    }
