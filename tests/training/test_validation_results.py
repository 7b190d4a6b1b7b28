"""A run tells before it is over: figures and predictions of its best epoch so far, replaced at its end."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback
from torch import distributed, multiprocessing

from facekp.runs import sequence as chain
from facekp.training import setup as module
from facekp.training.validation_results import in_order
from tests.conftest import TINY, config_of, facekp


def told(folder):
    figures = json.loads((folder / "metrics.json").read_text())
    return figures, pd.read_csv(folder / "predictions.csv")


def rmse_of(rows):
    return np.sqrt(((rows["x"] - rows["true_x"]) ** 2 + (rows["y"] - rows["true_y"]) ** 2).sum() / (2 * len(rows)))


def test_every_epoch_leaves_the_best_one_s_figures_and_predictions(tmp_path, monkeypatch):
    """Read between the epochs, against metrics.csv and the files of the finished run."""
    seen = []

    class Reader(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch:
                seen.append(told(tmp_path / "run"))

    original = module.build_callbacks
    monkeypatch.setattr(module, "build_callbacks", lambda *a: [*original(*a), Reader()])
    final = module.train(config_of(*TINY, "trainer.max_epochs=4", "lr=0.02"), tmp_path / "run")
    curve = pd.read_csv(tmp_path / "run" / "metrics.csv")["val/rmse"]
    assert len(seen) == 3
    for epoch, (figures, rows) in enumerate(seen, start=1):
        assert figures["finished"] is False
        assert figures["epochs"] == epoch
        assert figures["rmse"] == pytest.approx(curve[:epoch].min(), rel=1e-4)
        assert rmse_of(rows) == pytest.approx(figures["rmse"], rel=1e-4)
        assert figures["mean_face"] == final["mean_face"]
        assert set(figures) == set(final)
    figures, rows = told(tmp_path / "run")
    assert figures["finished"] is True
    assert figures["rmse"] == pytest.approx(curve.min(), rel=1e-4)
    if curve.idxmin() < 3:  # the last epoch was no better: what stood there is what the best checkpoint answers
        pd.testing.assert_frame_equal(seen[-1][1], rows, rtol=1e-3, atol=2e-3)


def test_a_killed_run_reports_and_is_not_finished(tmp_path):
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "facekp.train", *TINY, "trainer.max_epochs=500", f"out={folder}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 300
    while not (folder / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    figures, rows = told(folder)
    assert not chain.is_finished(folder)
    assert list(rows.columns) == (
        ["row", "set", "source", "keypoint", "true_x", "true_y", "x", "y", "confidence", "error"]
    )
    split = pd.read_csv(folder / "split.csv")
    assert set(rows["row"]) == set(split.loc[split["set"] == "val", "row"])
    assert rmse_of(rows) == pytest.approx(figures["rmse"], rel=1e-4)
    epochs = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] + 1
    done = facekp("train", f"resume={folder}", f"trainer.max_epochs={epochs + 1}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert chain.is_finished(folder)


def batches(rank):
    """Rows 0 to 10 dealt out over two processes."""
    rows = torch.arange(11)[rank::2]
    points = rows[:, None, None] + torch.zeros(len(rows), 3, 2)
    return [(rows[part], points[part], rows[part, None] / 10) for part in (slice(3), slice(3, None))]


def _worker(rank, file, queue):
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    found = in_order(batches(rank))
    if rank == 0:
        queue.put(found)
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_gather_what_one_would_see(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_worker, args=(rank, tmp_path / "meet", queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    rows, points, confidence = queue.get(timeout=300)
    for worker in workers:
        worker.join(timeout=60)
    assert rows.tolist() == list(range(11))
    assert points[:, 1, 0].tolist() == list(range(11))
    np.testing.assert_allclose(confidence[:, 0], np.arange(11) / 10)
