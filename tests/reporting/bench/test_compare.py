"""Two benchmarks are compared by ratios: to a baseline where both have it, else of the costs."""

import json

import pytest

from facekp.core.errors import UserError
from facekp.reporting.bench.compare import changes, changes_table, read_results
from facekp.reporting.bench.measurement import Measurement

BEFORE = {
    "date": "2026-11-01",
    "machine": {"cores": 2},
    "measurements": [
        {"name": "memory", "value": None, "unit": "MB"},
        {"name": "difference", "value": 1e-9},
        {"name": "read", "value": 1.0, "unit": "s", "baseline": 20.0},
        {"name": "page", "value": 4.0, "unit": "MB"},
        {"name": "gone", "value": 4.0, "unit": "MB"},
        {"name": "same", "value": 1.0, "unit": "s"},
    ],
}
NOW = [
    Measurement("memory", 3.0, "MB"),
    Measurement("difference", 3e-8),
    Measurement("read", 2.0, "s", baseline=80.0),  # a slower machine: half as slow beside the baseline
    Measurement("page", 8.0, "MB"),
    Measurement("new", 1.0, "s"),
    Measurement("same", 1.05, "s"),
]


def test_what_both_have_is_compared():
    assert changes(NOW, BEFORE) == [("page", 2.0, False), ("same", 1.05, True), ("read", 0.5, True)]


def test_the_table_shows_what_changed_beyond_noise():
    table = changes_table(changes(NOW, BEFORE), BEFORE, {"cores": 2})
    assert [column._cells for column in table.columns] == [
        ["page", "read"],
        ["2.00 times as much", "2.00 times as fast"],
    ]
    assert table.title == "since 2026-11-01 on this machine"
    assert "another machine" in changes_table([], BEFORE, {"cores": 4}).title


def test_a_file_with_an_unknown_figure_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(BEFORE))
    assert read_results(path) == BEFORE


def test_a_cost_of_zero_before_has_no_ratio():
    before = {"measurements": [{"name": "read", "value": 0, "unit": "s", "baseline": 20.0}]}
    assert changes(NOW, before) == [("read", 1.0, True)]


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"measurements": 3},
        {"measurements": [{"name": "a"}]},
        {"measurements": [{"name": "a", "value": 1, "baseline": "x"}]},
    ],
)
def test_another_file_is_refused(content, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"a.json: holds no measurements; give a file that facekp.bench wrote"):
        read_results(path)


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "[" * 100_000, None])
def test_a_file_that_can_t_be_read_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(
        UserError, match=r"compare=.*a.json: can't be read \(.*\); give a file that facekp.bench"
    ) as error:
        read_results(path)
    assert "\n" not in str(error.value)
