"""The last lines of ``make faults`` and ``make fuzz``: how many trials and damaged files facekp survived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FAULTS, FUZZ = "tests/faults/", "tests/fuzz/"


def summary(stats: Mapping[str, list[Any]]) -> Iterator[str]:
    """A line per campaign that was run.

    Args:
        stats: reports by outcome, of pytest's terminal reporter.
    """
    reports = [(outcome, r) for outcome in ("passed", "failed", "error") for r in stats.get(outcome, [])]
    trials = [outcome for outcome, report in reports if report.nodeid.startswith(FAULTS)]
    if trials:
        yield f"faults: survived {trials.count('passed')}/{len(trials)}"
    properties = [pair for _, report in reports for pair in getattr(report, "user_properties", [])]
    counts = [value for name, value in properties if name == "fuzz"]
    if counts:
        files, refused = (sum(count[key] for count in counts) for key in ("inputs", "refused"))
        failed = sum(outcome != "passed" for outcome, report in reports if report.nodeid.startswith(FUZZ))
        yield f"fuzz: {files} damaged files of {len(counts)} kinds, {refused} refused, {failed} kinds failed"
