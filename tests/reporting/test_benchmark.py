"""The benchmark, at its smallest, measures everything that it names."""

import re

import pytest

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.reporting.bench_settings import BenchSettings
from facekp.reporting.benchmark import Measurement, bench, bench_one_face, benchmark_table, write_example_runs
from facekp.reporting.html.collect import read_runs
from facekp.reporting.startup import StartUp
from tests.conftest import config_of


def bench_settings(*overrides):
    return parse(BenchSettings, config_of(*overrides, name="bench"))


def test_every_line_holds_a_measured_figure_and_the_losses_agree(tmp_path, monkeypatch):
    monkeypatch.setattr("facekp.reporting.benchmark.RUNS", 4)
    monkeypatch.setattr("facekp.reporting.benchmark.HELD_OUT", 40)
    start = StartUp(0.7, 0.9, 5.0, 4.0, 3.0, 2.0)
    monkeypatch.setattr("facekp.reporting.benchmark.measure_startup", lambda scratch: start)
    of_faces = [Measurement("one face", "20.0 CPU ms", "")]
    monkeypatch.setattr("facekp.reporting.benchmark.bench_one_face", lambda ckpt, rounds: of_faces)
    small = ["rounds=1", "steps=1", "threads=1", "row_by_row=10", "model.network.channels=8", "model.network.levels=1"]
    lines = bench(bench_settings(f"data.dir={tmp_path}", *small))
    assert len(lines) == 15
    figures = [float(re.match(r"[\d.e+-]+", line.measured).group()) for line in lines]
    assert all(figure >= 0 for figure in figures)
    assert figures[:5] == [0.7, 0.9, 5.0, 3.0, 2.0]
    assert figures[6] > 5  # 1000 faces are 9 MB
    assert figures[5] > 1  # row by row takes longer
    assert figures[-1] <= 1e-4  # the same loss


def test_the_time_of_one_face_is_given_relative_to_the_slowest_way(monkeypatch):
    times = {"torch, all views": 40.0, "onnx, one view": 5.0}
    monkeypatch.setattr("facekp.reporting.benchmark._in_new_process", lambda task, *given: times)
    first, second = bench_one_face(["shipped"], 1)
    assert first == Measurement("one face on one thread: torch, all views", "40.0 CPU ms", "")
    assert second == Measurement("  onnx, one view: 5.0 CPU ms", "0.125 times as long", "")
    assert bench_one_face(["network.onnx"], 1) == []


def test_a_table_shows_each_measurement():
    table = benchmark_table([Measurement("reading", "2.0 s", "at most 3 s")], threads=2)
    assert table.title == "medians, 2 threads"
    assert [column._cells for column in table.columns] == [["reading"], ["2.0 s"], ["at most 3 s"]]


def test_example_runs_are_runs_that_improve_every_third(tmp_path, faces, example_config):
    write_example_runs(tmp_path, 4, faces, example_config)
    runs, skipped = read_runs([tmp_path])
    assert not skipped
    assert runs[0].name == "run003"
    assert [(run.compared["lr"], run.compared["seed"]) for run in sorted(runs, key=lambda run: run.name)] == [
        (0.001, 0),
        (0.001, 1),
        (0.001, 2),
        (0.002, 0),
    ]


def test_settings_are_checked():
    with pytest.raises(UserError, match="rounds=0: must be at least 1"):
        bench_settings("rounds=0")
    assert bench_settings("ckpt=[a.ckpt,b.onnx]").checkpoints == ["a.ckpt", "b.onnx"]
    assert bench_settings().checkpoints == ["shipped"]
