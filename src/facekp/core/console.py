"""Tables, progress and counts on the terminal or in a log file."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

T = TypeVar("T")

LOG_WIDTH = 110  # columns, where stdout is not a terminal

SILENT = 5.0  # seconds of work before its progress is shown

LINES_APART = 10.0  # seconds between lines of progress, where stderr is not a terminal


def show(table: Table) -> None:
    """Print a table to stdout, as wide as the terminal; `LOG_WIDTH` columns wide if stdout is a file or a pipe.

    Texts are shown as they are: a point may be called ``eye[left]``, which rich would take for markup. If the terminal
    was closed, or the program that read the output has ended, the command goes on without output.
    """
    console = Console(width=None if is_terminal() else LOG_WIDTH, markup=False, emoji=False)
    with console.capture() as text:
        console.print(table)
    try:
        print(text.get(), end="", flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):  # EIO: the terminal was closed
            raise
        discard_stdout()


def discard_stdout() -> None:
    """Drop all further output of this process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_terminal() -> bool:
    """Whether stdout is a terminal, where a bar can be shown."""
    return Console().is_terminal


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun in singular or plural.

    Example:
        >>> count(1, "face"), count(0, "face"), count(2, "box", "boxes")
        ('1 face', '0 faces', '2 boxes')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], limit: int = 4, noun: str = "") -> str:
    """Names for a message, the first ones of many.

    Args:
        names: to list.
        limit: how many of them are named.
        noun: what the others are, such as ``points``.

    Example:
        >>> listed(["a", "b", "c"], limit=2), listed(["a", "b"], limit=2)
        ('a, b and 1 more', 'a, b')
    """
    more = f" and {len(names) - limit} more {noun}".rstrip() if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def values_text(values: Mapping[str, Any]) -> str:
    """A mapping of names to values in words.

    Example:
        >>> values_text({"pose": "large", "split": ("train", "val")})
        'pose: large, split: train or val'
    """
    lists = {name: value if isinstance(value, (list, tuple)) else [value] for name, value in values.items()}
    return ", ".join(f"{name}: {' or '.join(map(str, each))}" for name, each in lists.items())


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield the items, and show on stderr how many are done if this takes longer than `SILENT` seconds.

    Args:
        items: are counted as the next one is asked for.
        label: what is being done, e.g. ``predicting``.
        total: number of items; None: ``len(items)`` where they have one.

    Example:
        >>> [number**2 for number in progress(range(3), "squaring")]
        [0, 1, 4]
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with ProgressDisplay(label, total) as display:
        for done, item in enumerate(items, start=1):
            yield item
            display.update(done)


class ProgressDisplay:
    """A context manager that shows progress on stderr.

    A terminal gets a bar, a file or a pipe one line every `LINES_APART` seconds. Nothing is shown within the first
    `SILENT` seconds. While a bar is shown, log lines appear above it.

    Args:
        label: what is being done, e.g. ``predicting``.
        total: amount of work; None: unknown.
    """

    def __init__(self, label: str, total: float | None = None) -> None:
        self.label, self.total = label, total
        self.done = 0.0
        self._started = time.monotonic()
        self._next = self._started + SILENT  # when something is shown next
        self._bar: Progress | None = None
        self._logs = StderrLogs()

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            with suppress(OSError):  # the terminal was closed
                self._bar.stop()
            self._logs.follow()

    def advance(self, amount: float) -> None:
        """Say how much more is done."""
        self.update(self.done + amount)

    def update(self, done: float) -> None:
        """Say how much of ``total`` is done."""
        self.done = done
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)
        elif now >= self._next:
            self._next = now + LINES_APART
            with suppress(OSError):  # the terminal was closed, or the program that read the output has ended
                if sys.stderr.isatty():
                    self._start_bar(done)
                else:
                    print(self._line(done, now - self._started), file=sys.stderr, flush=True)

    def _start_bar(self, done: float) -> None:
        from rich.progress import Progress

        self._logs = StderrLogs()
        self._bar = Progress(console=Console(stderr=True))
        self._bar.add_task(self.label, total=self.total)
        self.update(done)
        self._bar.start()  # replaces sys.stderr
        self._logs.follow()

    def _line(self, done: float, seconds: float) -> str:
        """Progress as one line of a log file."""
        if not self.total:
            return f"{self.label}: {done:.0f} done in {seconds:.0f} s"
        left = seconds * (self.total - done) / done if done else None
        counted = f"{done:.0f} of {self.total:.0f} " if done == int(done) and self.total > 1 else ""
        remaining = "" if left is None else f", about {duration(left)} left"
        percent = f"{done / self.total:.0%}"
        return f"{self.label}: {counted}({percent}){remaining}" if counted else f"{self.label}: {percent}{remaining}"


@contextmanager
def recorded_warnings(shown: bool) -> Iterator[list[str]]:
    """Collects the warnings that facekp logs.

    Args:
        shown: whether they are logged as well.
    """
    messages: list[str] = []
    logger, handler = logging.getLogger("facekp"), logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    propagates = logger.propagate
    logger.addHandler(handler)
    logger.propagate = propagates and shown
    try:
        yield messages
    finally:
        logger.propagate = propagates
        logger.removeHandler(handler)


class StderrLogs:
    """The log handlers that write to stderr. While Rich shows a bar, it replaces stderr to print above it."""

    def __init__(self) -> None:
        handlers = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]
        self.handlers = [handler for handler in handlers if handler.stream is sys.stderr]

    def follow(self) -> None:
        """Let the handlers write to what stderr is now; called after a bar started, and after it ended."""
        for handler in self.handlers:
            handler.setStream(sys.stderr)


def duration(seconds: float) -> str:
    """Seconds up to two minutes, whole minutes up to two hours, otherwise hours.

    Example:
        >>> duration(61.2), duration(120.0), duration(9000.0)
        ('61 s', '2 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
