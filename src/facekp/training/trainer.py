"""Lightning's Trainer for a run, with its errors in one line."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import nn
from torch.optim import Optimizer

from facekp.config.command import one_line
from facekp.core.errors import UserError
from facekp.training.callbacks.checkpoints import AtomicCheckpointIO
from facekp.training.settings import TrainerSettings

CONNECTING = 60.0  # seconds
LIGHTNING = ("pytorch_lightning.", "lightning_fabric.")  # its modules


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
    if not settings.is_distributed:
        # A rank in the environment would silence Lightning's loggers.
        rank_zero_only.rank = 0  # type: ignore[attr-defined]
    with trainer_errors():
        return pl.Trainer(
            **settings.arguments(),
            default_root_dir=folder,
            callbacks=list(callbacks),
            logger=list(loggers),
            plugins=[AtomicCheckpointIO(folder), *_environment(settings.num_nodes)],
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            enable_model_summary=False,
        )


class Torchrun(TorchElasticEnvironment):
    """The processes that torchrun started. Problems that would make them wait for half an hour are errors."""

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Lightning calls this right before the processes connect.

        Raises:
            UserError: torchrun started another number of processes, or its process on the first machine has ended.
        """
        if num_devices * num_nodes != self.world_size():
            raise UserError(
                f"trainer.num_nodes={num_nodes} trainer.devices={num_devices}: torchrun started {self.world_size()} "
                "processes; set them to its --nnodes and --nproc-per-node"
            )
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # torchrun listens on the first machine
            _check_first_machine(self.main_address, self.main_port)


def _check_first_machine(address: str, port: int) -> None:
    try:
        socket.create_connection((address, port), timeout=CONNECTING).close()
    except OSError as error:
        raise UserError(
            f"MASTER_ADDR={address} MASTER_PORT={port}: can't be reached ({error.strerror or error}); torchrun on the "
            "first machine has ended; see its messages"
        ) from error


def _environment(num_nodes: int) -> list[ClusterEnvironment]:
    """What started the processes, where Lightning's own class would not do; looked for in Lightning's order.

    Raises:
        UserError: several machines are asked for, but nothing that starts processes on them is used, or srun lacks an
            option.
    """
    if TorchElasticEnvironment.detect():
        return [Torchrun()]
    if SLURMEnvironment.detect():
        try:
            return [SLURMEnvironment(auto_requeue=False)]  # a checkpoint within an epoch does not resume to the bit
        except RuntimeError as error:
            raise UserError(f"trainer: {one_line(error)}") from error
    if num_nodes > 1 and not (LSFEnvironment.detect() or MPIEnvironment.detect()):
        raise UserError(
            f"trainer.num_nodes={num_nodes}: start the command on each machine with torchrun --nnodes={num_nodes}, or "
            f"with srun --nodes={num_nodes}; on one machine use trainer=ddp"
        )
    return []


def check_limits(settings: TrainerSettings, train_batches: int, val_batches: int) -> None:
    """Refuse limits that leave no batch, or a part of an optimiser step, before the run's first files are written.

    Args:
        settings: options of the Trainer.
        train_batches: number of training batches in an epoch.
        val_batches: number of validation batches.

    Raises:
        UserError: a fraction is less than one batch, or no whole number of steps.
    """
    for key, batches in {"limit_train_batches": train_batches, "limit_val_batches": val_batches}.items():
        limit = getattr(settings, key)
        if isinstance(limit, float) and 0 < limit * batches < 1:
            raise UserError(
                f"trainer.{key}={limit}: is less than one batch of {batches}; give a number, such as 1, or more"
            )
    if isinstance(settings.limit_train_batches, float):
        try:
            settings.check_whole_steps(int(settings.limit_train_batches * train_batches))
        except ValueError as error:
            raise UserError(str(error)) from error


@contextmanager
def trainer_errors() -> Iterator[None]:
    """Turn errors of Lightning, its callbacks or an optimiser into a `UserError`; other errors stay as they are."""
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        if _is_complaint(error):
            raise UserError(f"trainer: {one_line(error)}") from error
        if (part := _failed_part(error)) is not None:
            raise UserError(f"{part}: {type(error).__name__}: {one_line(error)}") from error
        raise


def _is_complaint(error: Exception) -> bool:
    """Whether Lightning refuses a setting."""
    if isinstance(error, (TypeError, ValueError, ModuleNotFoundError)):
        return _is_of_lightning(error)
    if isinstance(error, RuntimeError):  # torch raises many; Lightning's are about settings, e.g. an unlogged metric
        return _modules(error)[-1].startswith(LIGHTNING)
    return isinstance(error, MisconfigurationException)


def _is_of_lightning(error: BaseException) -> bool:
    """Whether Lightning raised the error, or torch or an import that Lightning called."""
    callers = [name for name in _modules(error) if not name.startswith(("torch.", "importlib."))]
    return callers[-1].startswith(LIGHTNING)


def _failed_part(error: BaseException) -> str | None:
    """The optimiser, or the callback of Lightning's, that raised an error; None: something else did."""
    for frame, _ in reversed(list(walk_tb(error.__traceback__))):
        module, part = frame.f_globals.get("__name__", ""), frame.f_locals.get("self")
        if isinstance(part, Optimizer) and frame.f_code.co_name == "step":
            return f"optimizer: {type(part).__name__}"
        if isinstance(part, pl.Callback) and module.startswith(LIGHTNING):
            return f"callbacks: {type(part).__name__}"
        if isinstance(part, (pl.Callback, nn.Module)) and not module.startswith("torch."):
            return None
    return None


def _modules(error: BaseException) -> list[str]:
    """The modules of the functions that an error passed through; the last one raised it."""
    return [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
