"""The tables of the page hold the runs' own figures; the summary says which differences are significant."""

import json

import numpy as np
import pytest

from facekp.reporting.html.collect import SkippedRun, read_runs
from facekp.reporting.html.compare import Difference
from facekp.reporting.html.overview import cell, runs_page, summary
from tests.report_page import blocks_of


@pytest.fixture(scope="module")
def runs(example_runs):
    return read_runs([example_runs])[0]


@pytest.fixture(scope="module")
def sections(runs):
    return runs_page(runs, [SkippedRun("killed", "no metrics.json: unfinished")], faces=0, resamples=200)[0]


@pytest.fixture(scope="module")
def blocks(sections):
    return blocks_of(sections)


def test_each_run_has_a_row_with_its_figures(example_runs, blocks):
    rows = {row["name"]: row for row in blocks["runs"]["rows"]}
    assert len(rows) == 9
    for name, row in rows.items():
        metrics = json.loads((example_runs / name / "metrics.json").read_text())
        for key in ("rmse", "nme", "rmse/trimmed", "minutes"):
            assert row[key] == pytest.approx(metrics[key])
        assert row["low"] < row["rmse"] < row["high"]
    labels = [column["label"] for column in blocks["runs"]["columns"]]
    assert {"lr", "seed", "RMSE, px", "NME", "RMSE without the worst 1 %, px"} <= set(labels)
    assert len(labels) == len(set(labels))
    hints = {column["key"]: column["hint"] for column in blocks["runs"]["columns"]}
    assert hints["rmse/trimmed"].endswith("lower is better")


def test_keypoints_and_sources_have_a_column_and_other_metrics_have_none(example_runs, blocks, scheme):
    rows = {row["name"]: row for row in blocks["points"]["rows"]}
    metrics = json.loads((example_runs / "run003" / "metrics.json").read_text())
    assert rows["run003"]["rmse/nose_tip"] == pytest.approx(metrics["rmse/nose_tip"], abs=1e-4)
    assert rows["mean face"]["rmse"] == pytest.approx(metrics["mean_face"]["rmse"])
    assert blocks["points"]["rows"][-1]["apart"]
    titles = [column["label"] for column in blocks["points"]["columns"]]
    assert titles == ["run", "all", "dense", "sparse", *(name.replace("_", " ") for name in scheme.names)]


def test_seeds_are_summarised(blocks):
    rows = {row["name"]: row for row in blocks["runs"]["rows"]}
    group = next(row for row in blocks["groups"]["rows"] if row["name"] == "lr=0.003")
    rmse = [rows[f"run{i:03d}"]["rmse"] for i in (6, 7, 8)]
    assert group["mean"] == pytest.approx(np.mean(rmse))
    assert group["spread"] == pytest.approx(np.std(rmse, ddof=1))
    assert group["repeated"] == "seed 0 1 2"


def test_every_pair_of_runs_and_groups_can_be_compared(blocks, runs):
    versus = blocks["versus"]
    assert len(versus["units"]) == 9 + 3
    assert len(versus["pairs"]) == 12 * 11 / 2
    scores = {score["key"]: score for score in versus["scores"]}
    assert scores["nme"] == {"key": "nme", "label": "NME", "digits": 4}
    assert scores["rmse/nose_tip"]["label"] == "RMSE nose tip, px"
    of_group = versus["units"][9]["metrics"]["rmse"]
    assert of_group == pytest.approx(np.mean([run.metrics["rmse"] for run in runs[:3]]), abs=1e-4)


def test_skipped_folders_are_listed_with_their_reason(sections):
    assert sections[-1]["blocks"][0]["lines"] == ["killed: no metrics.json: unfinished"]


def test_the_summary_says_whether_the_second_run_is_worse(runs):
    bounds = [(1.0, 2.0)] * len(runs)
    better = Difference(images=80, value=-0.5, low=-0.8, high=-0.1, better=0.99)
    first, second, *_ = summary(runs, bounds, {(0, 1): better}, [])
    assert first.startswith(f"Best run: {runs[0].name}, RMSE")
    assert "The difference is significant (+0.500 px, 95 % interval +0.100 to +0.800, 80 images)." in second
    equal = Difference(images=80, value=-0.1, low=-0.4, high=0.2, better=0.7)
    lines = summary(runs, bounds, {(0, 1): equal, (0, 2): equal}, [SkippedRun("a", "b")])
    assert "not significant" in lines[1]
    assert lines[2].startswith("2 of the other 8 runs do not differ significantly")
    assert lines[-1] == "1 folder was skipped; the reasons are below."
    assert "can't be tested" in summary(runs, bounds, {}, [])[1]


def test_a_single_run_has_no_comparison(runs):
    blocks = blocks_of(runs_page(runs[:1], [], faces=0, resamples=100)[0])
    assert not {"versus", "groups", "behind"} & set(blocks)
    assert cell([1, None]) == "[1, none]"
