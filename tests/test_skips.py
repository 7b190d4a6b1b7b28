"""Skips fail in CI, and nowhere else."""

import pytest

from tests.skips import ALLOWED, fail_if_skipped_in_ci


def skipped(reason):
    place = ("tests/test_x.py", 3, f"Skipped: {reason}")
    return pytest.TestReport("test_x", ("tests/test_x.py", 3, "test_x"), {}, "skipped", place, "call")


@pytest.mark.parametrize(
    ("ci", "reason", "outcome"),
    [
        ("true", "needs Chromium: apt-get install chromium", "failed"),
        ("true", next(iter(ALLOWED)), "skipped"),
        ("false", "needs Chromium: apt-get install chromium", "skipped"),
    ],
)
def test_a_skip_fails_in_ci_unless_it_is_allowed(monkeypatch, ci, reason, outcome):
    monkeypatch.setenv("CI", ci)
    report = skipped(reason)
    fail_if_skipped_in_ci(report)
    assert report.outcome == outcome
    assert reason in str(report.longrepr)


def test_an_expected_failure_is_no_skip(monkeypatch):
    monkeypatch.setenv("CI", "true")
    report = skipped("expected")
    report.wasxfail = "expected"
    fail_if_skipped_in_ci(report)
    assert report.outcome == "skipped"
