"""Sweeps: names, failures, the table at the end, going on after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from facekp.config import command as cli
from facekp.config.location import CONF_DIR
from facekp.config.rules import check
from facekp.core.errors import UserError
from facekp.runs import sweep
from facekp.runs.sequence import is_finished
from facekp.train import main
from tests.conftest import TINY, facekp

SOURCES = ["dense", "sparse"]
EXCLUDE = "hydra.job.config.override_dirname.exclude_keys"


@pytest.fixture
def job():
    """Compose a job of a sweep and make it Hydra's current one; gives back its config."""

    def make(*overrides, excluded=("out",)):
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            settings = [*overrides, f"{EXCLUDE}=[{','.join(excluded)}]"]
            cfg = compose("train", settings, return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        return cfg

    yield make
    HydraConfig.instance().cfg = None


@pytest.fixture
def multirun():
    """The config of a whole sweep, as the callback gets it before the first job; Hydra stays open for it."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):

        def make(folder, *overrides):
            cfg = compose("train", [f"hydra.sweep.dir={folder}"], return_hydra_config=True)
            cfg.hydra.overrides.task = list(overrides)
            return cfg

        yield make


NAMES = {
    "what differs, in the order given": (
        ["optimizer=sgd", "data=kaggle", "lr=0.001", "subset=full"],
        "optimizer-sgd_lr-1e-3_subset-full",
    ),
    "rates as one writes them": (["lr=0.0005", "data.fold=0"], "lr-5e-4_fold-0"),
    "very small and no longer small": (["lr=1.5e-05", "loss.weight=0.01"], "lr-1.5e-5_weight-0.01"),
    "one last part of two keys": (["augment.scale=0.1", "decoder.scale=0.2"], "augment.scale-0.1_decoder.scale-0.2"),
    "a last part that is a key itself": (["data.seed=1"], "data.seed-1"),
    "a list": (["model.network.channels=[64,96]"], "channels-64-96"),
    "a path in a group": (["experiment=seed/1_sgd_complete"], "experiment-seed-1_sgd_complete"),
    "quotes and blanks": (["+note='a b, c'"], "note-a-b-c"),
    "a negative number": (["+shift=-1"], "shift--1"),
    "nothing": (["data=kaggle"], "run"),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_job_is_named_by_what_differs(case):
    overrides, name = NAMES[case]
    assert sweep.job_name(sweep.differing(overrides, ["data"], ["seed", "lr", "data"])) == name
    check({"out": f"outputs/sweeps/{name}"})


def test_long_names_fit_a_file_system_and_stay_different():
    long = [sweep.job_name({"ckpt": "a" * 300 + end}) for end in "xy"]
    assert len(set(long)) == 2
    assert all(len(name) <= sweep.LONGEST_NAME for name in long)


def test_hydra_s_own_folder_of_a_job_has_that_name(job):
    cfg = job("optimizer=sgd", "lr=0.001", "data.fold=1", excluded=("out", "optimizer"))
    assert cfg.hydra.sweep.subdir == "lr-1e-3_fold-1"


def test_keys_that_no_job_changes_are_left_out_of_the_names(multirun, tmp_path):
    cfg = multirun(
        tmp_path, "optimizer=sgd,adam", "subset=full", "lr=1", "lr=1e-3,5e-4", "+trainer.x=2", "seed=choice(1)"
    )
    sweep.begin(cfg)
    assert cfg.hydra.overrides.hydra[-1] == f"{EXCLUDE}=[out,callbacks.progress,subset,trainer.x,seed]"


def test_values_that_would_name_one_folder_are_refused(multirun, tmp_path):
    with pytest.raises(UserError, match=r"only=.*one folder"):
        sweep.begin(multirun(tmp_path, "+only=[A],A"))
    assert not (tmp_path / "sweep.yaml").exists()


def test_a_folder_holds_one_sweep(multirun, tmp_path):
    sweep.begin(multirun(tmp_path, "lr=1,2", "debug=true"))
    sweep.begin(multirun(tmp_path, "lr=1,4"))  # no job had begun
    (tmp_path / "lr-1").mkdir()
    (tmp_path / "lr-1" / "status.json").touch()
    sweep.begin(multirun(tmp_path, "lr=1,4"))
    with pytest.raises(UserError, match=f"another sweep.*sweep.resume={tmp_path}"):
        sweep.begin(multirun(tmp_path, "lr=1,3"))


def test_the_command_line_of_a_sweep_is_read_from_its_folder(multirun, tmp_path):
    sweep.begin(multirun(tmp_path, "lr=1,2", "+x='a b'"))
    again = ["-m", "lr=1,2", "+x='a b'", f"hydra.sweep.dir={tmp_path}"]
    assert sweep.reword([f"sweep.resume={tmp_path}"]) == again
    assert sweep.reword(["-m", f"sweep.resume={tmp_path}"]) == again
    assert sweep.reword(["debug=true", f"sweep.resume={tmp_path}"]) == ["-m", "debug=true", *again[1:]]
    assert sweep.reword(["lr=1"]) == ["lr=1"]


def test_a_search_s_budget_may_grow_on_the_way(multirun, tmp_path):
    sweep.begin(multirun(tmp_path, "hparams_search.trials=4", "lr=1,2"))
    (tmp_path / "lr-1").mkdir()
    (tmp_path / "lr-1" / "status.json").touch()
    again = sweep.reword([f"sweep.resume={tmp_path}", "hparams_search.trials=9"])
    assert again == ["-m", "hparams_search.trials=9", "lr=1,2", f"hydra.sweep.dir={tmp_path}"]
    sweep.begin(multirun(tmp_path, *again[1:3]))
    assert yaml.safe_load((tmp_path / "sweep.yaml").read_text())["overrides"] == again[1:3]


MISTAKES = {
    "no folder": ([], None, "nowhere/sweep.yaml does not exist"),
    "another key": (["lr=1"], "overrides: [lr=2]", "lr=1 can't be changed"),
    "no YAML": ([], "{", "is not what a sweep wrote"),
    "other YAML": ([], "- a", "is not what a sweep wrote"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_sweep_that_can_t_be_gone_on_with_is_told(case, tmp_path):
    more, content, told = MISTAKES[case]
    folder = tmp_path / "nowhere"
    if content is not None:
        folder.mkdir()
        (folder / "sweep.yaml").write_text(content)
    with pytest.raises(UserError, match=told):
        sweep.reword([f"sweep.resume={folder}", *more])


def test_a_sweep_s_folder_that_is_none_ends_with_2_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "sweep.resume=nowhere"])
    with pytest.raises(SystemExit) as end:
        cli.run_command("train", main, sweep.reword)
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err == "facekp: error: sweep.resume=nowhere: nowhere/sweep.yaml does not exist; name the folder of a sweep\n"


def test_a_crash_is_written_down_and_ends_nothing(job, tmp_path, capsys):
    def crash(resume):
        raise RuntimeError("broken\nin two lines")

    assert sweep.perform(tmp_path / "lr-1", job("lr=1"), crash) is None
    status = json.loads((tmp_path / "lr-1" / "status.json").read_text())
    assert status == {"status": "failed", "message": "broken in two lines", "differs": {"lr": "1"}}
    assert "RuntimeError: broken" in (tmp_path / "lr-1" / "traceback.txt").read_text()
    assert "facekp: error: lr-1: broken in two lines" in capsys.readouterr().err


def test_a_job_runs_while_it_runs_and_a_second_try_forgets_the_failure(job, tmp_path):
    folder, cfg = tmp_path / "lr-1", job("lr=1")
    sweep.perform(folder, cfg, lambda resume: 1 / 0)

    def succeed(resume):
        assert not resume
        assert sweep.read_status(folder)["status"] == "running"
        assert not (folder / "traceback.txt").exists()
        return {"rmse": 2.0}

    assert sweep.perform(folder, cfg, succeed) == {"rmse": 2.0}
    assert sweep.read_status(folder)["status"] == "ok"


def test_what_has_begun_is_gone_on_with_and_what_is_finished_is_kept(job, tmp_path):
    cfg, resumed = job("lr=1"), []
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "metrics.json").write_text('{"rmse": 3.0}')
    for _ in range(2):
        assert sweep.perform(tmp_path, cfg, lambda resume: resumed.append(resume) or {"rmse": 3.0}) == {"rmse": 3.0}
    assert resumed == [True]


def test_a_pruned_job_is_no_failure_and_is_not_tried_again(job, tmp_path, capsys):
    def hopeless(resume):
        (tmp_path / "metrics.json").write_text('{"rmse": 3.0}')
        raise sweep.Pruned("after epoch 1")

    assert sweep.perform(tmp_path, job("lr=1"), hopeless) is None
    status = {"status": "pruned", "message": "after epoch 1", "differs": {"lr": "1"}}
    assert sweep.read_status(tmp_path) == status
    assert sweep.perform(tmp_path, job("lr=1"), lambda resume: 1 / 0) == {"rmse": 3.0}
    assert capsys.readouterr().err == ""


def test_a_job_is_trained_by_one_process_at_a_time(job, tmp_path, caplog):
    code = "import sys, time; from filelock import FileLock; l = FileLock(sys.argv[1]); l.acquire(); print(flush=True)"
    command = [sys.executable, "-c", f"{code}; time.sleep(600)", str(tmp_path / ".lock")]
    cfg = job("lr=1")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        threading.Timer(0.5, other.kill).start()
        assert sweep.perform(tmp_path, cfg, lambda resume: {"rmse": 1.0}) == {"rmse": 1.0}
    assert "another process trains it" in caplog.text


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_the_sweep_with_130(job, tmp_path, stop):
    def interrupted(resume):
        raise stop

    with pytest.raises(SystemExit) as end:
        sweep.perform(tmp_path, job("lr=1"), interrupted)
    assert end.value.code == 130
    assert sweep.read_status(tmp_path)["status"] == "interrupted"


def test_the_jobs_are_told_by_rmse_and_the_failed_last(tmp_path, caplog):
    caplog.set_level("INFO")
    jobs = (("c", 2.5, "ok"), ("a", None, "failed"), ("b", 1.5, "ok"), ("d", 1.25, "pruned"))
    for name, rmse, status in jobs:
        (tmp_path / name).mkdir()
        told = {"status": status, "message": "why, so" if status == "failed" else "", "differs": {"lr": name}}
        (tmp_path / name / "status.json").write_text(json.dumps(told))
        (tmp_path / name / "overrides.yaml").write_text(f"[lr={name}, 'x=[1,2]']")
        if rmse:
            figures = {"rmse": rmse, "rmse/dense": rmse + 1, "rmse/sparse": rmse - 1, "minutes": 9.0}
            (tmp_path / name / "metrics.json").write_text(json.dumps(figures))
    (tmp_path / "b" / "metrics.csv").write_text("epoch,minutes\n0,11\n1,22\n")  # a resumed run's, of both parts
    assert not sweep.finish(tmp_path, SOURCES)
    jobs = pd.read_csv(tmp_path / "sweep.csv", keep_default_na=False)
    assert list(jobs) == ["lr", "rmse", "rmse/dense", "rmse/sparse", "minutes", "status", "message", "folder"]
    assert jobs["folder"].tolist() == ["b", "c", "d", "a"]
    assert jobs["minutes"].tolist() == ["22.0", "9.0", "9.0", ""]
    assert jobs.loc[3, "message"] == "why, so"
    assert "best: python -m facekp.train lr=b 'x=[1,2]'" in caplog.messages
    assert any(message.startswith("1 of 4 jobs failed") for message in caplog.messages)


def test_a_failed_job_ends_no_other_and_the_sweep_with_1(tmp_path):
    jobs = ["lr=fast,1e-3,1e30", "loss=mse", "optimizer=sgd", "hydra.sweep.dir=s"]
    done = facekp("train", "-m", *TINY, *jobs, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    folder = tmp_path / "s"
    assert {p.name for p in folder.iterdir() if p.is_dir()} == {"lr-fast", "lr-1e-3", "lr-1e+30"}
    told = pd.read_csv(folder / "sweep.csv").set_index("folder")
    assert told["status"].to_dict() == {"lr-1e-3": "ok", "lr-fast": "failed", "lr-1e+30": "failed"}
    assert told.index[0] == "lr-1e-3"
    assert told.loc["lr-1e-3", "rmse"] == json.loads((folder / "lr-1e-3" / "metrics.json").read_text())["rmse"]
    assert "lr=fast" in told.loc["lr-fast", "message"]
    assert "broke down" in (folder / "lr-1e+30" / "traceback.txt").read_text()
    assert "failed" in done.stdout
    assert done.stderr.count("facekp: error:") == 2
    assert "lr=0.001" in yaml.safe_load((folder / "lr-1e-3" / "overrides.yaml").read_text())


def test_a_mistake_that_no_job_could_be_composed_with_is_told_before_the_first(tmp_path):
    done = facekp("train", "-m", *TINY, "optimizer=sgd,lion", "hydra.sweep.dir=s", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "lion" in done.stderr
    assert not list((tmp_path / "s").glob("*/status.json"))


KILLED = [*TINY, "trainer.max_epochs=8", "data.rows=100", "seed=0,1,2", "hydra.sweep.dir=s"]


def stop_in_the_second_job(cwd: Path, how: signal.Signals) -> int:
    """Start a sweep of three jobs and stop it once the second has an epoch on disk; gives back the exit code."""
    command = [sys.executable, "-m", "facekp.train", "-m", *KILLED]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 300
    try:
        while not (cwd / "s" / "seed-1" / "checkpoints" / "last.ckpt").is_file():
            assert process.poll() is None, "the sweep ended before its second job had an epoch on disk"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(how)
        return process.wait(60)
    finally:
        process.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_stopped_in_its_second_job_goes_on_there(tmp_path, how):
    code = stop_in_the_second_job(tmp_path, how)
    folder = tmp_path / "s"
    assert code == (-9 if how == signal.SIGKILL else 130)
    assert sweep.read_status(folder / "seed-0")["status"] == "ok"
    assert sweep.read_status(folder / "seed-1")["status"] == ("running" if how == signal.SIGKILL else "interrupted")
    assert not (folder / "seed-2").exists()
    assert not is_finished(folder / "seed-1")
    untouched = [*(folder / "seed-0").rglob("*.*"), folder / "seed-1" / "config.yaml"]
    before = {path: path.stat().st_mtime_ns for path in untouched if path.name != "status.json"}
    epochs = pd.read_csv(folder / "seed-1" / "metrics.csv")  # their minutes no second training would repeat

    done = facekp("train", "sweep.resume=s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "kept: s/seed-0" in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in before}
    jobs = pd.read_csv(folder / "sweep.csv")
    assert sorted(jobs["seed"]) == [0, 1, 2]
    assert set(jobs["status"]) == {"ok"}
    assert jobs["rmse"].is_monotonic_increasing
    whole = pd.read_csv(folder / "seed-1" / "metrics.csv")
    assert whole["epoch"].tolist() == list(range(8))
    pd.testing.assert_frame_equal(whole.head(1), epochs.head(1))
    assert not (tmp_path / "outputs").exists()


def test_distributed_jobs_are_a_process_group_each_and_find_a_user_s_own_choices(tmp_path):
    jobs = ["trainer=ddp", "trainer.accelerator=cpu", "data.fold=0,7,1", "trainer.max_epochs=1", "hydra.sweep.dir=s"]
    (tmp_path / "own" / "keypoints").mkdir(parents=True)
    shutil.copy(CONF_DIR / "keypoints" / "kaggle15.yaml", tmp_path / "own" / "keypoints" / "mine.yaml")
    done = facekp("train", "-m", "--config-dir=own", "keypoints=mine", *TINY, *jobs, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    told = pd.read_csv(tmp_path / "s" / "sweep.csv").set_index("folder")
    assert told["status"].to_dict() == {"fold-0": "ok", "fold-1": "ok", "fold-7": "failed"}
    assert told.loc["fold-7", "message"].startswith("data.fold=7")
    assert "facekp: error: data.fold=7" in (tmp_path / "s" / "fold-7" / "traceback.txt").read_text()
