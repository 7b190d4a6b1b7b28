"""How a training that ends early is reported: what is kept, and how it is continued."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytorch_lightning as pl
from torch import distributed

from facekp.config.command import one_line
from facekp.core.errors import CannotWrite, UserError
from facekp.core.signals import Stopped, exit_code, stop_before_errors, stop_behind
from facekp.runs.folder import RunFolder
from facekp.runs.resume_arguments import resume_text
from facekp.training.callbacks.stopping import StopAtSignal

log = logging.getLogger(__name__)
GLOO = "/gloo/"  # in the path of the source file that gloo's errors begin with


@contextmanager
def reported_end(run: RunFolder, plugins: Sequence[str], trainer: pl.Trainer, stop: StopAtSignal) -> Iterator[None]:
    """Report a signal, a file that can't be written or a lost process, and end the others of a distributed training.

    Args:
        run: folder of the training.
        plugins: modules that must be given again to resume the run.
        trainer: of the run.
        stop: whether all processes ended the training together.

    Raises:
        Stopped: a signal came; 130 after Ctrl+C, 143 after SIGTERM, SIGHUP or SIGUSR1.
        UserError: a file can't be written, or another process of the training has ended; the message names the last
            good checkpoint.
    """
    try:
        with stop_before_errors():
            yield
    except (KeyboardInterrupt, SystemExit) as end:
        signalled = stop_behind(end)
        if signalled is None:  # sys.exit in a plug-in
            _end_others(trainer, stop)
            raise
        if not trainer.is_global_zero:
            raise SystemExit(0) from end  # another code would make Lightning kill the first process
        _end_others(trainer, stop)
        log.warning("stopped; continue with %s", resume_text(run, plugins))
        raise Stopped(exit_code(signalled)) from end
    except CannotWrite as error:
        _end_others(trainer, stop)
        raise UserError(f"{error}; {_kept(run, plugins)}") from error
    except BaseException as error:
        _end_others(trainer, stop)
        if _has_lost_process(error):
            raise UserError(f"{_lost_process(error, trainer.global_rank)}; {_kept(run, plugins)}") from error
        raise


def _has_lost_process(error: BaseException) -> bool:
    """Whether the error says that another process can't be reached; gloo raises it as a plain RuntimeError."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and GLOO in str(error))


def _lost_process(error: BaseException, rank: int) -> str:
    """What happened, for messages: without the source line of gloo and its advice.

    Example:
        >>> _lost_process(RuntimeError("[/gloo/transport/tcp/pair.cc:5] Read error [10.0.0.2]:1. This is ..."), 0)
        'rank 0 lost another process of this training (Read error [10.0.0.2]:1); see the messages of the other ranks'
    """
    reason = re.sub(r"^\[\S+\] ", "", one_line(error)).partition(". ")[0]
    return f"rank {rank} lost another process of this training ({reason}); see the messages of the other ranks"


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
