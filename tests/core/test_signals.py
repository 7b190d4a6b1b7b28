"""Signals become exceptions with the shell's exit codes."""

import os
import signal
import threading

import pytest

from facekp.core.signals import Stopped, exit_code, stop_at_signals, stop_before_errors, stop_signals


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


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (Stopped(143), 143)])
def test_what_ended_a_training_has_an_exit_code(stop, code):
    assert exit_code(stop) == code


@pytest.fixture(params=[Stopped(143), KeyboardInterrupt()], ids=lambda stop: type(stop).__name__)
def stop(request):
    return request.param


def fail_after(stop):
    """Fail as a library does whose clean-up is not made for signals."""
    try:
        try:
            raise stop
        finally:
            raise AttributeError("'NoneType' object has no attribute 'key'")
    except AttributeError as error:
        raise ValueError("can't be read") from error


def test_a_signal_is_reported_before_the_errors_to_which_it_led(stop):
    for block in stop_before_errors(), stop_at_signals():
        with pytest.raises(type(stop)) as found, block:
            fail_after(stop)
        assert found.value is stop


def test_an_error_without_a_signal_stays():
    with pytest.raises(ValueError, match="mine") as found, stop_at_signals():
        raise ValueError("mine")
    assert found.value.__cause__ is None
