"""Callbacks for the benchmark: they end the process once its training steps are measured."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class StopAfterFirstStep(Callback):
    """Ends the process, so that its CPU seconds are those of the start."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        os._exit(0)


class StepTimer(Callback):
    """Writes the seconds of each training step to a JSON file, then ends the process.

    Args:
        out: path of the file.
        steps: number of steps.
    """

    def __init__(self, out: str, steps: int) -> None:
        self.out, self.steps = Path(out), steps
        self.ends: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        if len(self.ends) > self.steps:
            times = [end - start for start, end in zip(self.ends, self.ends[1:], strict=False)]
            self.out.write_text(json.dumps(times))
            os._exit(0)
