"""Processes that start with the large packages imported: seconds sooner than a new interpreter.

They are forked from a server process, which imports and does nothing else.
"""

from __future__ import annotations

import atexit
import gc
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

TIMEOUT = 400.0  # seconds of a command
REPOSITORY = str(Path(__file__).resolve().parents[1])

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tests.light_imports", "pytorch_lightning", "hydra.main", "matplotlib.pyplot", "tests.warm"]
)


def run_module(
    name: str, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What ``python -m NAME`` prints and returns.

    Args:
        name: of the module.
        arguments: of the command line.
        cwd: its working directory.
        environment: all of its variables; of those that are read as an interpreter starts, only PYTHONPATH has effect.

    Raises:
        TimeoutExpired: it took too long, and was killed.
    """
    with started_module(name, arguments, cwd, environment) as (process, files):
        process.join(TIMEOUT)
        if process.is_alive():
            raise subprocess.TimeoutExpired([name, *arguments], TIMEOUT)
        printed, errors = (file.read_text() for file in files)
        return subprocess.CompletedProcess([name, *arguments], process.exitcode or 0, printed, errors)


def signal_module(
    name: str, arguments: Sequence[str], cwd: Path, when: Callable[[], object], number: int = signal.SIGKILL
) -> int:
    """Start ``python -m NAME``, send it a signal once a condition holds, and return its exit code.

    Args:
        name: of the module.
        arguments: of the command line.
        cwd: its working directory.
        when: the condition.
        number: of the signal.
    """
    with started_module(name, arguments, cwd, os.environ) as (process, files):
        deadline = time.monotonic() + TIMEOUT
        while not when():
            assert process.is_alive(), f"it ended before the signal: {files[1].read_text()}"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert process.pid is not None
        os.kill(process.pid, number)
        process.join(60)
        assert process.exitcode is not None
        return process.exitcode


@contextmanager
def started_module(
    name: str, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]
) -> Iterator[tuple[BaseProcess, list[Path]]]:
    """A running ``python -m NAME`` and the files of its output and its errors; it is killed at the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, "stdout"), Path(folder, "stderr")]
        process = CONTEXT.Process(target=_run, args=(name, arguments, cwd, dict(environment), files))
        process.start()
        try:
            yield process, files
        finally:
            process.kill()
            process.join()


def _run(name: str, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], files: Sequence[Path]) -> None:
    gc.freeze()  # the collector would copy the memory of the server
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    given = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [str(cwd), *given, *(path for path in sys.path if path not in ("", REPOSITORY))]
    sys.argv = [name, *arguments]
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    finally:  # as an interpreter ends; multiprocessing would first wait for idle workers of joblib
        threading._shutdown()
        atexit._run_exitfuncs()
