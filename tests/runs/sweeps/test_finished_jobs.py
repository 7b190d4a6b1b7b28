"""A resumed sweep reads the results of finished jobs, and launches the others."""

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus

from facekp.runs.folder import RunStatus
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.finished_jobs import launch_unfinished
from facekp.runs.sweeps.sweep import RESUMING, RESUMING_SWEEPER, begin_sweep
from tests.runs.conftest import begin_job

JOBS = [["lr=1", "seed=0"], ["lr=2", "seed=0"], ["lr=3", "seed=0"], ["lr=4", "seed=0"]]


@pytest.fixture
def sweep(tmp_path):
    """lr-1 and lr-3 are finished, lr-2 has failed, lr-4 has damaged metrics."""
    folder = SweepFolder(tmp_path)
    for name, status in (("lr-1", "ok"), ("lr-2", "failed"), ("lr-3", "ok"), ("lr-4", "ok")):
        job = folder.job(name)
        job.path.mkdir()
        job.write_status(RunStatus(status, "", {}))
        job.write_metrics({"rmse": float(name[-1])})
    folder.job("lr-4").metrics.write_text("{")
    return folder


def test_only_unfinished_jobs_are_launched_and_results_keep_their_order(sweep, caplog):
    caplog.set_level("INFO")
    launched = []

    def launch(jobs, first):
        launched.append((list(jobs), first))
        return [JobReturn(status=JobStatus.COMPLETED, _return_value={"rmse": 9.0}) for _ in jobs]

    results = launch_unfinished(launch, JOBS, 5, str(sweep), ["seed"], [])
    assert launched == [([JOBS[1], JOBS[3]], 5)]
    assert [result.return_value["rmse"] for result in results] == [1.0, 9.0, 3.0, 9.0]
    assert "skipped: 2 of 4 jobs are already finished" in caplog.messages


def test_nothing_is_launched_where_all_is_finished(sweep):
    results = launch_unfinished(None, [JOBS[0], JOBS[2]], 0, str(sweep), ["seed"], [])
    assert [result.return_value["rmse"] for result in results] == [1.0, 3.0]


def test_a_resumed_sweep_s_launcher_is_around_the_chosen_one(multirun, tmp_path):
    new = multirun(tmp_path, "lr=1,2")
    begin_sweep(new).close()
    assert new.hydra.launcher._target_ != RESUMING
    assert new.hydra.sweeper._target_ != RESUMING_SWEEPER
    begin_job(tmp_path / "lr-1")
    again = multirun(tmp_path, "lr=1,2")
    begin_sweep(again).close()
    assert again.hydra.launcher._target_ == RESUMING
    assert again.hydra.sweeper._target_ == RESUMING_SWEEPER
    sweeper = Plugins.instance().instantiate_sweeper(hydra_context=None, task_function=None, config=again)
    sweeper.validate_batch_is_legal([["not valid"]])  # no job is composed before the first one starts
    launcher = sweeper.launcher
    assert type(launcher.launcher).__name__ == "BasicLauncher"
    assert "lr" not in launcher.shared


def test_folders_that_are_named_otherwise_are_not_guessed(multirun, tmp_path):
    begin_sweep(multirun(tmp_path, "lr=1,2")).close()
    begin_job(tmp_path / "lr-1")
    config = multirun(tmp_path, "lr=1,2")
    config.hydra.sweep.subdir = "${hydra.job.num}"
    begin_sweep(config).close()
    assert config.hydra.launcher._target_ != RESUMING
