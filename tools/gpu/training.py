"""Trainings of `facekp.train` that `tools/gpu_check.py` times, profiles or lets finish."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch.profiler import ProfilerActivity, profile

from facekp.config.command import add_or_set
from facekp.config.location import CONF_DIR
from facekp.reporting.roofline import wait_for
from facekp.training.run import read_train_settings
from facekp.training.settings import TrainSettings
from facekp.training.setup import train

WAITS, PROFILED = 5, 10  # steps whose waits are counted, and steps whose kernels are timed
QUIET = ["callbacks.progress=false", "callbacks.pictures=0"]
NO_PAUSES = [  # no validation and no checkpoint while steps are timed
    "trainer.max_epochs=10000",
    "trainer.check_val_every_n_epoch=10000",
    "callbacks.save_every=10000",
    "logger=none",
]


class Enough(Exception):
    """Ends a training whose steps have been timed."""


@dataclass(frozen=True)
class Speed:
    """Speed of training steps.

    Attributes:
        images: per second.
        step: seconds per step.
        start: seconds from the call to the end of the steps that warm up.
        waits: times that the CPU waited for the GPU in a step; None: not counted.
        busy: fraction of the time in which a kernel ran; None: not measured.
    """

    images: float
    step: float
    start: float
    waits: float | None
    busy: float | None


class StepTimer(pl.Callback):
    """Times the steps of a training, then ends it.

    Args:
        device: where the training runs.
        skip: steps that warm up.
        seconds: for which steps are timed.
        inspect: afterwards count the waits of some steps, and time the kernels of some more.
    """

    def __init__(self, device: torch.device, skip: int, seconds: float, inspect: bool) -> None:
        self.device, self.skip, self.seconds, self.inspect = device, skip, seconds, inspect
        self.created = time.perf_counter()
        self.steps = self.timed = self.images = self.timed_until = 0
        self.started = self.ended = 0.0
        self.caught: list[Any] = []
        self.profile: profile | None = None
        self.context = ExitStack()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps += 1
        if self.steps < self.skip:
            return
        if not self.ended:
            self._time(len(batch["row"]))
        elif self.steps == self.timed_until + WAITS:
            self.context.close()
            torch.cuda.set_sync_debug_mode("default")
            self.profile = self.context.enter_context(profile(activities=[ProfilerActivity.CUDA]))
        elif self.steps == self.timed_until + WAITS + PROFILED:
            wait_for(self.device)
            self.context.close()
            raise Enough

    def _time(self, images: int) -> None:
        if self.steps == self.skip:
            wait_for(self.device)
            self.started = time.perf_counter()
            return
        self.timed, self.images = self.timed + 1, self.images + images
        if time.perf_counter() - self.started < self.seconds:
            return
        wait_for(self.device)
        self.ended, self.timed_until = time.perf_counter(), self.steps
        if not self.inspect:
            raise Enough
        self.caught = self.context.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")

    def speed(self) -> Speed:
        """The measured speed."""
        elapsed = self.ended - self.started
        step, waits, busy = elapsed / self.timed, None, None
        if self.profile is not None:
            waits = sum("synchronizing" in str(warning.message) for warning in self.caught) / WAITS
            kernels = sum(event.self_device_time_total for event in self.profile.key_averages())  # microseconds
            busy = kernels / 1e6 / PROFILED / step
        return Speed(self.images / elapsed, step, self.started - self.created, waits, busy)


def settings_of(overrides: Sequence[str], name: str = "train") -> Any:
    """What Hydra composes of a command line."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose(name, overrides=add_or_set(list(overrides)))


def train_settings(overrides: Sequence[str]) -> TrainSettings:
    """The settings of `facekp.train` with these arguments."""
    return read_train_settings(settings_of(overrides))


def measure_speed(
    overrides: Sequence[str], folder: Path, device: torch.device, skip: int, seconds: float, inspect: bool
) -> Speed:
    """Time the steps of a training; arguments as for `StepTimer`.

    Args:
        overrides: the training's command line.
        folder: of the run.
        device: that trains.
        skip: steps that warm up.
        seconds: for which steps are timed.
        inspect: count waits and time kernels.
    """
    timer = StepTimer(device, skip, seconds, inspect and device.type == "cuda")
    try:
        train(train_settings([*overrides, *QUIET, *NO_PAUSES]), folder, callbacks=[timer])
    except Enough:
        return timer.speed()
    finally:
        timer.context.close()
        restore_defaults(device)
    raise RuntimeError("the training ended before its steps were timed")


def restore_defaults(device: torch.device) -> None:
    """Undo what a training changes for the whole process, and free its memory."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False  # Lightning leaves it on
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("default")
        torch.compiler.reset()  # CUDA graphs hold memory
        gc.collect()
        torch.cuda.empty_cache()
