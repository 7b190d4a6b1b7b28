"""In CI a skipped test fails, unless its reason is allowed here: a missing program must not hide broken tests."""

from __future__ import annotations

import os

import pytest

ALLOWED = {  # the reason's beginning, and why CI may lack it
    "needs the competition's data": "their licence forbids copies in this repository",
    "needs the published system's weights": "they are not part of this repository",
    "needs the right to mount": "containers have none",
    "takes minutes: make faults runs it": "CI runs the fast part of the fault campaign",
    "could not import 'sleap_io'": "the extra sleap is heavy; data=sleap is tried with it by hand",
    "there is a GPU": "the test is about machines without one",
}


def fail_if_skipped_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure where the environment has ``CI=true``."""
    if os.environ.get("CI") != "true" or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(tuple(ALLOWED)):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {reason}\nInstall what is missing, or allow the skip in tests/skips.py"
