"""Checkpoints of a run: best.ckpt and last.ckpt, each written whole or not at all."""

from __future__ import annotations

import math
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from facekp.core.errors import UserError
from facekp.core.files import write_tensors
from facekp.runs.folder import RunFolder
from facekp.runs.validated_epoch import ValidatedEpoch
from facekp.training.callbacks.stopping import StopAtSignal

PLAIN = (str, bytes, bool, int, float, type(None))


class BestAndLastCheckpoints(ValidatedEpoch, Checkpoint):
    """Saves last.ckpt after every epoch or every few, and best.ckpt after a validation with the lowest val/rmse so far.

    Where no validated row has a label, every epoch counts as the best one.

    Lightning's ModelCheckpoint forgets its best score if the folder was moved, and saves a last checkpoint only with a
    new best one.

    Args:
        folder: of the run.
        every: epochs between two savings of last.ckpt. It is also saved when the training ends or is stopped after an
            epoch.
    """

    STATE = "Checkpoints"  # key of the best score in checkpoints since 0.1

    def __init__(self, folder: RunFolder, every: int = 1) -> None:
        self.folder, self.every = folder, every
        self.best = math.inf

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.datamodule.has_scores:  # type: ignore[attr-defined]
            self._save_best(trainer)
        elif self.validated:
            score = trainer.callback_metrics.get("val/rmse")  # None where no validated row has a label
            if score is None or score < self.best:
                self.best = self.best if score is None else score.item()
                self._save_best(trainer)
        if self.every == 1 or self._is_due(trainer):
            trainer.save_checkpoint(self.folder.last_checkpoint)

    def _save_best(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.folder.best_checkpoint)
        self.folder.forget_evaluations()

    def _is_due(self, trainer: Trainer) -> bool:
        """Whether last.ckpt is saved after this epoch."""
        epochs = trainer.current_epoch + 1
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        asked = any(isinstance(each, StopAtSignal) and each.code for each in callbacks)
        stops = trainer.should_stop or trainer.strategy.reduce_boolean_decision(asked, all=False)  # in all processes
        return stops or epochs % self.every == 0 or epochs == trainer.max_epochs

    @property
    def state_key(self) -> str:
        return self.STATE

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
        """Write a checkpoint.

        Raises:
            UserError: a callback, optimiser or network of a plug-in keeps a value that the file could not be read with.
        """
        _check_plain(checkpoint)
        write_tensors(Path(path), checkpoint, self.within)


def _check_plain(value: Any, key: str = "") -> None:
    """Refuse what `torch.load` with ``weights_only=True`` would not read: numbers of numpy, objects, functions."""
    if type(value) in (dict, OrderedDict):
        for name, inner in value.items():
            _check_plain(name, f"{key}[{name!r}]")
            _check_plain(inner, f"{key}[{name!r}]")
    elif type(value) in (list, tuple):
        for number, inner in enumerate(value):
            _check_plain(inner, f"{key}[{number}]")
    elif type(value) not in PLAIN and not isinstance(value, Tensor):
        file = BytesIO()
        try:
            torch.save(value, file)
            file.seek(0)
            torch.load(file, weights_only=True)
        except Exception as error:  # pickling raises all sorts of errors
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise UserError(
                f"checkpoint{key}: is a {kind}, which a checkpoint can't hold; keep tensors and plain numbers, texts, "
                "lists and dictionaries, such as float(x)"
            ) from error
