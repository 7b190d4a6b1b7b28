"""How the benchmark times: both sides of a ratio alternately, medians, and new processes where their state matters."""

from __future__ import annotations

import math
import re
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from pathlib import Path
from statistics import median
from typing import Any

Task = Callable[[], Any]


def seconds(task: Task) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def medians(tasks: Sequence[Task], rounds: int) -> list[float]:
    """Median seconds of each task. All are called once in every round; a round before them warms up.

    Args:
        tasks: what is compared.
        rounds: at least 1.
    """
    for task in tasks:
        task()
    times = [[seconds(task) for task in tasks] for _ in range(rounds)]
    return [median(of_task) for of_task in zip(*times, strict=True)]


def in_new_process(task: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call in a new process, which is ended if a signal stops this one."""
    spawn, ignore = get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches both: one traceback too many
    with ProcessPoolExecutor(1, spawn, signal.signal, ignore) as pool:  # may start others, unlike a Pool's process
        try:
            return pool.submit(task, *arguments).result()
        except BaseException:
            for process in active_children():  # else the pool waits until the task has ended
                process.terminate()
            raise


def memory(name: str) -> float:
    """Megabytes, as Linux counts them for this process; NaN elsewhere.

    The peak of getrusage would include that of the parent before the fork.

    Args:
        name: a line of /proc/self/status, e.g. ``VmHWM`` for the peak.
    """
    status = Path("/proc/self/status")
    match = re.search(rf"{name}:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(match[1]) / 1024 if match else math.nan
