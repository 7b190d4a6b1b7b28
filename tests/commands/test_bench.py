"""The bench measures what it says, at its smallest."""

import re

from facekp.reporting.benchmark import bench
from tests.conftest import config_of


def test_every_line_holds_a_measured_figure_and_the_losses_agree(tmp_path, monkeypatch):
    monkeypatch.setattr("facekp.reporting.benchmark.RUNS", 4)
    monkeypatch.setattr("facekp.reporting.benchmark.HELD_OUT", 40)
    small = ["rounds=1", "steps=1", "threads=1", "row_by_row=10", "model.network.channels=8", "model.network.levels=1"]
    lines = bench(config_of(f"data.dir={tmp_path}", *small, name="bench"))
    assert len(lines) == 9
    figures = [float(re.match(r"[\d.e+-]+", measured).group()) for _, measured, _ in lines]
    assert all(figure >= 0 for figure in figures)
    assert figures[1] > 5  # 1000 faces are 9 MB
    assert figures[0] > 1  # row by row takes longer
    assert figures[-1] <= 1e-4  # the same loss
