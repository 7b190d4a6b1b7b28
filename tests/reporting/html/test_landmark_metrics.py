"""Metrics of landmark papers in the report: each run's figures with their intervals, and a row for each subset."""

from dataclasses import replace

import numpy as np
import pytest

from facekp.functional.metrics import ScoreSettings
from facekp.models.scoring import metric_input, score_predictions
from facekp.reporting.html.collect import read_runs
from facekp.reporting.html.landmark_metrics import landmarks_section, subsets_section


@pytest.fixture(scope="module")
def figures(faces):
    """Of faces with a box and two attributes, as metrics.json holds them."""
    pose = np.where(np.arange(len(faces)) % 3 == 0, "large", "small")
    box = np.tile(np.array([0, 0, 50, 72], np.float32), (len(faces), 1))
    table = replace(faces, attributes={"pose": pose}, box=box)
    points = np.nan_to_num(faces.points) + np.float32(2)
    return score_predictions(metric_input(points, table, ScoreSettings(thresholds=[0.1], resamples=200)), faces)


@pytest.fixture(scope="module")
def runs(example_runs, figures):
    first, second, *_ = read_runs([example_runs])[0]
    return [replace(first, metrics={**first.metrics, **figures}), second]


def test_figures_stand_beside_their_intervals(runs, figures):
    (table,) = landmarks_section(runs)["blocks"]
    assert [column["label"] for column in table["columns"]][:5] == ["run", "NME", "95 %", "NME by box", "95 %"]
    first, second = table["rows"]
    assert first["nme/box"] == pytest.approx(np.hypot(2, 2) / 60)  # the root of the label file's box
    low, high = figures["intervals"]["nme"]
    assert first["interval nme"] == f"{low:.4f} to {high:.4f}"
    assert first["auc/0.10"] == figures["auc/0.10"]
    assert second["interval nme"] == ""  # a run of an older version has none
    hints = {column["key"]: column["hint"] for column in table["columns"]}
    assert hints["auc/0.10"].endswith("higher is better")


def test_each_subset_has_a_row_for_each_run_that_has_it(runs, figures):
    (table,) = subsets_section(runs)["blocks"]
    assert [(row["name"], row["subset"]) for row in table["rows"]] == [
        (runs[0].short_name, "pose=large"),
        (runs[0].short_name, "pose=small"),
    ]
    assert [column["label"] for column in table["columns"]][:4] == ["run", "subset", "faces", "NME"]
    large = table["rows"][0]
    assert large["faces/subset"] == figures["faces/subset/pose=large"]
    assert large["rmse/subset"] == pytest.approx(2)
    assert large["interval nme/subset"].count(" to ") == 1


def test_runs_without_such_figures_have_no_section(runs):
    plain = [replace(run, metrics={"rmse": 1.0, "mean_face": {}}) for run in runs]
    assert landmarks_section(plain)["blocks"] == []
    assert subsets_section(plain)["blocks"] == []
