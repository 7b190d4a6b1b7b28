"""Lightning's Trainer for a run, with its errors in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from facekp.config.command import one_line
from facekp.core.errors import UserError
from facekp.training.callbacks.checkpoints import AtomicCheckpointIO
from facekp.training.settings import TrainerSettings


def build_trainer(
    settings: TrainerSettings, folder: Path, callbacks: Sequence[pl.Callback], loggers: Sequence[Logger]
) -> pl.Trainer:
    """The Trainer of a run.

    Args:
        settings: options of the Trainer.
        folder: of the run.
        callbacks: called in this order.
        loggers: Lightning's loggers.

    Raises:
        UserError: Lightning refuses the settings, e.g. because there is no GPU.
    """
    no_gpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if settings.accelerator in ("gpu", "cuda") and no_gpu:
        raise UserError(
            f"trainer.accelerator={settings.accelerator}: no GPU is available here; use trainer=cpu, or "
            "trainer.accelerator=auto, which takes a GPU where there is one"
        )
    with trainer_errors():
        return pl.Trainer(
            **settings.arguments(),
            default_root_dir=folder,
            callbacks=list(callbacks),
            logger=list(loggers),
            plugins=[AtomicCheckpointIO(folder), *_environment()],
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            enable_model_summary=False,
        )


def _environment() -> list[ClusterEnvironment]:
    """SLURM's, without Lightning's requeuing: its checkpoint in the middle of an epoch does not resume to the bit."""
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():  # the order in which Lightning looks
        return []
    return [SLURMEnvironment(auto_requeue=False)]


@contextmanager
def trainer_errors() -> Iterator[None]:
    """Turn Lightning's complaints about its settings into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except MisconfigurationException as error:
        raise UserError(f"trainer: {one_line(error)}") from error
    except (TypeError, ValueError, ModuleNotFoundError) as error:
        raise UserError(f"trainer: {one_line(error)}") from error
