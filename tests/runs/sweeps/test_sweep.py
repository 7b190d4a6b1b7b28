"""Sweeps: what is written before the first and after the last job, failures, and resuming after a kill."""

import json
import re
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.runs.folder import RunFolder, RunStatus
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps import killed_workers, sweep
from facekp.runs.sweeps.finish import finish_sweep
from facekp.runs.sweeps.sweep import JOBLIB, SHARED_KEYS, begin_sweep
from hydra_plugins.facekp_joblib import FaultTolerantJoblibLauncher
from tests.conftest import TINY, facekp
from tests.faults.children import CAMPAIGN
from tests.forked import signal_module
from tests.runs.conftest import begin_job, search_settings

SOURCES = ["dense", "sparse"]


def test_keys_that_no_job_changes_are_left_out_of_the_names(multirun, tmp_path):
    cfg = multirun(
        tmp_path, "optimizer=sgd,adam", "subset=full", "lr=1", "lr=1e-3,5e-4", "+trainer.x=2", "seed=choice(1)"
    )
    begin_sweep(cfg)
    assert cfg.hydra.overrides.hydra[-1] == f"{SHARED_KEYS}=[out,subset,trainer.x,seed]"


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        ("lr=interval(1e-4,1e-2)", "lr=1e-4,0.01"),
        ("lr=tag(log, interval(1e-4, 1e-2))", "lr=1e-4,0.01"),
        ("+model.width=int(interval(8,64))", "+model.width=8,64"),
    ],
)
def test_a_range_without_a_search_is_refused_before_anything_is_written(multirun, tmp_path, given, listed):
    with pytest.raises(UserError) as error:
        begin_sweep(multirun(tmp_path, "optimizer=sgd,adam", given))
    needs = "a range needs a search, e.g. hparams_search=optuna; or list values"
    assert str(error.value) == f"{given}: {needs}, {listed}"
    assert not (tmp_path / "sweep.yaml").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("seed=range(0,0)", "stands for no value, so there is nothing to train"),
        ("model=glob(nothing*)", "stands for no value, so there is nothing to train"),
        ("seed=range(0,2,0)", "range() arg 3 must not be zero"),
        ("resume=a,b", "resumes one run, without -m; sweep.resume=DIR resumes a sweep"),
        ("rerun=a", "repeats one run, without -m"),
    ],
)
def test_a_sweep_that_would_train_nothing_is_refused_before_anything_is_written(multirun, tmp_path, given, message):
    with pytest.raises(UserError, match=f"^{re.escape(f'{given}: {message}')}"):
        begin_sweep(multirun(tmp_path, "optimizer=sgd,adam", given))
    assert not (tmp_path / "sweep.yaml").exists()


@pytest.mark.parametrize(
    ("launcher", "sweeper", "message"),
    [
        ({}, {"max_batch_size": 0}, r"hydra\.sweeper\.max_batch_size=0: must be at least 1"),
        ({"_target_": JOBLIB, "n_jobs": 0}, {}, r"hydra\.launcher\.n_jobs=0: must be at least 1"),
        ({"_target_": "submitit_launcher.SlurmLauncher"}, {}, "submitit_slurm: srun was not found"),
    ],
)
def test_a_launcher_that_can_t_start_is_refused(multirun, tmp_path, monkeypatch, launcher, sweeper, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    cfg = multirun(tmp_path, "lr=1,2")
    cfg.hydra.launcher = {**cfg.hydra.launcher, **launcher}
    cfg.hydra.sweeper = {**cfg.hydra.sweeper, **sweeper}
    with pytest.raises(UserError, match=message):
        begin_sweep(cfg)


def test_a_search_may_draw_from_a_range(multirun, tmp_path):
    cfg = multirun(tmp_path, "lr=interval(1e-4,1e-2)")
    cfg.hparams_search = search_settings().plain()
    cfg.hydra.sweeper._target_ = "hydra_plugins.facekp_search.OptunaSweeper"
    begin_sweep(cfg).close()
    assert SweepFolder(tmp_path).read_overrides() == ["lr=interval(1e-4,1e-2)"]


@pytest.mark.parametrize("name", ["${hydra.job.num}", "${hydra.job.id}", "${hydra:job.num}", "${now:%H-%M}"])
def test_the_folders_of_a_search_are_not_named_by_what_only_a_job_knows(multirun, tmp_path, name):
    cfg = multirun(tmp_path / "s", "lr=1,2")
    cfg.hparams_search = search_settings().plain()
    cfg.hydra.sweeper._target_ = "hydra_plugins.facekp_search.OptunaSweeper"
    cfg.hydra.sweep.subdir = f"trial-{name}"
    with pytest.raises(UserError, match=rf"^hydra\.sweep\.subdir=.*by their settings, not by {re.escape(name)}; leave"):
        begin_sweep(cfg)
    assert not (tmp_path / "s").exists()


def test_values_of_a_config_file_are_checked_as_those_of_the_command_line(multirun, tmp_path):
    cfg = multirun(tmp_path, "seed=0,1")
    cfg.hydra.sweeper.params = {"lr": "interval(1e-4,1e-2)", "trainer.max_epochs": "1"}
    with pytest.raises(UserError, match=r"^lr=interval\(1e-4,1e-2\): a range needs a search"):
        begin_sweep(cfg)
    cfg.hydra.sweeper.params["lr"] = "1,2"
    begin_sweep(cfg)
    assert cfg.hydra.overrides.hydra[-1] == f"{SHARED_KEYS}=[out,trainer.max_epochs]"


def test_values_that_would_name_one_folder_are_refused_before_anything_is_written(multirun, tmp_path):
    with pytest.raises(UserError, match=r"only=.*one folder"):
        begin_sweep(multirun(tmp_path, "+only=[A],A"))
    assert not (tmp_path / "sweep.yaml").exists()


def test_a_folder_holds_one_sweep(multirun, tmp_path):
    begin_sweep(multirun(tmp_path, "lr=1,2", "debug=true"))
    begin_sweep(multirun(tmp_path, "lr=1,4"))  # no job had begun
    begin_job(tmp_path / "lr-1")
    begin_sweep(multirun(tmp_path, "lr=1,4"))
    with pytest.raises(UserError, match=f"another sweep.*sweep.resume={tmp_path}"):
        begin_sweep(multirun(tmp_path, "lr=1,3"))


def test_a_folder_is_held_until_the_sweep_ends(multirun, tmp_path):
    held = begin_sweep(multirun(tmp_path / "s", "lr=1,2"))
    for jobs in ("lr=1,2", "lr=3,4"):
        with pytest.raises(UserError, match=r"^hydra\.sweep\.dir=.*: another process is writing to it"):
            begin_sweep(multirun(tmp_path / "s", jobs))
    held.close()
    (tmp_path / "s" / ".sweep.csv.0123456789ab.part").write_text("")
    begin_sweep(multirun(tmp_path / "s", "lr=1,2")).close()
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["sweep.yaml"]


def test_joblib_s_launcher_outlives_a_killed_worker(multirun, tmp_path):
    cfg = multirun(tmp_path / "s", "lr=1,2")
    cfg.hydra.launcher._target_ = JOBLIB
    begin_sweep(cfg)
    assert Plugins.instance().class_name_to_class[cfg.hydra.launcher._target_].__name__ == "FaultTolerantJoblibLauncher"
    assert JOBLIB in Plugins.instance().class_name_to_class


def test_joblib_s_jobs_may_be_named_by_their_number(multirun, monkeypatch):
    def load(config, overrides):
        return OmegaConf.create(
            {"hydra": {"job": {"name": "train", "num": "???"}, "sweep": {"dir": "s", "subdir": "${hydra.job.num}"}}}
        )

    folders = []
    monkeypatch.setattr(
        killed_workers, "run_joblib_jobs", lambda launch, jobs, first, names, plugins: folders.extend(names)
    )
    launcher = FaultTolerantJoblibLauncher()
    context = SimpleNamespace(config_loader=SimpleNamespace(load_sweep_config=load))
    launcher.setup(hydra_context=context, task_function=None, config=multirun("s"))
    launcher.launch([["lr=1"], ["lr=2"]], initial_job_idx=3)
    assert folders == ["s/3", "s/4"]


def test_a_default_folder_is_new_and_its_name_reaches_the_jobs(multirun, tmp_path):
    names = []
    for _ in range(2):
        cfg = multirun(tmp_path / "s", "lr=1,2")
        cfg.hydra.overrides.hydra = []  # the user named no folder
        begin_sweep(cfg)
        names.append(cfg.hydra.sweep.dir)
        assert f"hydra.sweep.dir={cfg.hydra.sweep.dir}" in cfg.hydra.overrides.hydra
    assert names == [f"{tmp_path}/s", f"{tmp_path}/s-2"]


def test_a_folder_with_other_files_is_refused(multirun, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=r"holds notes\.txt already"):
        begin_sweep(multirun(tmp_path, "lr=1,2"))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("key", ["out=x", "overwrite=true"])
def test_settings_of_one_run_are_refused_in_a_sweep(multirun, tmp_path, key):
    with pytest.raises(UserError, match=r"is for one run; with -m, hydra\.sweep\.dir=DIR"):
        begin_sweep(multirun(tmp_path / "s", "lr=1,2", key))
    assert not (tmp_path / "s").exists()


def test_a_job_s_folder_is_directly_in_that_of_the_sweep(multirun, tmp_path):
    cfg = multirun(tmp_path / "s", "lr=1,2")
    cfg.hydra.sweep.subdir = "${model.name}/${job_name:}"
    with pytest.raises(UserError, match=r"hydra\.sweep\.subdir=.*: must be the name of one folder, without /"):
        begin_sweep(cfg)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("error", "code"), [(UserError("mine"), 2), (KeyError("rmse"), 1)])
def test_an_error_of_the_sweep_s_begin_or_end_ends_the_command(multirun, tmp_path, monkeypatch, error, code):
    def fail(*arguments):
        raise error

    cfg = multirun(tmp_path / "s", "lr=1,2")
    monkeypatch.setattr(sweep, "begin_sweep", fail)
    monkeypatch.setattr(sweep, "finish_sweep", fail)
    for call in (sweep.Sweep().on_multirun_start, sweep.Sweep().on_multirun_end):
        with pytest.raises(SystemExit) as end:
            call(cfg)
        assert end.value.code == code


def test_jobs_keep_the_working_directory(multirun, tmp_path):
    cfg = multirun(tmp_path / "s", "lr=1,2")
    cfg.hydra.job.chdir = True
    with pytest.raises(UserError, match=r"hydra\.job\.chdir=true: .*leave it out"):
        begin_sweep(cfg)
    assert not (tmp_path / "s").exists()


def test_the_settings_of_a_search_are_kept(multirun, tmp_path):
    cfg = multirun(tmp_path, "lr=1,2")
    cfg.hparams_search = search_settings(trials=7).plain()
    begin_sweep(cfg)
    assert SweepFolder(tmp_path).read_search() == search_settings(trials=7)
    cfg.hparams_search.trials = 0
    with pytest.raises(UserError, match=r"hparams_search\.trials=0: must be at least 1"):
        begin_sweep(cfg)


@pytest.fixture
def finished(tmp_path):
    """A sweep of four jobs, of which one failed and one was pruned."""
    jobs = (("c", 2.5, "ok"), ("a", None, "failed"), ("b", 1.5, "ok"), ("d", 1.25, "pruned"))
    for name, rmse, status in jobs:
        (tmp_path / name).mkdir()
        listed = {"status": status, "message": "why, so" if status == "failed" else "", "differs": {"lr": name}}
        (tmp_path / name / "status.json").write_text(json.dumps(listed))
        (tmp_path / name / "overrides.yaml").write_text(f"[lr={name}, 'x=[1,2]']")
        if rmse:
            metrics = {"rmse": rmse, "rmse/dense": rmse + 1, "rmse/sparse": rmse - 1, "minutes": 9.0}
            (tmp_path / name / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "b" / "metrics.csv").write_text("epoch,minutes\n1,11\n2,22\n")  # of a resumed run
    return SweepFolder(tmp_path)


def test_jobs_are_listed_by_rmse_and_failed_ones_last(finished, caplog):
    caplog.set_level("INFO")
    assert not finish_sweep(finished, SOURCES)
    jobs = pd.read_csv(finished.table, keep_default_na=False)
    assert list(jobs) == ["lr", "rmse", "rmse/dense", "rmse/sparse", "minutes", "status", "message", "folder"]
    assert jobs["folder"].tolist() == ["b", "c", "d", "a"]
    assert jobs["minutes"].tolist() == ["22.0", "9.0", "9.0", ""]
    assert jobs.loc[3, "message"] == "why, so"
    assert "best: python -m facekp.train lr=b 'x=[1,2]'" in caplog.messages
    assert any(message.startswith("1 of 4 jobs failed") for message in caplog.messages)


@pytest.mark.parametrize("command_line", [True, False])  # -m, or hydra.mode=MULTIRUN of a config file
def test_the_command_of_the_best_job_trains_one_run(multirun, finished, caplog, command_line):
    caplog.set_level("INFO")
    cfg = multirun(finished.path)
    cfg.hydra.overrides.hydra += ["hydra.mode=MULTIRUN"] if command_line else []
    cfg.hydra.overrides.hydra += ["hydra.sweep.subdir=${hydra.job.num}"]  # which the sweep itself has not
    with pytest.raises(SystemExit):  # as a job failed
        sweep.Sweep().on_multirun_end(cfg)
    assert ("hydra.mode=RUN" in caplog.text) is not command_line


def test_printed_commands_have_the_config_folder_and_the_plugins(finished, caplog):
    caplog.set_level("INFO")
    (finished.path / "b" / "overrides.yaml").write_text("['--config-dir=my own', lr=b, 'x=[1,2]']")
    finish_sweep(finished, SOURCES, ["mine"])
    assert "best: python -m facekp.train '--config-dir=my own' lr=b 'x=[1,2]'" in caplog.messages
    assert f"sweep.resume={finished} plugins=[mine] runs them again" in caplog.messages


def test_a_damaged_job_is_not_said_to_run_again_by_itself(finished, caplog):
    for name in ("a", "b"):  # one that has failed, and one that would be kept
        (finished.path / name / "overrides.yaml").write_text("")
    assert not finish_sweep(finished, SOURCES)
    assert not any("runs them again" in message for message in caplog.messages)
    assert caplog.messages[-1] == (
        f"2 of 4 jobs have damaged files; remove their folders ({finished}/a, {finished}/b), and "
        f"sweep.resume={finished} trains them anew"
    )


@pytest.fixture
def folds(tmp_path):
    """Two learning rates on three folds each; the job with the lowest RMSE has the rate that is worse on average."""
    rmse = {("1e-3", 0): 2.0, ("1e-3", 1): 2.2, ("1e-3", 2): 2.4, ("5e-4", 0): 1.5, ("5e-4", 1): 3.0, ("5e-4", 2): 3.3}
    for (lr, fold), value in rmse.items():
        job = RunFolder(tmp_path / f"lr-{lr}_fold-{fold}")
        job.path.mkdir()
        job.write_status(RunStatus("ok", "", {"lr": lr, "fold": str(fold)}))
        job.overrides.write_text(f"['--config-dir=/own', lr={lr}, data.fold={fold}, seed=7]")
        job.write_metrics({"rmse": value, "rmse/dense": value, "rmse/sparse": value, "minutes": 1.0})
    return SweepFolder(tmp_path)


def test_the_best_of_folds_is_the_configuration_with_the_lowest_mean(folds, caplog):
    caplog.set_level("INFO")
    assert finish_sweep(folds, SOURCES)
    assert caplog.messages == [
        "best: RMSE 2.200 ± 0.200 px, mean and standard deviation of 3 jobs that differ in data.fold",
        "best: python -m facekp.train --config-dir=/own lr=1e-3 seed=7",
    ]
    listed = pd.read_csv(folds.configurations)
    assert listed["rmse"].tolist() == pytest.approx([2.2, 2.6])
    assert listed["rmse_sd"].tolist() == pytest.approx([0.2, np.std([1.5, 3.0, 3.3], ddof=1)])
    assert listed["jobs"].tolist() == [3, 3]


def test_a_failed_job_ends_no_other_and_the_sweep_with_1(tmp_path):
    jobs = ["lr=fast,1e-3,1e30", "loss=mse", "optimizer=sgd", "hydra.sweep.dir=s"]
    done = facekp("train", "-m", *TINY, *jobs, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    folder = tmp_path / "s"
    assert {p.name for p in folder.iterdir() if p.is_dir()} == {"lr-fast", "lr-1e-3", "lr-1e+30"}
    listed = pd.read_csv(folder / "sweep.csv").set_index("folder")
    assert listed["status"].to_dict() == {"lr-1e-3": "ok", "lr-fast": "failed", "lr-1e+30": "failed"}
    assert listed.index[0] == "lr-1e-3"
    assert listed.loc["lr-1e-3", "rmse"] == json.loads((folder / "lr-1e-3" / "metrics.json").read_text())["rmse"]
    assert "lr=fast" in listed.loc["lr-fast", "message"]
    assert "training diverged" in (folder / "lr-1e+30" / "traceback.txt").read_text()
    assert "failed" in done.stdout
    assert done.stderr.count("facekp: error:") == 2
    assert "lr=0.001" in yaml.safe_load((folder / "lr-1e-3" / "overrides.yaml").read_text())


def test_a_choice_that_does_not_exist_is_refused_before_the_first_job(tmp_path):
    done = facekp("train", "-m", *TINY, "optimizer=sgd,lion", "hydra.sweep.dir=s", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "lion" in done.stderr
    assert not list((tmp_path / "s").glob("*/status.json"))


KILLED = [*TINY, "trainer.max_epochs=8", "data.rows=100", "seed=0,1,2", "hydra.sweep.dir=s"]


def test_a_sweep_killed_in_its_second_job_is_resumed_there(tmp_path):
    folder = tmp_path / "s"
    second = folder / "seed-1" / "checkpoints" / "last.ckpt"
    code = signal_module("facekp.train", ["-m", *KILLED], tmp_path, second.is_file)  # SIGTERM: faults/test_signals.py
    assert code == -signal.SIGKILL
    assert RunFolder(folder / "seed-0").read_status().status == "ok"
    assert RunFolder(folder / "seed-1").read_status().status == "running"
    assert not (folder / "seed-2").exists()
    assert not RunFolder(folder / "seed-1").is_finished()
    untouched = [*(folder / "seed-0").rglob("*.*"), folder / "seed-1" / "config.yaml"]
    before = {path: path.stat().st_mtime_ns for path in untouched if path.name != "status.json"}
    epochs = pd.read_csv(folder / "seed-1" / "metrics.csv")  # a second training would not repeat their minutes

    done = facekp("train", "sweep.resume=s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "skipped: 1 of 3 jobs are already finished" in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in before}
    jobs = pd.read_csv(folder / "sweep.csv")
    assert sorted(jobs["seed"]) == [0, 1, 2]
    assert set(jobs["status"]) == {"ok"}
    assert jobs["rmse"].is_monotonic_increasing
    whole = pd.read_csv(folder / "seed-1" / "metrics.csv")
    assert whole["epoch"].tolist() == list(range(1, 9))
    pd.testing.assert_frame_equal(whole.head(1), epochs.head(1))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_sweep_is_resumed_from_another_directory(tmp_path):
    started = tmp_path / "started"
    started.mkdir()
    assert facekp("data.synthetic", "out=faces", "data.rows=40", cwd=started).returncode == 0
    given = ["data=kaggle", "data.dir=faces", "data.cache=null", "seed=0,1", "hydra.sweep.dir=s"]
    done = facekp("train", "-m", *(text for text in TINY if not text.startswith("data")), *given, cwd=started)
    assert done.returncode == 0, done.stderr
    stopped = SweepFolder(started / "s").job("seed-0")
    stopped.metrics.unlink()
    stopped.write_status(replace(stopped.read_status(), status="interrupted"))
    shutil.rmtree(started / "s" / "seed-1")
    done = facekp("train", "sweep.resume=started/s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {job.read_status().status for job in SweepFolder(started / "s").jobs()} == {"ok"}


PLUGIN = """
from facekp.functional.losses import LOSSES

@LOSSES.register("mine")
def mine(raw, target, cells, strength: float = 1.0):
    return strength * (raw - target).square().mean(dim=(-2, -1))
"""


@pytest.mark.slow
def test_plugins_reach_a_launcher_s_workers_and_must_be_given_again_to_a_resumed_sweep(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    jobs = ["plugins=[mine]", "loss=mine", "loss.strength=1.0,2.0", "trainer.max_epochs=1", "hydra.sweep.dir=s"]
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = facekp("train", "-m", *TINY, *jobs, *launcher, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (RunFolder(tmp_path / "s" / f"strength-{strength}") for strength in ("1.0", "2.0"))
    assert first.read_config()["loss"] == {"name": "mine", "activation": "softmax", "strength": 1.0}
    assert first.read_metrics() != second.read_metrics()

    second.metrics.unlink()
    second.write_status(replace(second.read_status(), status="interrupted"))  # as if it was stopped
    refused = facekp("train", "sweep.resume=s", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("facekp: error: sweep.resume=s: the sweep needs plugins=[mine];")
    assert refused.stderr.count("\n") == 1
    resumed = facekp("train", "sweep.resume=s", "plugins=[mine]", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert second.is_finished()


@pytest.mark.skipif(not CAMPAIGN, reason="takes minutes: make faults runs it")
def test_distributed_jobs_are_a_process_group_each_and_find_a_user_s_choices_and_plugins(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    given = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=1", "hydra.sweep.dir=s"]
    choices = ["--config-dir=own", "keypoints=mine", "plugins=[mine]", "loss=mine"]
    (tmp_path / "own" / "keypoints").mkdir(parents=True)
    shutil.copy(CONF_DIR / "keypoints" / "kaggle15.yaml", tmp_path / "own" / "keypoints" / "mine.yaml")
    (tmp_path / "junk.ckpt").write_bytes(b"junk")
    done = facekp("train", "-m", *choices, *TINY, *given, "init_from=null,junk.ckpt", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    listed = pd.read_csv(tmp_path / "s" / "sweep.csv").set_index("folder")
    assert listed["status"].to_dict() == {"init_from-null": "ok", "init_from-junk.ckpt": "failed"}
    assert "junk.ckpt" in listed.loc["init_from-junk.ckpt", "message"]
    traceback = (tmp_path / "s" / "init_from-junk.ckpt" / "traceback.txt").read_text()
    assert "facekp: error: " in traceback  # what the process printed
    assert "(exit code 2)" in traceback
