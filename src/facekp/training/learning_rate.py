"""``lr=find``: a search for the learning rate before the training, by Lightning's Tuner.

A copy of the model trains for some steps while the rate grows exponentially (Smith 2017, arXiv:1506.01186). The
suggestion is the rate at which the loss falls fastest. The training itself starts from the initial weights.
"""

from __future__ import annotations

import copy
import logging
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.tuner.tuning import Tuner

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.data.datamodule import FaceData
from facekp.training.estimator import KeypointEstimator
from facekp.training.settings import TrainerSettings
from facekp.training.trainer import trainer_errors

log = logging.getLogger(__name__)
MIN_RATE, MAX_RATE, SEARCH_STEPS = 1e-6, 1.0, 100  # range of the search, and optimiser steps


@dataclass(frozen=True)
class RateCurve:
    """The training loss at increasing learning rates, and the rate that was chosen.

    Attributes:
        rates: learning rate of each step.
        losses: smoothed training loss of each step.
        suggestion: the learning rate to train with.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float

    def draw(self, path: Path) -> None:
        """Write the curve as a picture, with the suggestion marked."""
        from matplotlib.figure import Figure  # imported here: most trainings draw no curve of rates

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses)
        axes.axvline(self.suggestion, color="tab:red", label=f"lr={self.suggestion:g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed", title="lr=find")
        axes.legend()
        with atomic(path) as draft:
            figure.savefig(draft, dpi=110, format="png")


def find_learning_rate(estimator: KeypointEstimator, data: FaceData, settings: TrainerSettings) -> RateCurve:
    """Search for a learning rate.

    Args:
        estimator: of the training; not changed.
        data: batches to train on.
        settings: of the Trainer; the search uses its device and precision.

    Raises:
        UserError: the loss falls at none of the rates.
    """
    trial = copy.deepcopy(estimator)
    trial.on_train_epoch_end = lambda: None  # type: ignore[method-assign]  # a diverging loss only ends the search
    trial.on_train_start = lambda: _hide_progress_bar(trial.trainer)  # type: ignore[method-assign]  # that of estimators is for CUDA graphs only
    log.info("lr=find: tries %d rates from %g to %g", SEARCH_STEPS, MIN_RATE, MAX_RATE)
    with torch.random.fork_rng(), tempfile.TemporaryDirectory() as folder, trainer_errors():
        search = Tuner(_build_trainer(settings, data, folder)).lr_find(
            trial, datamodule=data, min_lr=MIN_RATE, max_lr=MAX_RATE, num_training=SEARCH_STEPS, update_attr=False
        )
        suggestion = None if search is None else search.suggestion()
    if search is None or suggestion is None:
        raise UserError("lr=find: found no learning rate at which the loss falls; give one as lr=VALUE")
    rate = float(f"{suggestion:.3g}")
    log.info("lr=find: trains with lr=%g", rate)
    return RateCurve(list(search.results["lr"]), list(search.results["loss"]), rate)


def _hide_progress_bar(trainer: pl.Trainer) -> None:
    """Lightning's search writes a bar to stderr whatever it is, also to a file."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if hasattr(callback, "progress_bar_refresh_rate"):
            callback.progress_bar_refresh_rate = 0


def _build_trainer(settings: TrainerSettings, data: FaceData, folder: str) -> pl.Trainer:
    """A Trainer with the run's settings that only trains, and writes to a temporary folder."""
    limit, accumulate = settings.limit_train_batches, settings.accumulate_grad_batches
    batches = data.steps_per_epoch * accumulate
    batches = min(limit, batches) if isinstance(limit, int) else max(int(limit * batches), 1)
    epochs = math.ceil(SEARCH_STEPS / math.ceil(batches / accumulate)) + 1
    overrides = {"max_epochs": epochs, "min_epochs": None, "check_val_every_n_epoch": epochs + 1, "profiler": None}
    return pl.Trainer(
        **{**settings.arguments(), **overrides},
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
