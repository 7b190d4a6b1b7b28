"""Two reasons to end a training early: a signal, and a folder that is no longer there."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from facekp.core.errors import UserError
from facekp.core.signals import TERMINATED, Stopped, stop_signals
from facekp.runs.folder import RunFolder


class StopAtSignal(Callback):
    """Ends a training after a signal.

    - SIGUSR1, the notice of a scheduler: once the epoch is validated and saved.
    - SIGTERM, SIGHUP and Ctrl+C: after the running batch; after an epoch's last batch, once the epoch is validated and
      saved.
    - SIGTERM or Ctrl+C after one of these: at once. A terminal that closes may send SIGHUP twice.

    Of several processes all end after the same batch, whichever got the signal.

    Attributes:
        code: the exit code; 0: no signal came.
        urgent: whether the training ends after the running batch.
        agreed: whether all processes have ended the training.
    """

    def __init__(self) -> None:
        self.code = 0
        self.urgent, self.agreed = False, False
        self._codes: dict[int, int] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._codes = stop_signals()  # Lightning sets its handlers after this

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of Lightning's handlers. Lightning puts back those of before when the training has ended."""
        for number in self._codes:
            signal.signal(number, self._note)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.is_last_batch:
            self._stop_if(self.urgent, trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_if(self.code != 0, trainer)  # the epoch before is saved

    def raise_if_asked(self) -> None:
        """Raise the signal's exception after the training, if a signal came.

        Raises:
            Stopped: a signal came during the last epoch.
        """
        if self.code:
            raise Stopped(self.code)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.urgent and number not in (signal.SIGUSR1, signal.SIGHUP):
            raise Stopped(self.code)
        self.code = self._codes[number]
        self.urgent = self.urgent or number != signal.SIGUSR1

    def _stop_if(self, asked: bool, trainer: Trainer) -> None:
        if trainer.strategy.reduce_boolean_decision(asked, all=False):
            self.agreed = True
            raise Stopped(self.code or TERMINATED)


class FolderGuard(Callback):
    """Ends a training whose folder was removed, renamed or replaced, before anything is written to another one.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._descriptor: int | None = None  # keeps the system from giving the folder's number to another one

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self._descriptor = os.open(self.folder.path, os.O_RDONLY)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.check()
        self.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.close()

    def check(self) -> None:
        """Check that the run's folder was neither removed nor replaced.

        Raises:
            UserError: the folder is not the one in which the training began.
        """
        if self._descriptor is None:
            return
        try:
            same = os.path.samestat(os.fstat(self._descriptor), os.stat(self.folder.path))
        except FileNotFoundError:
            same = False
        if not same or not self.folder.has_begun():
            raise UserError(
                f"{self.folder}: was removed, renamed or replaced while the run was trained, so nothing more is "
                "written; start the run again, or resume the renamed folder"
            )

    def close(self) -> None:
        """Close the folder's descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
