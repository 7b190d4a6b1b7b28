"""Signals become exceptions with the shell's exit codes."""

import os
import signal
import threading

import pytest

from facekp.core.signals import Stopped, exit_code, stop_at_signals, stop_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_notice_raises_within_the_block_and_the_handler_is_put_back(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stop, stop_at_signals():
        os.kill(os.getpid(), number)
    assert stop.value.code == exit_code(stop.value) == 143
    assert signal.getsignal(number) is before


def test_other_handlers_stay(monkeypatch):
    def mine(number, frame):
        pass

    before = signal.signal(signal.SIGUSR1, mine)
    try:
        with stop_at_signals():
            assert signal.getsignal(signal.SIGUSR1) is mine
            assert signal.SIGUSR1 not in stop_signals()
            assert stop_signals()[signal.SIGTERM] == 143
        assert signal.SIGTERM not in stop_signals()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_another_thread_sets_no_handlers():
    found = []

    def look():
        with stop_at_signals():
            found.append(stop_signals())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [{}]


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (SystemExit(1), 130), (Stopped(143), 143)])
def test_what_ended_a_training_has_an_exit_code(stop, code):
    assert exit_code(stop) == code
