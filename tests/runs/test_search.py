"""Searches: what is drawn, what becomes of trials, going on after a kill; and sweeps whose jobs run elsewhere."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.runs import search, sweep
from tests.conftest import TINY, facekp

EXCLUDED = "hydra.job.config.override_dirname.exclude_keys=[out]"


def parsed(*overrides):
    return OverridesParser.create().parse_overrides(list(overrides))


DRAWN = {
    "a,b": CategoricalDistribution(("a", "b")),
    "1,null,'x, y',[a,b],1": CategoricalDistribution(("1", "null", "'x, y'", "[a,b]")),
    "choice(1)": CategoricalDistribution(("1",)),
    "interval(1, 2)": FloatDistribution(1, 2),
    "tag(log, interval(1e-4, 1e-2))": FloatDistribution(1e-4, 1e-2, log=True),
    "int(interval(1, 64))": IntDistribution(1, 64),
    "tag(log, int(interval(1, 64)))": IntDistribution(1, 64, log=True),
    "range(1, 4)": IntDistribution(1, 3),
    "range(8, 1, -2)": IntDistribution(2, 8, step=2),
    "range(0, 0.5, 0.2)": FloatDistribution(0, 0.4, step=0.2),
}


@pytest.mark.parametrize("written", DRAWN)
def test_what_hydra_writes_is_what_optuna_draws_from(written):
    assert search.distribution(parsed(f"lr={written}")[0]) == DRAWN[written]


NOTHING_DRAWN = {
    "a range the wrong way round": (["lr=range(9, 1)"], "lr=range.*nothing can be drawn"),
    "an interval the wrong way round": (["lr=interval(2, 1)"], "lr=interval.*nothing can be drawn"),
    "a logarithm of nought": (["lr=tag(log, interval(0, 1))"], "lr=tag.*nothing can be drawn"),
    "a logarithm of names": (["optimizer=tag(log, choice(sgd, adam))"], "optimizer=tag.*log can't be followed"),
    "an unknown tag": (["lr=tag(cubic, interval(0, 1))"], "lr=tag.*cubic can't be followed"),
    "nothing searched": (["lr=1e-3"], "nothing to search"),
    "the search itself": (["lr=1,2", "hparams_search.seed=1,2"], "can't be searched itself"),
}


@pytest.mark.parametrize("case", NOTHING_DRAWN)
def test_a_space_that_can_t_be_searched_is_told(case):
    overrides, told = NOTHING_DRAWN[case]
    with pytest.raises(UserError, match=told):
        search.SearchSpace(parsed(*overrides))


def test_a_job_s_command_line_has_what_was_drawn_where_the_search_has_its_sweep():
    space = search.SearchSpace(
        parsed("optimizer=sgd,adam", "hparams_search=optuna", "+x='a b'", "lr=interval(0,1)", "seed=3")
    )
    job = space.overrides({"optimizer": "adam", "lr": 0.000123456})
    assert job == ["optimizer=adam", "+x='a b'", "lr=0.0001235", "seed=3"]
    assert space.corners() == [[f"optimizer={o}", "+x='a b'", "lr=0.0", "seed=3"] for o in ("sgd", "adam", "sgd")]


@given(st.lists(st.floats(1e-7, 1e7), min_size=3, max_size=3).map(sorted))
def test_a_number_drawn_from_an_interval_is_short_and_stays_in_it(numbers):
    low, value, high = numbers
    space = search.SearchSpace(parsed(f"lr=interval({low!r}, {high!r})"))
    written = float(space.overrides({"lr": value})[0].removeprefix("lr="))
    assert low <= written <= high
    assert written == pytest.approx(value, rel=5e-4)
    assert written in (low, high) or len(f"{written:.10e}".split("e")[0].rstrip("0")) <= 5


@pytest.fixture
def searching(tmp_path):
    """Run a search of jobs that train nothing: ``outcome(lr)`` is a job's RMSE, its status, or what kills the search.

    Gives back the study; the jobs are noted in ``searching.jobs``, how many at a time in ``searching.batches``.
    """

    class Launcher:
        def launch(self, jobs, initial_job_idx):
            run.batches.append(len(jobs))
            for overrides in jobs:
                cfg = GlobalHydra.instance().config_loader().load_sweep_config(config, overrides)
                run.jobs.append(list(overrides))
                told = run.outcome(cfg.lr)
                if isinstance(told, BaseException):
                    raise told
                folder = Path(cfg.hydra.sweep.dir) / cfg.hydra.sweep.subdir
                folder.mkdir(exist_ok=True)
                status = told if isinstance(told, str) else "ok"
                (folder / "status.json").write_text(json.dumps({"status": status}))
                (folder / "metrics.json").write_text(json.dumps({"rmse": told}))

    def run(*overrides, outcome=lambda lr: lr, folder="s"):
        nonlocal config
        run.jobs, run.batches, run.outcome = [], [], outcome
        place = f"hydra.sweep.dir={tmp_path / folder}"
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            given = ["hparams_search=optuna", *(one for one in overrides if one.startswith("hparams_search."))]
            config = compose("train", [*given, place, EXCLUDED], return_hydra_config=True)
            config.hydra.overrides.hydra = [place, EXCLUDED]
            config.hydra.job.config_name = "train"
            (tmp_path / folder).mkdir(exist_ok=True)
            loader = GlobalHydra.instance().config_loader()
            search.search([*given, *overrides], config, loader, Launcher())
        return search.open_study(tmp_path / folder, {**config.hparams_search})

    config = None
    return run


def told(study):
    return [(trial.state.name, trial.value) for trial in study.get_trials()]


def test_the_study_is_told_what_became_of_each_trial(searching):
    study = searching(
        "lr=1,2,3",
        "hparams_search.trials=12",
        outcome={1: 7.5, 2: "pruned", 3: "failed"}.get,
    )
    states = {trial.params["lr"]: (trial.state.name, trial.value) for trial in study.get_trials()}
    assert states == {"1": ("COMPLETE", 7.5), "2": ("PRUNED", None), "3": ("FAIL", None)}
    assert len(study.get_trials()) == 12
    assert sorted(searching.jobs) == [["lr=1"], ["lr=2"], ["lr=3"]]  # what is drawn again is not trained again


def test_the_sampler_learns(searching):
    settings = ["hparams_search.trials=18", "hparams_search.random=6"]
    study = searching("lr=interval(1,100)", *settings, outcome=lambda lr: abs(lr - 20))
    distances = [trial.value for trial in study.get_trials()]
    assert min(distances) < 3
    assert sorted(distances[6:])[6] < sorted(distances[:6])[3]  # the later half is nearer than the blind one


def test_as_many_trials_are_drawn_as_run_at_a_time(searching):
    searching("lr=interval(1,9)", "hparams_search.trials=5", "hparams_search.parallel=2")
    assert searching.batches == [2, 2, 1]


@pytest.mark.parametrize(("jobs", "places"), [(3, 3), (-1, os.cpu_count()), (None, 1)])
def test_a_launcher_says_how_many_run_at_a_time(jobs, places):
    assert search._places(OmegaConf.create({"hydra": {"launcher": {} if jobs is None else {"n_jobs": jobs}}})) == places


def test_a_search_that_was_stopped_draws_what_it_would_have_drawn(searching):
    given = ["lr=interval(1,100)", "optimizer=sgd,adam", "hparams_search.trials=8", "hparams_search.random=3"]
    whole = searching(*given, folder="whole")
    left = iter([*range(5), KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        searching(*given, outcome=lambda lr: stop if isinstance(stop := next(left), BaseException) else lr)
    parts = searching(*given)
    assert [job[0] for job in searching.jobs][:1] == [f"lr={whole.get_trials()[5].params['lr']:.4g}"]
    assert told(parts) == told(whole)
    assert len(searching.jobs) == 3


def test_a_kill_between_drawing_and_noting_costs_no_budget(searching, tmp_path):
    searching("lr=interval(1,100)", "hparams_search.trials=2")
    study = search.open_study(tmp_path / "s", {"storage": None, "prune": PRUNE})
    study.ask({"lr": FloatDistribution(1, 100)})
    study = searching("lr=interval(1,100)", "hparams_search.trials=3")
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]


def test_a_trial_that_ended_unheard_is_told_and_not_trained_again(searching, tmp_path):
    def dies_afterwards(lr):
        for name, value in (("status", {"status": "ok"}), ("metrics", {"rmse": 2.5})):
            (tmp_path / "s" / f"lr-{lr}").mkdir(exist_ok=True)
            (tmp_path / "s" / f"lr-{lr}" / f"{name}.json").write_text(json.dumps(value))
        return SystemExit()

    with pytest.raises(SystemExit):
        searching("lr=range(1,9)", "hparams_search.trials=1", outcome=dies_afterwards)
    assert told(searching("lr=range(1,9)", "hparams_search.trials=1")) == [("COMPLETE", 2.5)]
    assert searching.jobs == []


def test_going_on_tries_failed_trials_again_outside_the_budget(searching):
    first = told(searching("lr=1,2", "hparams_search.trials=6", outcome={1: 1.0, 2: "failed"}.get))
    assert set(first) == {("COMPLETE", 1.0), ("FAIL", None)}
    again = told(searching("lr=1,2", "hparams_search.trials=6", outcome={2: 2.0}.get))
    assert searching.jobs == [["lr=2"]]
    assert again == [*first, ("COMPLETE", 2.0)]
    assert told(searching("lr=1,2", "hparams_search.trials=6")) == again
    assert len(searching("lr=1,2", "hparams_search.trials=8").get_trials()) == 9


def test_a_database_may_hold_several_searches_of_different_names(searching, tmp_path):
    given = ["lr=range(1,99)", "hparams_search.trials=2", f"hparams_search.storage=sqlite:///{tmp_path}/all.db"]
    assert len(searching(*given, folder="a").get_trials()) == 2
    assert len(searching(*given, folder="b").get_trials()) == 2
    assert not (tmp_path / "a" / "study.log").exists()
    for folder in (tmp_path / "a").iterdir():
        folder.rename(tmp_path / "b" / f"old-{folder.name}")
    with pytest.raises(UserError, match="study 'a' is another sweep's"):
        searching(*given, folder="a")


def test_a_storage_that_can_t_be_opened_is_told(searching, tmp_path):
    with pytest.raises(UserError, match=r"hparams_search\.storage=nosuch://x"):
        searching("lr=1,2", "hparams_search.storage=nosuch://x")
    (tmp_path / "s" / "study.log").write_text("{\n{\n")
    with pytest.raises(UserError, match=r"study.log"):
        searching("lr=1,2")


def test_without_optuna_the_package_to_install_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'facekp\[optuna\]'"):
        search.open_study(tmp_path, {"storage": None, "prune": PRUNE})


PRUNE = {"percentile": 50.0, "trials": 2, "epochs": 2}


def curves(folder, *rmse_by_epoch, prune=PRUNE):
    """Have trials report, one after the other; gives back after how many epochs each was ended."""
    folder.mkdir(exist_ok=True)
    study = search.open_study(folder, {"storage": None, "prune": prune})
    ended = []
    for rmse in rmse_by_epoch:
        watching = search.PruningCallback(study.ask(), prune["percentile"])
        trainer = SimpleNamespace(max_epochs=len(rmse), should_stop=False)
        for trainer.current_epoch, value in enumerate(rmse):
            trainer.callback_metrics = {"val/rmse": torch.tensor(value)}
            watching.on_train_epoch_end(trainer, None)
            if trainer.should_stop:
                break
        assert bool(watching.message) == trainer.should_stop
        ended.append(trainer.current_epoch + 1)
        study.tell(watching.trial, state=TrialState.PRUNED) if watching.message else study.tell(watching.trial, value)
    return ended


def test_hopeless_trials_end_early(tmp_path):
    good, bad, turning = [4.0, 3.0, 2.0], [9.0, 8.0, 7.0], [9.0, 2.0, 1.0]
    assert curves(tmp_path, good, bad, bad) == [3, 3, 2]  # two are finished before any is judged, and after two epochs
    assert curves(tmp_path, turning, good) == [3, 3]
    assert curves(tmp_path, [9.0, 5.6, 9.0]) == [2]  # the median of 3, 8, 2 and 3 is 3
    assert curves(tmp_path, [9.0, 2.9, 9.0]) == [3]


def test_nothing_is_pruned_where_no_percentile_is_given_nor_in_the_last_epoch(tmp_path):
    assert curves(tmp_path / "a", [1.0, 1.0], [1.0, 1.0], [9.0, 9.0]) == [2, 2, 2]
    assert curves(tmp_path, *[[1.0] * 4] * 3, [9.0] * 4, prune={**PRUNE, "percentile": None}) == [4, 4, 4, 4]


def test_only_a_running_trial_of_a_search_is_watched(tmp_path):
    (tmp_path / "sweep.yaml").write_text("overrides: []\n")
    assert search.watch(tmp_path / "lr-1") == []
    settings = {"storage": None, "prune": PRUNE}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"overrides": [], "search": settings}))
    study = search.open_study(tmp_path, settings)
    for name in ("lr-1", "lr-2"):
        study.ask().set_user_attr("folder", name)
    study.tell(1, 5.0)
    assert [one.trial.number for one in search.watch(tmp_path / "lr-1")] == [0]
    assert search.watch(tmp_path / "lr-2") == []


CNN = [  # learns at once where its rate is sound
    *(setting for setting in TINY if not setting.startswith(("model", "trainer"))),
    "model=regression",
    "model.network.channels=8",
    "model.network.hidden=64",
    "loss=squared",
    "hydra.sweep.dir=s",
]
SEARCH = [
    "hparams_search=optuna",
    "hparams_search.trials=3",
    "hparams_search.prune.trials=1",
    "hparams_search.prune.epochs=1",
    "trainer.max_epochs=4",
]


def kill_once(condition: Callable[[], bool], cwd: Path, *overrides: str) -> None:
    """Start a sweep and kill its process once the condition holds."""
    process = subprocess.Popen([sys.executable, "-m", "facekp.train", "-m", *overrides], cwd=cwd)
    deadline = time.monotonic() + 300
    try:
        while not condition():
            assert process.poll() is None, "the sweep ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_search_prunes_fails_is_killed_and_goes_on(tmp_path):
    given = [*CNN, *SEARCH, "lr=3e-3,1e-9,fast", "hparams_search.seed=69"]
    folder = tmp_path / "s"
    first = folder / "lr-3e-3"
    kill_once((first / "checkpoints" / "last.ckpt").is_file, tmp_path, *given)
    assert sweep.read_status(first)["status"] == "running"
    epochs = pd.read_csv(first / "metrics.csv")  # their minutes no second training would repeat
    assert len(epochs) < 4

    done = facekp("train", "sweep.resume=s", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    pd.testing.assert_frame_equal(pd.read_csv(first / "metrics.csv").head(1), epochs.head(1))
    jobs = pd.read_csv(folder / "sweep.csv").set_index("folder")
    assert jobs["status"].to_dict() == {"lr-3e-3": "ok", "lr-1e-9": "pruned", "lr-fast": "failed"}
    assert len(pd.read_csv(folder / "lr-1e-9" / "metrics.csv")) == 1
    assert "after epoch 1 its RMSE was above percentile 50" in jobs.loc["lr-1e-9", "message"]
    assert "pruned" in done.stdout
    command = " ".join(one for one in given if not one.startswith(("hparams_search", "hydra", "lr=")))
    assert f"best: python -m facekp.train {command} lr=0.003\n" in done.stderr
    trials = search.open_study(folder, {"storage": None, "prune": PRUNE}).get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert trials[0].value == jobs.loc["lr-3e-3", "rmse"]
    assert list(trials[0].intermediate_values) == [1, 2, 3, 4]

    more = facekp("train", "sweep.resume=s", "hparams_search.trials=4", cwd=tmp_path)
    assert more.returncode == 1
    trials = search.open_study(folder, {"storage": None, "prune": PRUNE}).get_trials()
    assert len(trials) == 5  # the failed one again, and the fourth
    assert sweep.read_search(folder)["trials"] == 4


def test_joblib_runs_trials_side_by_side_and_a_kill_loses_none(tmp_path):
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    settings = ["hparams_search=optuna", "hparams_search.trials=4", "trainer.max_epochs=2", "lr=interval(1e-3,1e-2)"]
    folder = tmp_path / "s"
    kill_once(lambda: any(folder.glob("*/config.yaml")), tmp_path, *CNN, *launcher, *settings)
    begun = {path: path.stat().st_mtime for path in folder.glob("*/config.yaml")}

    done = facekp("train", "sweep.resume=s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert begun == {path: path.stat().st_mtime for path in begun}  # workers outlive the sweep
    assert "launching 2 jobs" in done.stderr
    jobs = pd.read_csv(folder / "sweep.csv")
    assert jobs["status"].tolist() == ["ok"] * 4
    assert jobs["folder"].str.fullmatch(r"lr-[0-9.]+e-3").all()
    trials = search.open_study(folder, {"storage": None, "prune": PRUNE}).get_trials()
    assert sorted(trial.value for trial in trials) == jobs["rmse"].tolist()
    for name in jobs["folder"]:
        assert pd.read_csv(folder / name / "metrics.csv")["epoch"].tolist() == [0, 1]


def test_submitit_runs_a_sweep_s_jobs(tmp_path):
    jobs = ["hydra/launcher=submitit_local", "lr=3e-3,fast", "trainer.max_epochs=1"]
    done = facekp("train", "-m", *CNN, *jobs, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    told = pd.read_csv(tmp_path / "s" / "sweep.csv").set_index("folder")
    assert told["status"].to_dict() == {"lr-3e-3": "ok", "lr-fast": "failed"}
    assert "lr=fast" in (tmp_path / "s" / "lr-fast" / "traceback.txt").read_text()
    assert "1 of 2 jobs failed" in done.stderr
