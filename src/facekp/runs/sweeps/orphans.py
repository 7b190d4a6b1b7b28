"""Workers of joblib whose sweep was killed: they end their job, and then themselves.

Joblib's workers would wait for further jobs of the killed process for ever, each with half a gigabyte of memory.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PAUSE = 2.0  # seconds between checks of the parent process
EXIT_CODE = 1
SWEEP = "FACEKP_SWEEP_PID"  # variable of the environment: the process that started the workers

_busy = threading.Lock()  # held while a job runs
_watched = False


@contextmanager
def job_of_worker() -> Iterator[None]:
    """Around a job: in a worker of joblib whose sweep was killed, the process ends before or after it."""
    if SWEEP not in os.environ or not _is_joblib_worker():
        yield
        return
    _watch_sweep()
    with _busy:
        if _is_orphan():  # a job that joblib had handed over before
            os._exit(EXIT_CODE)
        yield


def _is_joblib_worker() -> bool:
    return type(multiprocessing.current_process()).__module__.startswith("joblib.")


def _is_orphan() -> bool:
    """Whether the sweep has ended: its workers then get another parent."""
    return str(os.getppid()) != os.environ.get(SWEEP)


def _watch_sweep() -> None:
    """Start the thread that ends this process once the sweep has ended and no job runs."""
    global _watched
    if not _watched:
        threading.Thread(target=_end_with_sweep, daemon=True).start()
        _watched = True


def _end_with_sweep() -> None:
    while not _is_orphan():
        time.sleep(PAUSE)
    with _busy:
        os._exit(EXIT_CODE)
