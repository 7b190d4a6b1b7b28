"""Jobs on Ray, without Ray: killed workers, signals, errors, what a worker does. `make ray-check` has a real Ray."""

import os
import signal
import sys
from concurrent.futures import Future
from types import ModuleType, SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from facekp.config.location import CONF_DIR
from facekp.config.trust import check_config
from facekp.core.errors import UserError
from facekp.core.signals import Stopped
from facekp.runs.folder import RunFolder, RunStatus
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps import ray_tasks
from facekp.runs.sweeps.killed_workers import KILLED
from facekp.runs.sweeps.ray_tasks import RayTasks, WorkerKilled, run_ray_jobs, train_in_worker
from hydra_plugins.facekp_ray import RayLauncher


def config_of_job(root, name):
    return OmegaConf.create({"lr": name, "hydra": {"sweep": {"dir": str(root), "subdir": name}, "job": {}}})


def ended(value):
    result = JobReturn()
    result.status, result.return_value = JobStatus.COMPLETED, value
    return result


class FakeTasks:
    """Trains nothing: each job ends at once. ``outcomes`` has what happens to a job, attempt by attempt."""

    def __init__(self, root, outcomes):
        self.root, self.outcomes, self.started, self.cancelled = root, outcomes, [], []

    def start(self, config):
        name = config.hydra.sweep.subdir
        self.started.append(name)
        run = RunFolder(self.root / name)
        run.path.mkdir(exist_ok=True)
        attempts = self.outcomes.get(name, [])
        outcome = attempts.pop(0) if attempts else "ok"
        run.write_status(RunStatus("ok" if outcome in ("ok", "killed afterwards") else "running", "", {"lr": name}))
        job = Future()
        job.name, job.outcome = name, outcome
        if outcome != "endless":
            job.set_result(None)
        return job

    def result(self, job):
        if isinstance(job.outcome, BaseException):
            raise job.outcome
        if job.outcome.startswith("killed"):
            raise WorkerKilled("its worker was killed")
        return ended(job.name)

    def cancel(self, jobs):
        self.cancelled += [job.name for job in jobs]


def launch(tasks):
    """The results of four jobs."""
    return [result.return_value for result in run_ray_jobs(tasks, [config_of_job(tasks.root, name) for name in "abcd"])]


def statuses(root):
    return {run.path.name: run.read_status().status for run in SweepFolder(root).jobs()}


def test_all_jobs_start_at_once_and_results_keep_their_order(tmp_path):
    tasks = FakeTasks(tmp_path, {})
    assert launch(tasks) == ["a", "b", "c", "d"]
    assert tasks.started == ["a", "b", "c", "d"]


def test_a_killed_worker_s_job_alone_is_tried_again(tmp_path, caplog):
    tasks = FakeTasks(tmp_path, {"b": ["killed"]})
    assert launch(tasks) == ["a", "b", "c", "d"]
    assert tasks.started == ["a", "b", "c", "d", "b"]
    assert caplog.messages == ["b: its worker was killed; the job is tried again"]


def test_a_job_whose_worker_is_killed_again_has_failed_and_the_others_end(tmp_path):
    tasks = FakeTasks(tmp_path, {"b": ["killed", "killed"]})
    assert launch(tasks) == ["a", None, "c", "d"]
    assert statuses(tmp_path) == {"a": "ok", "b": "failed", "c": "ok", "d": "ok"}
    status = RunFolder(tmp_path / "b").read_status()
    assert (status.message, status.differs) == (KILLED, {"lr": "b"})


def test_a_job_that_was_finished_when_its_worker_was_killed_stays_finished(tmp_path):
    launch(FakeTasks(tmp_path, {"b": ["killed", "killed afterwards"]}))
    assert statuses(tmp_path) == dict.fromkeys("abcd", "ok")


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Stopped(143), SystemExit(2), UserError("versions differ")])
def test_a_sweep_that_stops_ends_its_other_jobs(tmp_path, stop, caplog):
    tasks = FakeTasks(tmp_path, {"a": [stop], "b": ["endless"], "c": ["endless"]})
    with pytest.raises(type(stop)):
        launch(tasks)
    assert {"b", "c"} <= set(tasks.cancelled)
    assert statuses(tmp_path) == {"a": "interrupted", "b": "interrupted", "c": "interrupted", "d": "ok"}
    assert caplog.messages[-1] == f"sweep stopped; continue with sweep.resume={tmp_path}"


@pytest.fixture
def fake_ray(monkeypatch):
    """A module that stands for Ray. It keeps the arguments of its calls; `init` takes SIGTERM, as Ray does."""
    ray, exceptions = ModuleType("ray"), ModuleType("ray.exceptions")
    ray.exceptions, ray.cancelled = exceptions, []
    names = ("OutOfMemoryError", "NodeDiedError", "LocalRayletDiedError", "ObjectLostError", "WorkerCrashedError")
    for name in names:
        setattr(exceptions, name, type(name, (Exception,), {}))

    def init(**arguments):
        ray.arguments = arguments
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if arguments.get("address") == "nowhere":
            raise ConnectionError("no Ray at nowhere")

    def remote(**options):
        ray.options = options
        return lambda function: SimpleNamespace(remote=lambda *arguments: SimpleNamespace(future=Future))

    ray.init, ray.remote = init, remote
    ray.cluster_resources = lambda: {"CPU": 2.0}
    ray.cancel = lambda reference, force=False: ray.cancelled.append(force)
    for name, module in (("ray", ray), ("ray.exceptions", exceptions)):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ray_tasks.VARIABLES:
        monkeypatch.setenv(name, "0")
    before = signal.getsignal(signal.SIGTERM)
    yield ray
    signal.signal(signal.SIGTERM, before)


def tasks_of(init=None, remote=None):
    return RayTasks(None, None, init or {"address": "local", "num_cpus": None}, remote or {"num_cpus": 1})


def test_only_what_is_set_reaches_ray_and_signals_keep_their_handlers(fake_ray):
    before = signal.getsignal(signal.SIGTERM)
    tasks_of({"address": "auto", "num_cpus": None}, {"num_cpus": 1, "num_gpus": None})
    assert set(fake_ray.arguments) == {"address", "logging_level", "ignore_reinit_error"}
    assert fake_ray.options == {"num_cpus": 1, "max_retries": 0}
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_ray_can_t_give_is_a_user_error(fake_ray):
    with pytest.raises(UserError, match=r"hydra\.launcher\.ray\.init=\{'address': 'nowhere'\}: no Ray at nowhere"):
        tasks_of({"address": "nowhere"})
    with pytest.raises(UserError, match=r"remote\.num_gpus=1: Ray has 0 on this machine; give less"):
        tasks_of(remote={"num_cpus": 1, "num_gpus": 1})


def test_what_became_of_a_task(fake_ray):
    tasks, lost = tasks_of(), fake_ray.exceptions

    def outcome(value):
        job = tasks.start(None)
        job.set_exception(value) if isinstance(value, Exception) else job.set_result(value)
        return tasks.result(job)

    assert outcome(ended("a")).return_value == "a"
    with pytest.raises(SystemExit, match="2"):
        outcome(2)
    with pytest.raises(WorkerKilled, match="memory ran out"):
        outcome(lost.OutOfMemoryError())
    for error in (lost.WorkerCrashedError(), lost.NodeDiedError()):
        with pytest.raises(WorkerKilled):
            outcome(error)
    with pytest.raises(UserError, match=r"can't run a job: No module named 'facekp'; install the same versions"):
        outcome(ModuleNotFoundError("No module named 'facekp'"))


def test_stopping_interrupts_a_job_and_kills_it_if_it_does_not_end(fake_ray, monkeypatch):
    monkeypatch.setattr(ray_tasks, "LOCK_TIMEOUT", 0.01)
    tasks = tasks_of()
    job = tasks.start(None)
    tasks.stop()
    assert fake_ray.cancelled == [False, True]
    job.set_exception(fake_ray.exceptions.WorkerCrashedError())
    with pytest.raises(KeyboardInterrupt):
        tasks.result(job)
    with pytest.raises(KeyboardInterrupt):
        tasks.start(None)


def test_a_job_that_has_ended_meanwhile_is_not_cancelled(fake_ray):
    tasks = tasks_of()
    ended, running = tasks.start(None), tasks.start(None)
    del tasks._references[ended]  # by a thread that has its result
    running.set_result(None)
    tasks.cancel([ended, running])
    assert fake_ray.cancelled[:1] == [False]


@pytest.mark.parametrize(("code", "ends_the_worker"), [(2, False), (130, True), (143, True)])
def test_a_worker_ends_after_a_signal_but_not_after_a_mistake(monkeypatch, tmp_path, code, ends_the_worker):
    seen = []

    def run_job(**_):
        seen.append(os.getcwd())
        sys.exit(code)

    monkeypatch.setattr(ray_tasks, "run_job", run_job)
    monkeypatch.setattr(ray_tasks, "HydraConfig", SimpleNamespace(instance=lambda: SimpleNamespace(set_config=id)))
    monkeypatch.setattr(ray_tasks, "Singleton", SimpleNamespace(set_state=id))
    monkeypatch.chdir(os.getcwd())
    if ends_the_worker:
        with pytest.raises(SystemExit):
            train_in_worker(None, None, None, {}, str(tmp_path))
    else:
        assert train_in_worker(None, None, None, {}, str(tmp_path)) == code
    assert seen == [str(tmp_path)]


def test_the_launcher_s_config_is_allowed_and_jobs_are_numbered(fake_ray, monkeypatch):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        cfg = compose("train", ["hydra/launcher=ray"], return_hydra_config=True)
    check_config(cfg)
    launcher = RayLauncher(cfg.hydra.launcher.ray)
    loader = SimpleNamespace(load_sweep_config=lambda config, overrides: config_of_job(".", overrides[0]))
    launcher.setup(hydra_context=SimpleNamespace(config_loader=loader), task_function=None, config=cfg)
    assert fake_ray.arguments["address"] == "local"
    given = []
    monkeypatch.setattr(ray_tasks, "run_ray_jobs", lambda tasks, configs, plugins: given.extend(configs))
    launcher.launch([["a"], ["b"]], initial_job_idx=3)
    assert [(config.lr, config.hydra.job.num) for config in given] == [("a", 3), ("b", 4)]
    launcher.stop()
