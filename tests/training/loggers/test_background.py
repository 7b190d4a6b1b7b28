"""Calls in a background thread: their order, what a failure costs, and how long the end waits."""

import logging
import threading
import time

import pytest

from facekp.training.loggers.background import BackgroundCaller, first_line


def test_calls_are_made_in_order_and_send_returns_at_once():
    release, calls = threading.Event(), []
    caller = BackgroundCaller("service", on_failure=lambda: None)
    started = time.monotonic()
    caller.send(lambda: release.wait(60))
    for i in range(5):
        caller.send(lambda i=i: calls.append(i))
    assert time.monotonic() - started < 30
    release.set()
    assert caller.wait(60)
    assert calls == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("error", [RuntimeError("down\nmore"), SystemExit("down"), KeyboardInterrupt("down")])
def test_a_failure_is_one_warning_and_skips_all_later_calls(error, caplog):
    def fail():
        raise error

    calls = []
    caller = BackgroundCaller("service", on_failure=lambda: calls.append("failed"))
    caller.send(fail)
    caller.send(lambda: calls.append("later"))
    caller.send(fail)
    assert caller.wait(60)
    assert calls == ["failed"]
    assert [record.message for record in caplog.records] == ["service: down; the training continues without it"]


def test_a_failure_of_the_clean_up_is_not_shown(caplog):
    def fail():
        raise RuntimeError("down")

    caller = BackgroundCaller("service", on_failure=fail)
    with caplog.at_level(logging.WARNING):
        caller.send(fail)
        assert caller.wait(60)
    assert len(caplog.records) == 1


def test_a_call_that_hangs_is_left_behind_and_its_later_failure_is_not_shown(caplog):
    release = threading.Event()

    def hang():
        release.wait(60)
        raise RuntimeError("too late")

    caller = BackgroundCaller("service", on_failure=lambda: None)
    caller.send(hang)
    assert not caller.wait(0.1)
    release.set()
    caller.thread.join(60)
    assert not caplog.records


def test_the_first_line_of_an_error():
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
