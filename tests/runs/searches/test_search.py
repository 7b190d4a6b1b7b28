"""Searches: what becomes of trials, resuming after a kill, and sweeps whose jobs run in other processes."""

import json
import os
import shutil
import signal
import threading
import time
from copy import deepcopy
from functools import cache
from types import SimpleNamespace

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.runs.folder import RunFolder
from facekp.runs.searches import search
from facekp.runs.searches.study import open_study
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.job_names import register_job_name
from hydra_plugins.facekp_search import OptunaSweeper
from tests.conftest import TINY, facekp
from tests.faults.children import CAMPAIGN
from tests.forked import signal_module
from tests.runs.conftest import search_settings

EXCLUDED = "hydra.job.config.override_dirname.exclude_keys=[out]"


@cache
def sweep_config():
    """The config of a search, with Hydra's part."""
    config = compose("train", ["hparams_search=optuna", EXCLUDED], return_hydra_config=True)
    config.hydra.overrides.hydra = [EXCLUDED]
    config.hydra.job.config_name = "train"
    return config


@cache
def job_config(*overrides):
    """The config of a job, which many tests draw."""
    return GlobalHydra.instance().config_loader().load_sweep_config(sweep_config(), list(overrides))


@pytest.fixture
def searching(tmp_path):
    """Run a search of jobs that train nothing: ``outcome(lr)`` is a job's RMSE, its status, or what kills the search.

    Returns the study. The jobs are kept in ``searching.jobs``. Configs are composed once for all tests.
    """

    class Loader:
        def load_sweep_config(self, config, overrides):
            return job_config(*overrides)

    class Launcher:
        def launch(self, jobs, initial_job_idx):
            for overrides in jobs:
                cfg = job_config(*overrides)
                run.jobs.append(list(overrides))
                outcome = run.outcome(cfg.lr)
                if isinstance(outcome, BaseException):
                    raise outcome
                folder = run.folder / cfg.hydra.sweep.subdir
                folder.mkdir(exist_ok=True)
                status = outcome if isinstance(outcome, str) else "ok"
                (folder / "status.json").write_text(json.dumps({"status": status}))
                (folder / "metrics.json").write_text(json.dumps({"rmse": outcome}))

    def run(*overrides, outcome=lambda lr: lr, folder="s"):
        run.jobs, run.outcome, run.folder = [], outcome, tmp_path / folder
        run.folder.mkdir(parents=True, exist_ok=True)
        register_job_name()
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = deepcopy(sweep_config())
            config.hydra.sweep.dir = str(run.folder)
            settings = [override for override in overrides if override.startswith("hparams_search.")]
            ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(settings), config)
            search.search(["hparams_search=optuna", *overrides], config, Loader(), Launcher())
        return open_study(SweepFolder(run.folder), search._read_settings(config))

    return run


def results(study):
    return [(trial.state.name, trial.value) for trial in study.get_trials()]


def test_the_study_knows_what_became_of_each_trial(searching):
    study = searching(
        "lr=1,2,3",
        "hparams_search.trials=12",
        outcome={1: 7.5, 2: "pruned", 3: "failed"}.get,
    )
    states = {trial.params["lr"]: (trial.state.name, trial.value) for trial in study.get_trials()}
    assert states == {"1": ("COMPLETE", 7.5), "2": ("PRUNED", None), "3": ("FAIL", None)}
    assert len(study.get_trials()) == 12
    assert sorted(searching.jobs) == [["lr=1"], ["lr=2"], ["lr=3"]]  # what is drawn again is not trained again


def test_trials_that_would_share_a_folder_are_refused_before_the_first(searching, monkeypatch):
    named = OmegaConf.create({"hydra": {"sweep": {"subdir": "trial"}}})
    monkeypatch.setitem(globals(), "job_config", lambda *overrides: named)
    with pytest.raises(UserError, match=r"^hydra\.sweep\.subdir=trial: lr=1 and lr=2 would share it; leave it out"):
        searching("seed=0", "lr=1,2")
    with pytest.raises(UserError, match=r"lr=0\.1 and lr=0\.2 would share it"):
        searching("lr=interval(0.1,0.2)")
    assert not searching.jobs


def test_the_values_of_a_config_file_are_searched(monkeypatch):
    monkeypatch.setattr(search, "search", lambda arguments, *others: searched.extend(arguments))
    searched = []
    config = OmegaConf.create({"hydra": {"sweeper": {"params": {"lr": "interval(1,2)", "init_from": None}}}})
    sweeper = OptunaSweeper(**config.hydra.sweeper)
    sweeper.config, sweeper.hydra_context, sweeper.launcher = config, SimpleNamespace(config_loader=None), None
    sweeper.sweep(["seed=0,1"])
    assert searched == ["lr=interval(1,2)", "init_from=null", "seed=0,1"]


@pytest.mark.slow
def test_the_sampler_learns(searching):
    settings = ["hparams_search.trials=18", "hparams_search.random=6"]
    study = searching("lr=interval(1,100)", *settings, outcome=lambda lr: abs(lr - 20))
    distances = [trial.value for trial in study.get_trials()]
    assert min(distances) < 3
    assert sorted(distances[6:])[6] < sorted(distances[:6])[3]  # the later half is nearer than the random one


def test_the_next_trial_does_not_wait_for_the_slowest(searching):
    others = threading.Semaphore(0)

    def outcome(lr):
        if searching.jobs[0] == [f"lr={lr:.4g}"]:  # the first one runs until the other four have ended
            for _ in range(4):
                assert others.acquire(timeout=60)
        else:
            others.release()
        return lr

    study = searching("lr=interval(1,9)", "hparams_search.trials=5", "hparams_search.parallel=2", outcome=outcome)
    ended = sorted(study.get_trials(), key=lambda trial: trial.datetime_complete)
    assert [trial.state.name for trial in ended] == ["COMPLETE"] * 5
    assert 0 in [trial.number for trial in ended[-2:]]


def test_at_most_as_many_trials_run_as_are_allowed(searching):
    running, most = [], []

    def outcome(lr):
        running.append(lr)
        most.append(len(running))
        time.sleep(0.01)
        running.remove(lr)
        return lr

    study = searching("lr=interval(1,9)", "hparams_search.trials=7", "hparams_search.parallel=3", outcome=outcome)
    assert max(most) <= 3
    assert len(study.get_trials()) == 7


def test_values_drawn_twice_at_the_same_time_are_trained_once(searching):
    study = searching("lr=3,3", "hparams_search.trials=4", "hparams_search.parallel=2")
    assert results(study) == [("COMPLETE", 3.0)] * 4
    assert searching.jobs == [["lr=3"]]


def test_trials_that_wait_for_the_same_values_use_up_no_more_of_the_budget(searching):
    drawn_meanwhile = []

    def outcome(lr):
        time.sleep(0.3)  # other trials would be drawn now
        drawn_meanwhile.append(len(open_study(SweepFolder(searching.folder), search_settings()).get_trials()))
        return lr

    searching("lr=3,3", "hparams_search.trials=9", "hparams_search.parallel=2", outcome=outcome)
    assert drawn_meanwhile == [2]


def test_a_failing_launcher_of_a_parallel_search_raises_its_error(searching):
    with pytest.raises(OSError, match="no worker"):
        searching("lr=range(1,9)", "hparams_search.parallel=2", outcome=lambda lr: OSError("no worker"))


def test_without_a_launcher_trials_can_t_run_side_by_side(tmp_path):
    done = facekp("train", "-m", *TINY, "hparams_search=optuna", "hparams_search.parallel=2", "lr=1,2", cwd=tmp_path)
    assert done.returncode == 2
    assert "hparams_search.parallel=2: jobs run one after another here; add a launcher" in done.stderr


@pytest.mark.parametrize(("jobs", "expected"), [(3, 3), (-1, os.cpu_count()), (None, 1)])
def test_the_launcher_s_settings_say_how_many_run_at_a_time(jobs, expected):
    assert (
        search._jobs_of_launcher(OmegaConf.create({"hydra": {"launcher": {} if jobs is None else {"n_jobs": jobs}}}))
        == expected
    )


def test_a_search_that_was_stopped_draws_what_it_would_have_drawn(searching):
    given = ["lr=interval(1,100)", "optimizer=sgd,adam", "hparams_search.trials=8", "hparams_search.random=3"]
    whole = searching(*given, folder="whole")
    left = iter([*range(5), KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        searching(*given, outcome=lambda lr: stop if isinstance(stop := next(left), BaseException) else lr)
    parts = searching(*given)
    assert [job[0] for job in searching.jobs][:1] == [f"lr={whole.get_trials()[5].params['lr']:.4g}"]
    assert results(parts) == results(whole)
    assert len(searching.jobs) == 3


def test_a_kill_between_drawing_and_naming_costs_no_budget(searching, tmp_path):
    searching("lr=interval(1,100)", "hparams_search.trials=2")
    study = open_study(SweepFolder(tmp_path / "s"), search_settings())
    study.ask({"lr": FloatDistribution(1, 100)})
    study = searching("lr=interval(1,100)", "hparams_search.trials=3")
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]


def test_a_trial_that_ended_unnoticed_is_reported_and_not_trained_again(searching, tmp_path):
    def dies_afterwards(lr):
        for name, value in (("status", {"status": "ok"}), ("metrics", {"rmse": 2.5})):
            (tmp_path / "s" / f"lr-{lr}").mkdir(exist_ok=True)
            (tmp_path / "s" / f"lr-{lr}" / f"{name}.json").write_text(json.dumps(value))
        return SystemExit()

    with pytest.raises(SystemExit):
        searching("lr=range(1,9)", "hparams_search.trials=1", outcome=dies_afterwards)
    assert results(searching("lr=range(1,9)", "hparams_search.trials=1")) == [("COMPLETE", 2.5)]
    assert searching.jobs == []


def test_a_resumed_search_runs_failed_trials_again_outside_the_budget(searching):
    first = results(searching("lr=1,2", "hparams_search.trials=6", outcome={1: 1.0, 2: "failed"}.get))
    assert set(first) == {("COMPLETE", 1.0), ("FAIL", None)}
    again = results(searching("lr=1,2", "hparams_search.trials=6", outcome={2: 2.0}.get))
    assert searching.jobs == [["lr=2"]]
    assert again == [*first, ("COMPLETE", 2.0)]
    assert results(searching("lr=1,2", "hparams_search.trials=6")) == again
    assert len(searching("lr=1,2", "hparams_search.trials=8").get_trials()) == 9


@pytest.mark.parametrize("storage", [[], ["hparams_search.storage=sqlite:///{}/all.db"]])
def test_a_resumed_search_trains_the_trial_of_a_removed_folder_again(searching, tmp_path, storage):
    given = ["lr=1,2", "hparams_search.trials=6", *(text.format(tmp_path) for text in storage)]
    first = results(searching(*given))
    shutil.rmtree(tmp_path / "s" / "lr-2")
    assert results(searching(*given)) == [*first, ("COMPLETE", 2.0)]
    assert searching.jobs == [["lr=2"]]


def test_a_database_may_hold_several_searches_of_different_names(searching, tmp_path):
    given = ["lr=range(1,99)", "hparams_search.trials=2", f"hparams_search.storage=sqlite:///{tmp_path}/all.db"]
    assert len(searching(*given, folder="a").get_trials()) == 2
    assert len(searching(*given, folder="b").get_trials()) == 2
    assert not (tmp_path / "a" / "study.log").exists()
    for folder in (tmp_path / "a").iterdir():
        folder.rename(tmp_path / "b" / f"old-{folder.name}")
    with pytest.raises(UserError, match="study 'a' is another sweep's"):
        searching(*given, folder="a")


def test_a_search_does_not_take_over_a_trial_that_another_one_runs(searching, tmp_path):
    given = ["lr=range(1,99)", "hparams_search.trials=2", f"hparams_search.storage=sqlite:///{tmp_path}/all.db"]
    with pytest.raises(KeyboardInterrupt):  # its trial is running in the study
        searching(*given, folder="x/search", outcome=lambda lr: KeyboardInterrupt())
    with pytest.raises(UserError, match=r"study 'search' is another sweep's; choose another hydra\.sweep\.dir"):
        searching(*given, folder="y/search")
    assert searching.jobs == []
    study = searching(*given, folder="x/search")
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE", "COMPLETE"]


def test_a_search_in_a_renamed_folder_is_continued(searching, tmp_path):
    first = results(searching("lr=range(1,99)", "hparams_search.trials=2", folder="a"))
    (tmp_path / "a").rename(tmp_path / "b")
    study = searching("lr=range(1,99)", "hparams_search.trials=3", folder="b")
    assert study.study_name == "a"
    assert results(study)[:2] == first
    assert len(searching.jobs) == 1


CNN = [  # learns at once with a good rate
    *(setting for setting in TINY if not setting.startswith(("model", "trainer"))),
    "model=regression",
    "model.network.channels=8",
    "model.network.hidden=64",
    "loss=squared",
    "data.batch_size=4",  # a dozen steps an epoch: the rates differ after the first, on every machine
    "hydra.sweep.dir=s",
]
SEARCH = [
    "hparams_search=optuna",
    "hparams_search.trials=3",
    "hparams_search.prune.trials=1",
    "hparams_search.prune.epochs=1",
    "trainer.max_epochs=4",
]


def test_a_search_prunes_fails_is_killed_and_is_resumed(tmp_path):
    given = [*CNN, *SEARCH, "lr=3e-3,1e-9,fast", "hparams_search.seed=69"]
    folder = tmp_path / "s"
    first = folder / "lr-3e-3"
    signal_module("facekp.train", ["-m", *given], tmp_path, (first / "checkpoints" / "last.ckpt").is_file)
    assert RunFolder(first).read_status().status == "running"
    epochs = pd.read_csv(first / "metrics.csv")  # a second training would not repeat their minutes
    assert len(epochs) < 4

    done = facekp("train", "sweep.resume=s", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    pd.testing.assert_frame_equal(pd.read_csv(first / "metrics.csv").head(1), epochs.head(1))
    jobs = pd.read_csv(folder / "sweep.csv").set_index("folder")
    assert jobs["status"].to_dict() == {"lr-3e-3": "ok", "lr-1e-9": "pruned", "lr-fast": "failed"}
    assert len(pd.read_csv(folder / "lr-1e-9" / "metrics.csv")) == 1
    assert "after epoch 1 its RMSE was above percentile 50" in jobs.loc["lr-1e-9", "message"]
    assert "pruned" in done.stdout
    command = " ".join(override for override in given if not override.startswith(("hparams_search", "hydra", "lr=")))
    assert f"best: python -m facekp.train {command} lr=0.003\n" in done.stderr
    trials = open_study(SweepFolder(folder), search_settings()).get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert trials[0].value == jobs.loc["lr-3e-3", "rmse"]
    assert list(trials[0].intermediate_values) == [1, 2, 3, 4]

    more = facekp("train", "sweep.resume=s", "hparams_search.trials=4", cwd=tmp_path)
    assert more.returncode == 1
    trials = open_study(SweepFolder(folder), search_settings()).get_trials()
    assert len(trials) == 5  # the failed one again, and the fourth
    assert SweepFolder(folder).read_search().trials == 4


@pytest.mark.skipif(not CAMPAIGN, reason="takes minutes: make faults runs it")
def test_joblib_runs_trials_side_by_side_and_a_kill_loses_none(tmp_path):
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    settings = ["hparams_search=optuna", "hparams_search.trials=4", "trainer.max_epochs=2", "lr=interval(1e-3,1e-2)"]
    folder = tmp_path / "s"
    given = ["-m", *CNN, *launcher, *settings]
    signal_module("facekp.train", given, tmp_path, lambda: any(folder.glob("*/config.yaml")))
    begun = {path: path.stat().st_mtime for path in folder.glob("*/config.yaml")}

    done = facekp("train", "sweep.resume=s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert begun == {path: path.stat().st_mtime for path in begun}  # workers outlive the sweep
    jobs = pd.read_csv(folder / "sweep.csv")
    assert jobs["status"].tolist() == ["ok"] * 4
    assert jobs["folder"].str.fullmatch(r"lr-[0-9.]+e-3").all()
    trials = open_study(SweepFolder(folder), search_settings()).get_trials()
    assert sorted(trial.value for trial in trials) == jobs["rmse"].tolist()
    for name in jobs["folder"]:
        assert pd.read_csv(folder / name / "metrics.csv")["epoch"].tolist() == [1, 2]


@pytest.mark.slow
def test_sigterm_ends_the_workers_of_a_search_and_marks_their_jobs(tmp_path):
    given = [*CNN, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hparams_search=optuna"]
    given += ["trainer.max_epochs=10000", "lr=interval(1e-3,1e-2)"]
    folder = tmp_path / "s"
    begun = lambda: len(list(folder.glob("*/checkpoints/last.ckpt"))) == 2  # noqa: E731
    assert signal_module("facekp.train", ["-m", *given], tmp_path, begun, signal.SIGTERM) == 143
    assert [job.read_status().status for job in SweepFolder(folder).jobs()] == ["interrupted"] * 2
    trials = open_study(SweepFolder(folder), search_settings()).get_trials()
    assert [trial.state.name for trial in trials] == ["RUNNING"] * 2


@pytest.mark.skipif(not CAMPAIGN, reason="takes minutes: make faults runs it")
def test_submitit_runs_a_sweep_s_jobs(tmp_path):
    jobs = ["hydra/launcher=submitit_local", "lr=3e-3,fast", "trainer.max_epochs=1"]
    done = facekp("train", "-m", *CNN, *jobs, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    listed = pd.read_csv(tmp_path / "s" / "sweep.csv").set_index("folder")
    assert listed["status"].to_dict() == {"lr-3e-3": "ok", "lr-fast": "failed"}
    assert "lr=fast" in (tmp_path / "s" / "lr-fast" / "traceback.txt").read_text()
    assert "1 of 2 jobs failed" in done.stderr
