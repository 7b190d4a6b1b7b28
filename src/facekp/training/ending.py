"""How a training that ends early is reported: what is kept, and how it is continued."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytorch_lightning as pl

from facekp.core.errors import CannotWrite, UserError
from facekp.core.signals import Stopped, exit_code
from facekp.runs.folder import RunFolder
from facekp.runs.resume_arguments import resume_text
from facekp.training.callbacks.stopping import StopAtSignal

log = logging.getLogger(__name__)


@contextmanager
def reported_end(run: RunFolder, plugins: Sequence[str], trainer: pl.Trainer, stop: StopAtSignal) -> Iterator[None]:
    """Report a signal or a file that can't be written, and end the other processes of a distributed training.

    Args:
        run: its folder.
        plugins: modules that must be given again to resume the run.
        trainer: of the run.
        stop: whether all processes ended the training together.

    Raises:
        Stopped: a signal came; 130 after Ctrl+C, 143 after SIGTERM or SIGUSR1.
        UserError: a file can't be written; the message names the last good checkpoint.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        if not trainer.is_global_zero:
            raise SystemExit(0) from end  # another code would make Lightning kill the first process
        _end_others(trainer, stop)
        log.warning("stopped; continue with %s", resume_text(run, plugins))
        raise Stopped(exit_code(end)) from end
    except CannotWrite as error:
        _end_others(trainer, stop)
        raise UserError(f"{error}; {_kept(run, plugins)}") from error
    except BaseException:
        _end_others(trainer, stop)
        raise


def _kept(run: RunFolder, plugins: Sequence[str]) -> str:
    """What a resumed run starts from, for messages."""
    if run.last_checkpoint.is_file():
        return f"the last good checkpoint is {run.last_checkpoint}; then continue with {resume_text(run, plugins)}"
    if run.has_begun():
        return f"no epoch was completed; then continue with {resume_text(run, plugins)}"
    return "then start the run again"


def _end_others(trainer: pl.Trainer, stop: StopAtSignal) -> None:
    """Kill the processes that wait for this one; they hold nothing that is not in this one."""
    launcher = trainer.strategy.launcher
    if launcher is not None and not stop.agreed:
        launcher.kill(signal.SIGKILL)
