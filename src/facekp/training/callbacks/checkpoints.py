"""Checkpoints of a run: best.ckpt and last.ckpt, each written whole or not at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from facekp.core.files import write_tensors
from facekp.runs.folder import RunFolder
from facekp.runs.validated_epoch import ValidatedEpoch


class BestAndLastCheckpoints(ValidatedEpoch, Checkpoint):
    """Saves last.ckpt after every epoch, and best.ckpt after a validation with the lowest val/rmse so far.

    Where no validation row has a label, every epoch counts as the best one.

    Lightning's ModelCheckpoint forgets its best score if the folder was moved, and saves a last checkpoint only with a
    new best one.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.best = math.inf

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.datamodule.has_scores:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.folder.best_checkpoint)
        elif self.validated:
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

    Args:
        within: the folder of the run, which is not made again if it was removed.
    """

    def __init__(self, within: Path | None = None) -> None:
        self.within = within

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_tensors(Path(path), checkpoint, self.within)
