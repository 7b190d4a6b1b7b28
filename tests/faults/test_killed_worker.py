"""A worker of joblib that is killed while it trains: every job of the sweep is trained all the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from facekp.runs.folder import RunFolder
from tests.conftest import TINY
from tests.faults.children import CAMPAIGN

JOBS = ["seed=0,1", "trainer.max_epochs=3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=s"]


def workers(parent: int) -> list[int]:
    """The processes in which joblib trains."""
    children = [
        int(pid) for path in Path(f"/proc/{parent}/task").glob("*/children") for pid in path.read_text().split()
    ]
    return [pid for pid in children if b"popen_loky" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.skipif(not CAMPAIGN, reason="takes minutes: make faults runs it")
def test_the_sweep_goes_on(tmp_path):
    command = [sys.executable, "-m", "facekp.train", "-m", *TINY, *JOBS]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 200
        while not (tmp_path / "s" / "seed-0" / "checkpoints" / "last.ckpt").is_file():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        errors = process.communicate(timeout=400)[1]
    assert process.returncode == 0, errors
    assert "a worker process was killed; the jobs that were running continue one after another: seed-" in errors
    jobs = pd.read_csv(tmp_path / "s" / "sweep.csv")
    assert jobs["status"].tolist() == ["ok"] * 2
    for seed in range(2):
        assert RunFolder(tmp_path / "s" / f"seed-{seed}").read_curves()["epoch"].tolist() == [1, 2, 3]
