"""Callbacks for the benchmark: they end the process once its training steps are measured."""

from __future__ import annotations

import itertools
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
    """Writes what training steps cost to a JSON file, then ends the process.

    The file holds ``seconds``, those of each step, and ``outside``, the share of further steps, from 0 to 1, that is
    not spent in convolutions on the CPU, by torch's profiler.

    Args:
        out: path of the file.
        steps: number of steps that are timed.
        profiled: number of steps after them that are profiled.
    """

    def __init__(self, out: str, steps: int, profiled: int) -> None:
        self.out, self.steps, self.profiled = Path(out), steps, profiled
        self.ends: list[float] = []
        self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
        self.profile_start = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        if len(self.ends) == self.steps + 1:
            self.profile.start()
            self.profile_start = time.perf_counter()
        elif len(self.ends) == self.steps + 1 + self.profiled:
            self._write()
            os._exit(0)

    def _write(self) -> None:
        self.profile.stop()
        events = self.profile.key_averages()
        convolutions = sum(event.self_cpu_time_total for event in events if "convolution" in event.key.lower()) / 1e6
        cost = {
            "seconds": [end - start for start, end in itertools.pairwise(self.ends[: self.steps + 1])],
            "outside": 1 - convolutions / (self.ends[-1] - self.profile_start),
        }
        self.out.write_text(json.dumps(cost))
