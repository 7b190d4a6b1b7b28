"""A command that another one waits for gets the signals that stop the other one."""

import os
import signal
import sys
import threading

import pytest

from facekp.core.signals import Stopped, stop_at_signals
from facekp.runs import child_command
from facekp.runs.child_command import wait_for_command

# Writes which signal came, as a training would write its checkpoint, and ends; then the next one kills it.
PATIENT = """
import pathlib, signal, sys, time
def note(number, frame):
    pathlib.Path(sys.argv[1]).write_text(str(number))
    time.sleep({after})
    sys.exit(7)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
    signal.signal(number, note)
print("ready", file=sys.stderr, flush=True)
time.sleep(600)
"""


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """Send a signal to this process once the command is ready; the signal that the command got, and what was raised."""
    monkeypatch.setattr(child_command, "_is_in_foreground", lambda: False)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop(*numbers, after=0.2):
        noted = tmp_path / "signal"

        def send(line):
            for pause, number in enumerate(numbers):
                threading.Timer(0.5 + pause, os.kill, (os.getpid(), number)).start()

        command = [sys.executable, "-c", PATIENT.format(after=after), str(noted)]
        with pytest.raises((Stopped, KeyboardInterrupt)) as raised, stop_at_signals():
            wait_for_command(command, send)
        return signal.Signals(int(noted.read_text())), raised.value

    yield stop
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT], ids=lambda number: number.name)
def test_it_gets_the_same_signal_and_is_waited_for(stopped, number):
    got, raised = stopped(number)
    assert got == number
    assert isinstance(raised, KeyboardInterrupt if number == signal.SIGINT else Stopped)


def test_a_second_signal_kills_it(stopped):
    assert stopped(signal.SIGTERM, signal.SIGTERM, after=60)[0] == signal.SIGTERM


def test_ctrl_c_in_a_terminal_is_not_sent_twice(stopped, monkeypatch, tmp_path):
    monkeypatch.setattr(child_command, "_is_in_foreground", lambda: True)
    sent = []
    process = type("Process", (), {"send_signal": sent.append})
    child_command._pass_on(KeyboardInterrupt(), process)
    assert sent == []
    child_command._pass_on(RuntimeError("mine"), process)
    assert sent == [signal.SIGTERM]


@pytest.mark.parametrize(("code", "expected"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)])
def test_its_exit_code_is_returned_and_its_lines_are_given(code, expected):
    lines = []
    program = f"import os, sys; print('a', 'b', sep=chr(10), file=sys.stderr, flush=True); {code}"
    assert wait_for_command([sys.executable, "-c", program], lines.append) == expected
    assert lines == ["a\n", "b\n"]
