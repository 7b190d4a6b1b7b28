"""Threads that each run one task; the caller learns which task has finished."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

JOIN_SECONDS = 30.0  # that `join` waits for all tasks together


class WorkerThreads:
    """Runs tasks in threads. The threads do not keep the process alive when the main thread ends.

    Example:
        >>> threads, done = WorkerThreads(), []
        >>> threads.start("first", lambda: done.append(1))
        >>> threads.next_finished(), done
        ('first', [1])
    """

    def __init__(self) -> None:
        self._finished: SimpleQueue[tuple[str, BaseException | None]] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, name: str, task: Callable[[], object]) -> None:
        """Run a task in a thread.

        Args:
            name: of the task, for `next_finished`.
            task: called without arguments.
        """

        def run() -> None:
            try:
                task()
            except BaseException as error:  # raised again in the caller's thread
                self._finished.put((name, error))
            else:
                self._finished.put((name, None))

        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=run, name=name, daemon=True))
        self._threads[-1].start()

    def next_finished(self) -> str:
        """Wait until a task finishes; its name. An exception of the task is raised."""
        name, error = self._finished.get()
        if error is not None:
            raise error
        return name

    def join(self) -> None:
        """Wait until all tasks have finished, but not longer than `JOIN_SECONDS`; their exceptions are dropped."""
        for thread in self._threads:
            thread.join(JOIN_SECONDS / len(self._threads))
