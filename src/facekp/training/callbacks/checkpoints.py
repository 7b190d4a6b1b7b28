"""Checkpoints of a run: best.ckpt and last.ckpt, each written whole or not at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from facekp.core.files import atomic
from facekp.runs.folder import RunFolder
from facekp.runs.validated_epoch import ValidatedEpoch


class BestAndLastCheckpoints(ValidatedEpoch, Checkpoint):
    """Saves last.ckpt after every epoch, and best.ckpt after a validation with the lowest val/rmse so far.

    Lightning's ModelCheckpoint forgets its best score if the folder was moved, and saves a last checkpoint only with a
    new best one.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.best = math.inf

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.validated:
            score = trainer.callback_metrics["val/rmse"].item()
            if score < self.best:
                self.best = score
                trainer.save_checkpoint(self.folder.best_checkpoint)
        trainer.save_checkpoint(self.folder.last_checkpoint)

    @property
    def state_key(self) -> str:
        return "Checkpoints"  # in checkpoints since 0.1

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file beside its final path, then renames it.

    A killed run leaves the old checkpoint or the new one. Lightning's own plug-in writes to the temporary folder, from
    where the file may have to be copied.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic(Path(path)) as draft:
            torch.save(checkpoint, draft)
