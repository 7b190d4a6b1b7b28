"""A callback that ends the process after the first training step, for the benchmark."""

from __future__ import annotations

import os
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class StopAfterFirstStep(Callback):
    """Ends the process, so that its CPU seconds are those of the start."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        os._exit(0)
