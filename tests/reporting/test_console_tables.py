"""The table on the terminal: RMSE by source and keypoint, then the other metrics with their unit and decimals."""

import io

import pandas as pd
import pytest
from rich.console import Console

from facekp.reporting.console_tables import corruptions_table, metrics_table, reliability_table


@pytest.fixture
def metrics():
    baseline = {"rmse": 3.0, "rmse/dense": 3.1, "rmse/nose_tip": 3.2, "nme": 0.06, "rmse/trimmed": 2.9}
    found = {"rmse": 1.23456, "rmse/dense": 1.5, "rmse/sparse": 1.0, "rmse/nose_tip": 2.0, "nme": 0.01234}
    return {**found, "rmse/trimmed": 1.1, "curve": {}, "offset/dense": 0.3, "minutes": 5.0, "mean_face": baseline}


def rows_of(table):
    return [[column._cells[i] for column in table.columns] for i in range(table.row_count)]


def test_rows_and_decimals(metrics, scheme):
    assert rows_of(metrics_table(metrics, scheme, "90 faces")) == [
        ["all", "1.235", "3.000"],
        ["dense", "1.500", "3.100"],
        ["sparse", "1.000", ""],  # the baseline has no such rows
        ["nose_tip", "2.000", "3.200"],
        ["RMSE without the worst 1 %, px", "1.100", "2.900"],
        ["NME", "0.0123", "0.0600"],
    ]


def test_intervals_stand_beside_the_figures_that_have_one(metrics, scheme):
    table = metrics_table({**metrics, "intervals": {"rmse": [1.2, 1.3004], "nme": [0.011, 0.013]}}, scheme, "90 faces")
    rows = {row[0]: row[1:] for row in rows_of(table)}
    assert rows["all"] == ["1.235", "1.200 to 1.300", "3.000"]
    assert rows["NME"] == ["0.0123", "0.0110 to 0.0130", "0.0600"]
    assert rows["nose_tip"] == ["2.000", "", "3.200"]


def test_it_fits_a_terminal(metrics, scheme):
    console = Console(file=io.StringIO(), width=80)
    console.print(metrics_table(metrics, scheme, "90 faces, RMSE in pixels"))
    assert "90 faces, RMSE in pixels" in console.file.getvalue()
    assert "…" not in console.file.getvalue()


def test_each_strength_of_a_corruption_has_a_row_and_no_figure_without_points():
    nothing = (float("nan"),) * 3
    rows = [("none", 0.0, 50, 1.0, 0.9, 1.1), ("noise", 10.0, 50, 1.2, 1.0, 1.3), ("noise", 20.0, 0, *nothing)]
    columns = ["corruption", "strength", "points", "rmse", "rmse/trimmed", "rmse/dense"]
    table = corruptions_table(pd.DataFrame(rows, columns=columns))
    assert [column.header for column in table.columns] == [
        "corruption", "strength", "without worst 1 %", "all", "dense", "points",
    ]  # fmt: skip
    assert rows_of(table) == [
        ["none", "", "0.900", "1.000", "1.100", "50"],
        ["noise", "10 levels", "1.000", "1.200", "1.300", "50"],
        ["", "20 levels", "", "", "", "0"],
    ]


def test_expected_errors_stand_beside_measured_ones():
    table = reliability_table({"points": 9, "expected": [1.0, 2.0], "measured": [1.1, 1.5], "largest_deviation": 0.25})
    assert rows_of(table) == [["1", "1.00", "1.10", "+10%"], ["2", "2.00", "1.50", "-25%"]]
    fitted = "also of faces that calibrate may have fitted on"
    assert table.title == f"9 points of corrupted images, {fitted}: at most 25 % off"


def test_the_largest_deviation_of_expected_errors_is_rounded_up():
    reliability = {"points": 9, "expected": [1.0], "measured": [1.0545], "largest_deviation": 0.0545}
    assert reliability_table(reliability).title.endswith("at most 6 % off")
