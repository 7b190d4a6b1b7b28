"""Signals that ask a command to stop: they raise an exception, so that files are closed. Exit codes are the shell's.

143 after SIGTERM, after SIGHUP, which a closed terminal sends, and after SIGUSR1, which schedulers such as SLURM send
as a notice before the end. 130 after Ctrl+C, for which Python raises KeyboardInterrupt.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATED = 128 + signal.SIGTERM
INTERRUPTED = 128 + signal.SIGINT
NOTICES = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Stopped(SystemExit):
    """A signal stopped this process. ``code`` is `TERMINATED` or `INTERRUPTED`.

    Attributes:
        number: number of the signal, such as 15 for SIGTERM.
    """

    number: int = signal.SIGTERM


@contextmanager
def stop_at_signals() -> Iterator[None]:
    """Raise `Stopped` at `NOTICES` within the block.

    Handlers that are already installed, for example by a launcher, are kept. If a signal causes another error in the
    block, the signal's exception is raised instead.
    """
    main = threading.current_thread() is threading.main_thread()  # only there Python lets handlers be set
    taken = [number for number in NOTICES if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _raise)
    try:
        with stop_before_errors():
            yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def stop_before_errors() -> Iterator[None]:
    """If a signal causes another error in the block, raise the signal's exception instead."""
    try:
        yield
    except Exception as error:
        stop = stop_behind(error)
        if stop is None:
            raise
        raise stop from None


def stop_behind(error: BaseException) -> BaseException | None:
    """The `Stopped` or `KeyboardInterrupt` that caused an error; None if the error has another cause.

    A signal may come while a library is between two lines that belong together. Its clean-up then fails: one in 25
    signals during OmegaConf's merging became an AttributeError. Lightning exits with 1 after a KeyboardInterrupt.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, (KeyboardInterrupt, Stopped)):
        found = found.__context__
    return found


def stop_signals() -> dict[int, int]:
    """The exit code by number of the signals that stop this process by an exception."""
    codes: dict[int, int] = {number: TERMINATED for number in NOTICES if signal.getsignal(number) is _raise}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        codes[signal.SIGINT] = INTERRUPTED
    return codes if threading.current_thread() is threading.main_thread() else {}


def exit_code(stop: BaseException) -> int:
    """The exit code after what `stop_behind` found."""
    return int(stop.code or 0) if isinstance(stop, Stopped) else INTERRUPTED


def _raise(number: int, frame: FrameType | None) -> None:
    stop = Stopped(TERMINATED)
    stop.number = number
    raise stop
