"""A measurement knows its ratio to the baseline and to the limit."""

import pytest

from facekp.reporting.bench.measurement import Growth, Measurement, growth_table, measurements_table, number


def test_ratios_are_those_of_costs():
    measured = Measurement("encode", 2.0, "ms", baseline=50.0, baseline_name="a loop", limit=0.5, goal="10 times")
    assert (measured.times_as_fast, measured.of_limit) == (25.0, 0.25)
    assert measured.cells() == ("encode", "2 ms", "25 times as fast as a loop", "25%", "10 times")
    assert measured.to_dict() == {
        **{"name": "encode", "value": 2.0, "unit": "ms", "baseline": 50.0},
        **{"baseline_name": "a loop", "limit": 0.5, "goal": "10 times"},
    }


def test_what_there_is_not_is_left_out():
    measured = Measurement("page", 3.0, "MB")
    assert (measured.times_as_fast, measured.of_limit) == (None, None)
    assert measured.cells() == ("page", "3 MB", "", "", "")
    assert measured.to_dict() == {"name": "page", "value": 3.0, "unit": "MB"}


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.01234, "0.0123"), (12.34, "12.3"), (1e6, "1000000")])
def test_numbers_have_about_three_digits(value, text):
    assert number(value) == text


def test_tables_have_a_row_for_each():
    table = measurements_table([Measurement("a", 1.0, "s"), Measurement("b", 2.0, "s")], "medians")
    assert (table.title, table.row_count) == ("medians", 2)
    grown = growth_table([Growth("step", "batch", [1, 4], [0.5, 1.5], "ms")])
    assert [column._cells for column in grown.columns] == [["step"], ["batch"], ["1: 0.5, 4: 1.5"], ["ms"]]
