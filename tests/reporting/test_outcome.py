"""What the end of a training says about it."""

import json
import logging

import pytest

from facekp.reporting.outcome import log_outcome
from facekp.runs.folder import RunFolder, RunStatus
from facekp.training.setup import train
from tests.conftest import TINY, settings_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that trains a run beside the others."""
    root = tmp_path_factory.mktemp("runs")
    return lambda name, *overrides: train(settings_of(*TINY, "trainer.max_epochs=1", *overrides), root / name)


def outcome(caplog, train):
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="facekp"):
        metrics = train()
    lines = [r for r in caplog.records if r.name == "facekp.reporting.outcome"]
    return metrics, [(record.levelname, record.message) for record in lines]


def test_a_training_is_compared_with_the_mean_face_and_with_the_last_one(run, caplog):
    first, (bad,) = outcome(caplog, lambda: run("first"))
    baseline = first["mean_face"]["rmse"]
    assert bad[0] == "WARNING"
    assert bad[1].startswith(f"not better than the mean face: RMSE {first['rmse']:.3f} px, mean face {baseline:.3f} px")

    second, (good, change) = outcome(caplog, lambda: run("second", "decoder.floor=1"))  # predicts the mean face
    assert good[1].startswith("not better than the mean face" if second["rmse"] >= baseline else "better than")
    difference = first["rmse"] - second["rmse"]
    assert difference > 1
    assert change[0] == "INFO"
    assert f"better than the last run with the same data by {difference:.3f} px: " in change[1]
    assert change[1].endswith(f"first has {first['rmse']:.3f} px")

    _, lines = outcome(caplog, lambda: run("third", "data.seed=5"))
    assert len(lines) == 1  # other faces


def test_a_job_of_a_sweep_is_compared_with_the_mean_face_only(tiny_run, tmp_path, caplog):
    for name in ("a", "b"):
        job = RunFolder(tmp_path / name)
        job.write_config(RunFolder(tiny_run).read_config())
        job.split.write_bytes((tiny_run / "split.csv").read_bytes())
        job.metrics.write_text(json.dumps({"rmse": 2.0, "mean_face": {"rmse": 4.0}}))
    metrics = job.read_metrics()
    assert [line for _, line in outcome(caplog, lambda: log_outcome(job, metrics))[1]] == [
        "better than the mean face by 50 %: RMSE 2.000 px, mean face 4.000 px",
        f"as good as the last run with the same data: {tmp_path / 'a'} has 2.000 px",
    ]
    job.write_status(RunStatus("running"))
    assert len(outcome(caplog, lambda: log_outcome(job, metrics))[1]) == 1
