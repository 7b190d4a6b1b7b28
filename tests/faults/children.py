"""Commands in forked processes, which start in milliseconds, and the seeds of their trials.

``FACEKP_FAULTS=N`` runs N trials of each kind instead of the usual few; ``FACEKP_SEED`` changes their moments.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from hydra.core.global_hydra import GlobalHydra

from facekp.config import command as cli
from facekp.runs.folder import RunFolder
from tests.conftest import TINY

RUN = [*TINY, "trainer.max_epochs=5", "scheduler=onecycle", "optimizer=adamw", "callbacks.ema=0.9"]
CAMPAIGN = "FACEKP_FAULTS" in os.environ  # make faults, which may take longer than make test
TIMEOUT = 120.0  # seconds that a child may take


def trials(usual: int) -> list[int]:
    """A seed per trial."""
    number = int(os.environ.get("FACEKP_FAULTS", usual))
    first = int(os.environ.get("FACEKP_SEED", 0))
    return [1000 * first + trial for trial in range(number)]


class Child:
    """A forked process that runs a command in a folder.

    Args:
        cwd: the folder.
        arguments: of the command.
        prepare: is called in the process first, for example to set a limit.
        command: name of the command; plain arguments are names of photos.
    """

    def __init__(
        self,
        cwd: Path,
        arguments: Sequence[str],
        prepare: Callable[[], None] = lambda: None,
        command: str = "train",
    ) -> None:
        self.command = command
        self.errors = cwd / f"stderr-{time.monotonic_ns()}.txt"
        self.started = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                code = self._run(cwd, arguments, prepare)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)

    def _run(self, cwd: Path, arguments: Sequence[str], prepare: Callable[[], None]) -> int:
        gc.freeze()  # the collector would copy the memory of the test process
        output = os.open(self.errors, os.O_CREAT | os.O_WRONLY)
        sys.stdout = sys.stderr = os.fdopen(os.dup(output), "w", buffering=1)
        os.dup2(output, 1)
        os.dup2(output, 2)
        logging.getLogger().handlers.clear()  # of the tests
        signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
        os.chdir(cwd)
        GlobalHydra.instance().clear()
        names, sys.argv[1:] = cli.split_arguments(self.command, arguments)
        module = import_module(f"facekp.{self.command}")
        main = partial(module.main, names=names) if names else module.main
        prepare()
        try:
            cli.run_command(self.command, main, getattr(module, "rewrite", list))
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    def send(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """The exit code; minus the signal that killed the process."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() - self.started > TIMEOUT:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"the command hangs: {self.stderr()}")
            time.sleep(0.005)

    def stderr(self) -> str:
        """What the command printed."""
        return self.errors.read_text() if self.errors.is_file() else ""


def finish(cwd: Path, folder: str = "r", run: Sequence[str] = RUN) -> None:
    """Resume a run, or start it again where it had not begun."""
    arguments = [f"resume={folder}"] if RunFolder(cwd / folder).has_begun() else [*run, f"out={folder}"]
    child = Child(cwd, arguments)
    assert child.wait() == 0, child.stderr()


def assert_same_run(folder: Path, whole: Path) -> None:
    """Compare a run with an uninterrupted one to the last bit, and look for files that nobody needs."""
    mine, theirs = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (folder, whole))
    assert (mine["epoch"], mine["global_step"]) == (theirs["epoch"], theirs["global_step"])
    for part in ("state_dict", "current_model_state"):
        assert all(torch.equal(value, mine[part][key]) for key, value in theirs[part].items())
    assert (folder / "predictions.csv").read_text() == (whole / "predictions.csv").read_text()
    curves = [pd.read_csv(run / "metrics.csv").drop(columns="minutes") for run in (folder, whole)]
    pd.testing.assert_frame_equal(*curves)
    assert not [*folder.rglob("*.part")]


def moment(seed: int, start: float, end: float) -> float:
    """A random number of seconds between two."""
    return float(np.random.default_rng(seed).uniform(start, end))


def limit_file_sizes(limit: int) -> None:
    """Let no file of this process grow beyond a number of bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
