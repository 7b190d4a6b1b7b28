"""Metrics and predictions of the best epoch so far, replaced at the end of the run."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback
from torch import distributed

from facekp.functional import metrics
from facekp.runs.folder import RunFolder
from facekp.training.callbacks import validation_results
from facekp.training.callbacks.validation_results import gather_in_order
from facekp.training.setup import train
from tests.conftest import TINY, facekp, settings_of
from tests.forked import CONTEXT, signal_module


def written(folder):
    figures = json.loads((folder / "metrics.json").read_text())
    return figures, pd.read_csv(folder / "predictions.csv")


def rmse_of(rows):
    return np.sqrt(((rows["x"] - rows["true_x"]) ** 2 + (rows["y"] - rows["true_y"]) ** 2).sum() / (2 * len(rows)))


def test_every_epoch_writes_the_results_of_the_best_one_so_far(tmp_path):
    """Read between the epochs, against metrics.csv and the files of the finished run."""
    found = []

    class Reader(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch:
                found.append(written(tmp_path / "run"))

    settings = settings_of(*TINY, "trainer.max_epochs=4", "lr=0.02")
    final = train(settings, tmp_path / "run", callbacks=[Reader()])
    curve = pd.read_csv(tmp_path / "run" / "metrics.csv")["val/rmse"]
    assert len(found) == 3
    for epoch, (figures, rows) in enumerate(found, start=1):
        assert figures["finished"] is False
        assert figures["epochs"] == epoch
        assert figures["rmse"] == pytest.approx(curve[:epoch].min(), rel=1e-4)
        assert rmse_of(rows) == pytest.approx(figures["rmse"], rel=1e-4)
        assert figures["mean_face"] == final["mean_face"]
        assert set(figures) == set(final)
    figures, rows = written(tmp_path / "run")
    assert figures["finished"] is True
    assert figures["rmse"] == pytest.approx(curve.min(), rel=1e-4)
    if curve.idxmin() < 3:  # the last epoch was not better, so the best checkpoint made these predictions
        pd.testing.assert_frame_equal(found[-1][1], rows, rtol=1e-3, atol=2e-3)


def test_a_killed_run_reports_and_is_not_finished(tmp_path):
    folder = tmp_path / "killed"
    given = [*TINY, "trainer.max_epochs=500", f"out={folder}"]
    signal_module("facekp.train", given, tmp_path, (folder / "checkpoints" / "last.ckpt").is_file)
    figures, rows = written(folder)
    assert not RunFolder(folder).is_finished()
    assert list(rows.columns) == (
        ["row", "set", "source", "keypoint", "true_x", "true_y", "x", "y", "confidence", "error"]
    )
    split = pd.read_csv(folder / "split.csv")
    assert set(rows["row"]) == set(split.loc[split["set"] == "val", "row"])
    assert rmse_of(rows) == pytest.approx(figures["rmse"], rel=1e-4)
    epochs = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] + 1
    done = facekp("train", f"resume={folder}", f"trainer.max_epochs={epochs + 1}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert RunFolder(folder).is_finished()


def batches(rank):
    """Rows 0 to 10, alternately for each of two processes."""
    rows = torch.arange(11)[rank::2]
    points = rows[:, None, None] + torch.zeros(len(rows), 3, 2)
    return [(rows[part], points[part], rows[part, None] / 10) for part in (slice(3), slice(3, None))]


def _worker(rank, file, queue):
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    found = gather_in_order(batches(rank))
    if rank == 0:
        queue.put(found)
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_gather_what_one_process_would_have(tmp_path):
    queue = CONTEXT.Queue()
    workers = [CONTEXT.Process(target=_worker, args=(rank, tmp_path / "meet", queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    rows, points, confidence = queue.get(timeout=300)
    for worker in workers:
        worker.join(timeout=60)
    assert rows.tolist() == list(range(11))
    assert points[:, 1, 0].tolist() == list(range(11))
    np.testing.assert_allclose(confidence[:, 0], np.arange(11) / 10)


def test_a_process_without_rows_adds_none(monkeypatch):
    def gather(parts, here):
        parts[:] = [here, []]

    monkeypatch.setattr(validation_results.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(validation_results.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(validation_results.distributed, "all_gather_object", gather)
    assert gather_in_order(batches(1))[0].tolist() == [1, 3, 5, 7, 9]


def test_a_metric_declared_for_every_epoch_is_a_curve_without_being_named_here(tmp_path, monkeypatch):
    """Its value is that of the best epoch's predictions.csv; parts of a metric have a curve each."""

    def worst(scored):
        return {"": np.nanmax(scored.distance), "mean": np.nanmean(scored.distance)}

    declared = metrics.Metric("worst", worst, "worst error", unit="px")
    monkeypatch.setattr(validation_results, "epoch_metrics", lambda: [declared])
    train(settings_of(*TINY, "lr=0.02"), tmp_path / "run")
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
    rows = pd.read_csv(tmp_path / "run" / "predictions.csv")
    best = curves["val/rmse"].idxmin()
    assert curves["val/worst"].notna().all()
    assert curves["val/worst"][best] == pytest.approx(rows["error"].max(), rel=1e-3)
    assert curves["val/worst/mean"][best] == pytest.approx(rows["error"].mean(), rel=1e-3)


def test_the_name_in_checkpoints_is_that_of_version_0_1():
    assert validation_results.ValidationResults(RunFolder("run"), None, None, 0.0).state_key == "Interim"
