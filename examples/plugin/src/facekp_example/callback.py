"""A callback, used by ``callbacks.seconds._target_=facekp_example.callback.StepTimer``; it needs no registration."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class StepTimer(Callback):
    """Logs the mean seconds of a training step.

    Args:
        skip: first steps of the training that are not counted.
    """

    def __init__(self, skip: int = 1) -> None:
        self.skip, self.started = skip, 0.0
        self.seconds: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > self.skip:
            self.seconds.append(time.perf_counter() - self.started)
            pl_module.log("step_seconds", sum(self.seconds) / len(self.seconds), on_step=False, on_epoch=True)
