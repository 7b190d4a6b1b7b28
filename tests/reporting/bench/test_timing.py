"""Timing: a new process ends with the one that waits for it."""

import os
import signal
import time

import pytest

from facekp.core.signals import Stopped, stop_at_signals
from facekp.reporting.bench.timing import in_new_process


def stop_the_parent_and_wait():
    os.kill(os.getpid(), signal.SIGINT)  # of Ctrl+C, which a terminal sends to both
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)


def test_a_signal_ends_the_new_process_at_once():
    start = time.monotonic()
    with pytest.raises(Stopped), stop_at_signals():
        in_new_process(stop_the_parent_and_wait)
    assert time.monotonic() - start < 30
