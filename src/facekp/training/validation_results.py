"""What a run tells before it is over: predictions.csv and metrics.json of its best epoch so far, at every validation.

Both are what the validation itself decoded, so they cost no further pass over the images. A killed run leaves them;
the end of a run replaces them, and only then metrics.json says ``finished``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor, distributed

from facekp.core.files import write_csv, write_json
from facekp.data.table import FaceTable
from facekp.models.scoring import score_predictions
from facekp.runs.frames import predictions_frame


class ValidationResults(Checkpoint):
    """Writes the two files, in the first process.

    A `Checkpoint` so that Lightning calls it once the estimator has found the epoch sound; it stands before the one
    that writes last.ckpt, which takes its state along.

    Args:
        folder: of the run.
        table: all rows, as `facekp.data.datamodule` numbers them.
        others: the rows the baseline's mean face is taken from.
        started: when the run began, on the monotonic clock.
    """

    def __init__(self, folder: Path, table: FaceTable, others: FaceTable, started: float) -> None:
        self.folder, self.table, self.others, self.started = folder, table, others, started
        self.best = math.inf
        self.figures: dict[str, Any] = {}  # of the best epoch
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []  # rows, points and confidence of the batches so far

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seen = []

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
        self.seen.append((batch["row"], outputs["points"], outputs["confidence"]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics["val/rmse"].item()
        if score < self.best:
            self.best = score
            rows, points, confidence = in_order(self.seen)
            if trainer.is_global_zero:
                self._write_predictions(pl_module, rows, points, confidence)
        if trainer.is_global_zero and self.figures:
            place = {"epochs": trainer.current_epoch + 1, "finished": False}
            write_json(
                self.folder / "metrics.json",
                {**self.figures, **training_summary(trainer, self.folder, self.started), **place},
            )

    def _write_predictions(self, module: Any, rows: np.ndarray, points: np.ndarray, confidence: np.ndarray) -> None:
        held_out = self.table.take(rows)
        self.figures = score_predictions(points, confidence, held_out, self.others, module.model.decoder["floor"])
        write_csv(self.folder / "predictions.csv", predictions_frame(held_out, "val", points, confidence))

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "figures": self.figures}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.figures = state_dict["best"], state_dict["figures"]


def in_order(seen: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What all processes saw, by increasing row: rows (N,), points (N, K, 2), confidence (N, K).

    Args:
        seen: batches of this process, as tensors of these three kinds. All processes must call.
    """
    shares = [[torch.cat(part).cpu().numpy() for part in zip(*seen, strict=True)]]
    if distributed.is_initialized():
        own, shares = shares[0], [[]] * distributed.get_world_size()
        distributed.all_gather_object(shares, own)
    rows, points, confidence = (np.concatenate(part) for part in zip(*shares, strict=True))
    order = np.argsort(rows)
    return rows[order], points[order], confidence[order]


def training_summary(trainer: Trainer, folder: Path, started: float) -> dict[str, Any]:
    """What metrics.json says beside the errors: epochs and steps done, minutes, parameters, the best checkpoint."""
    model: Any = trainer.lightning_module.model
    return {
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "minutes": round((time.monotonic() - started) / 60, 2),
        "parameters": sum(p.numel() for p in model.parameters()),
        "checkpoint": str(folder / "checkpoints" / "best.ckpt"),
    }
