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

PAUSE = 2.0  # seconds between two looks at the parent process
EXIT_CODE = 1

_busy = threading.Lock()  # held while a job runs
_parent: int | None = None  # process id of the sweep; None: not watched yet


@contextmanager
def job_of_worker() -> Iterator[None]:
    """Around a job: in a worker of joblib whose sweep was killed, the process ends before or after it."""
    if not _is_joblib_worker():
        yield
        return
    _watch_parent()
    with _busy:
        if os.getppid() != _parent:  # a job that joblib had handed over before
            os._exit(EXIT_CODE)
        yield


def _is_joblib_worker() -> bool:
    return type(multiprocessing.current_process()).__module__.startswith("joblib.")


def _watch_parent() -> None:
    """Start the thread that ends this process once its parent has ended and no job runs."""
    global _parent
    if _parent is None:
        _parent = os.getppid()
        threading.Thread(target=_end_with_parent, args=(_parent,), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:  # an orphan gets another parent
        time.sleep(PAUSE)
    with _busy:
        os._exit(EXIT_CODE)
