"""A killed worker costs at most its own job."""

import threading
import time
from concurrent.futures.process import BrokenProcessPool

import pytest
from hydra.core.utils import JobReturn, JobStatus

from facekp.core.signals import Stopped
from facekp.runs.folder import RunFolder, RunStatus
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps import killed_workers
from facekp.runs.sweeps.killed_workers import KILLED, LaunchLock, run_joblib_jobs


class Launcher:
    """Trains nothing: writes each job's status. Jobs in ``deadly`` kill their process as often as it says.

    Attributes:
        launched: number of the first job, names of the jobs, and whether alone, of each call.
    """

    def __init__(self, root, deadly):
        self.root, self.deadly, self.launched = root, dict(deadly), []

    def __call__(self, jobs, first, alone):
        self.launched.append((first, [job[0] for job in jobs], alone))
        results = []
        for (name,) in jobs:
            run = RunFolder(self.root / name)
            run.path.mkdir(exist_ok=True)
            if run.read_status().status == "ok":
                continue
            run.write_status(RunStatus("running", "", {"lr": name}))
            if self.deadly.get(name, 0):
                self.deadly[name] -= 1
                raise BrokenProcessPool
            run.write_status(RunStatus("ok", "", {"lr": name}))
            result = JobReturn()
            result.status, result.return_value = JobStatus.COMPLETED, name
            results.append(result)
        return results


def statuses(root):
    return {run.path.name: run.read_status().status for run in SweepFolder(root).jobs()}


def launch(launcher, root, first=0):
    """The results of four jobs."""
    return run_joblib_jobs(launcher, [[name] for name in "abcd"], first, [str(root / name) for name in "abcd"])


def test_without_a_kill_all_jobs_are_launched_at_once(tmp_path):
    launcher = Launcher(tmp_path, {})
    assert [result.return_value for result in launch(launcher, tmp_path, first=3)] == ["a", "b", "c", "d"]
    assert launcher.launched == [(3, ["a", "b", "c", "d"], False)]


def test_a_killed_job_goes_on_alone_and_the_others_follow(tmp_path, caplog):
    launcher = Launcher(tmp_path, {"b": 1})
    results = launch(launcher, tmp_path)
    assert statuses(tmp_path) == dict.fromkeys("abcd", "ok")
    assert launcher.launched == [(0, ["a", "b", "c", "d"], False), (1, ["b"], True), (2, ["c", "d"], False)]
    assert [result.return_value for result in results] == [None, None, "c", "d"]
    assert caplog.messages == ["a worker process was killed; the jobs that were running continue one after another: b"]


def test_a_job_that_is_killed_again_has_failed(tmp_path):
    launch(Launcher(tmp_path, {"b": 2, "d": 1}), tmp_path)
    assert statuses(tmp_path) == {"a": "ok", "b": "failed", "c": "ok", "d": "ok"}
    status = RunFolder(tmp_path / "b").read_status()
    assert (status.message, status.differs) == (KILLED, {"lr": "b"})


def test_workers_that_die_before_a_job_begins_are_no_endless_loop(tmp_path):
    def broken(jobs, first, alone):
        raise BrokenProcessPool

    run_joblib_jobs(broken, [["a"], ["b"]], 0, [str(tmp_path / name) for name in "ab"])
    assert statuses(tmp_path) == {"a": "failed", "b": "failed"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Stopped(143)])
def test_a_stopped_sweep_marks_the_jobs_that_nobody_trains_any_more(tmp_path, stop, monkeypatch, caplog):
    monkeypatch.setattr(killed_workers, "LOCK_TIMEOUT", 0.1)
    for name, status in (("a", "ok"), ("b", "running"), ("c", "running")):
        (tmp_path / name).mkdir()
        RunFolder(tmp_path / name).write_status(RunStatus(status))

    def stopped(jobs, first, alone):
        raise stop

    with RunFolder(tmp_path / "c").locked(), pytest.raises(type(stop)):
        launch(stopped, tmp_path)
    assert statuses(tmp_path) == {"a": "ok", "b": "interrupted", "c": "running"}
    assert caplog.messages[0].startswith(f"{tmp_path}/c: its status is not known")
    assert caplog.messages[1] == f"sweep stopped; continue with sweep.resume={tmp_path}"


def test_a_job_alone_waits_for_others_and_is_not_overtaken():
    lock, order, inside = LaunchLock(), [], threading.Event()

    def launch(name, alone):
        with lock.acquired(alone):
            order.append((name, lock.launching))
            inside.wait(60)

    threads = [threading.Thread(target=launch, args=args) for args in (("a", False), ("b", True), ("c", False))]
    for thread in threads:
        thread.start()
        time.sleep(0.05)  # c comes when b waits already
    inside.set()
    for thread in threads:
        thread.join(60)
    assert order == [("a", 1), ("b", 1), ("c", 1)]
