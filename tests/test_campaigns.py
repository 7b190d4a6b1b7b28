"""The summary counts what was tried and what survived."""

from types import SimpleNamespace

from tests.campaigns import summary


def report(nodeid, **properties):
    return SimpleNamespace(nodeid=nodeid, user_properties=list(properties.items()))


def test_trials_and_damaged_files_are_counted():
    passed = [report("tests/faults/a"), report("tests/faults/b"), report("tests/core/c")]
    fuzzed = report("tests/fuzz/d", fuzz={"inputs": 50, "refused": 40})
    failed = [report("tests/faults/e"), report("tests/fuzz/f", fuzz={"inputs": 5, "refused": 1})]
    stats = {
        "passed": [*passed, fuzzed],
        "failed": failed,
        "error": [report("tests/faults/g"), SimpleNamespace(nodeid="tests")],
    }
    assert list(summary(stats)) == [
        "faults: survived 2/4",
        "fuzz: 55 damaged files of 2 kinds, 41 refused, 1 kinds failed",
    ]
    assert list(summary({"passed": [report("tests/core/c")]})) == []
