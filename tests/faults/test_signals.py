"""A training that a signal ends at a random moment has the right exit code, and is resumed to the bit."""

import signal
import time

import pandas as pd
import pytest

from facekp.runs.folder import RunFolder
from facekp.runs.sweep_folder import SweepFolder
from tests.conftest import TINY
from tests.faults.children import CAMPAIGN, RUN, Child, assert_same_run, finish, moment, trials

CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGINT: 130, signal.SIGKILL: -9}


@pytest.mark.parametrize("seed", trials(1))
@pytest.mark.parametrize("how", CODES, ids=lambda number: number.name)
def test_a_training_is_stopped_and_resumed(tmp_path, whole, how, seed):
    reference, seconds = whole
    child = Child(tmp_path, [*RUN, "out=r"])
    time.sleep(moment(seed, 0.3, 1.0) * seconds)
    child.send(how)
    code = child.wait()
    assert code in (CODES[how], 0), child.stderr()  # 0: it had just ended
    assert "Traceback" not in child.stderr()
    run = RunFolder(tmp_path / "r")
    if code in (130, 143) and run.has_begun() and not run.is_finished():
        assert "stopped; continue with resume=r" in child.stderr()
    finish(tmp_path)
    assert_same_run(tmp_path / "r", reference)


@pytest.mark.parametrize("seed", trials(1))
@pytest.mark.parametrize("how", CODES if CAMPAIGN else [signal.SIGTERM], ids=lambda number: number.name)
def test_a_sweep_is_stopped_and_resumed(tmp_path, whole, how, seed):
    jobs = [*TINY, "trainer.max_epochs=3", "seed=0,1,2", "hydra.sweep.dir=s"]
    child = Child(tmp_path, ["-m", *jobs])
    time.sleep(moment(seed, 0.5, 2.0) * whole[1])
    child.send(how)
    code = child.wait()
    assert code in (CODES[how], 0), child.stderr()
    sweep = SweepFolder(tmp_path / "s")
    if code in (130, 143):
        assert {job.read_status().status for job in sweep.jobs()} <= {"ok", "interrupted"}
    resumed = Child(tmp_path, ["sweep.resume=s"] if sweep.settings.is_file() else ["-m", *jobs])
    assert resumed.wait() == 0, resumed.stderr()
    assert pd.read_csv(sweep.table)["status"].tolist() == ["ok"] * 3
    for job in sweep.jobs():
        assert job.read_curves()["epoch"].tolist() == [1, 2, 3]
