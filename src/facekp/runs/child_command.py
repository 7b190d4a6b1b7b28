"""Commands that another command starts and waits for, such as the trainings of an ablation."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

from facekp.core.signals import Stopped, stop_behind


def wait_for_command(
    command: Sequence[str], on_line: Callable[[str], object] | None = None, env: Mapping[str, str] | None = None
) -> int:
    """Start a command and wait until it has ended.

    A signal that stops this process is passed on, so that the command ends as it would by itself: a training ends after
    the batch, and prints how it is resumed. A second signal kills the command.

    Args:
        command: the program and its arguments.
        on_line: is called with each line of the command's stderr; None: the command writes to this process's stderr.
        env: variables of the environment that are added to those of this process.

    Returns:
        its exit code; minus the signal that killed it.
    """
    pipe = None if on_line is None else subprocess.PIPE
    with subprocess.Popen(command, stderr=pipe, text=True, env={**os.environ, **(env or {})}) as process:
        try:
            _follow(process, on_line)
        except BaseException as error:
            _pass_on(error, process)
            try:
                _follow(process, on_line)
            except BaseException:
                process.kill()
                raise
            raise
    return process.returncode


def shell_code(code: int) -> int:
    """The exit code that a shell shows.

    Example:
        >>> shell_code(2), shell_code(-signal.SIGKILL)
        (2, 137)
    """
    return 128 - code if code < 0 else code


def _follow(process: subprocess.Popen[str], on_line: Callable[[str], object] | None) -> None:
    if on_line is not None:
        for line in process.stderr or ():
            on_line(line)
    process.wait()


def _pass_on(error: BaseException, process: subprocess.Popen[str]) -> None:
    stop = stop_behind(error)
    if not isinstance(stop, KeyboardInterrupt):
        process.send_signal(stop.number if isinstance(stop, Stopped) else signal.SIGTERM)
    elif not _is_in_foreground():  # there the terminal has sent Ctrl+C to the command, too
        process.send_signal(signal.SIGINT)


def _is_in_foreground() -> bool:
    """Whether Ctrl+C in the terminal reaches this process and its children."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
