"""The table on the terminal: RMSE by source and keypoint, then the other metrics with their unit and decimals."""

import io

import pytest
from rich.console import Console

from facekp.reporting.console_tables import metrics_table


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
        ["NME", "0.0123", "0.0600"],
        ["RMSE without the worst 1 %, px", "1.100", "2.900"],
    ]


def test_it_fits_a_terminal(metrics, scheme):
    console = Console(file=io.StringIO(), width=80)
    console.print(metrics_table(metrics, scheme, "90 faces, RMSE in pixels"))
    assert "90 faces, RMSE in pixels" in console.file.getvalue()
    assert "…" not in console.file.getvalue()
