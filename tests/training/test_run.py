"""`facekp.train` as a command: where it writes, and what it leaves after a mistake."""

import json

import pytest
import yaml

from facekp.core.errors import UserError
from facekp.runs.folder import RunFolder, RunStatus
from facekp.train import main, rewrite
from tests.conftest import TINY

QUICK = [*TINY, "trainer.max_epochs=1"]


def test_two_default_folders_of_one_second_are_two(run_here, tmp_path, monkeypatch):
    monkeypatch.setattr("facekp.training.run.DEFAULT_FOLDER", "outputs/today/now")
    for seed in (0, 1):
        code, err = run_here("train", main, *QUICK, f"seed={seed}")
        assert code == 0, err
    configs = [RunFolder(tmp_path / "outputs/today" / name).read_config() for name in ("now", "now-2")]
    assert [config["seed"] for config in configs] == [0, 1]
    assert [config["out"] for config in configs] == ["outputs/today/now", "outputs/today/now-2"]


MISTAKES = {
    "a rate that is no number": ["lr=fast"],
    "a comma in out": ["out='a,b'"],
    "a blank in out": ["out=outputs/my run"],
    "a checkpoint that does not exist": ["init_from=no.ckpt"],
    "data that do not exist": ["data=kaggle", "data.dir=nowhere"],
    "the same with a folder": ["data=kaggle", "data.dir=nowhere", "out=outputs/mine"],
    "an optimiser's setting": ["optimizer=sgd", "optimizer.momentum=-1"],
    "a run that does not exist": ["resume=outputs/none"],
    "no run at all": ["resume=last"],
    "no folder to begin or continue": ["resume=auto"],
    "an average of no new weights": ["callbacks.ema=1"],
    "less than one batch": ["trainer.limit_val_batches=0.01"],
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_leaves_no_folder(case, run_here, tmp_path):
    code, err = run_here("train", main, *QUICK, *MISTAKES[case])
    assert code == 2, err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_newest_run_is_looked_for_once(run_here, tmp_path):
    assert run_here("train", main, *QUICK, "out=outputs/first")[0] == 0
    assert rewrite(["lr=1", "init_from=last"]) == ["lr=1", "init_from=outputs/first"]


def test_a_folder_can_t_be_named_by_a_setting_of_hydra(monkeypatch):
    with pytest.raises(UserError, match=r"^hydra\.run\.dir=keep: name the folder by out=keep$"):
        rewrite(["lr=1", "hydra.run.dir=keep"])
    with pytest.raises(UserError, match=r"name the folder by hydra\.sweep\.dir=keep$"):
        rewrite(["-m", "lr=1", "hydra.run.dir=keep"])
    monkeypatch.setenv("FACEKP_JOB_FOLDER", "keep")  # a job's own process
    assert rewrite(["lr=1", "hydra.run.dir=keep"]) == ["lr=1", "hydra.run.dir=keep"]


def test_a_run_that_does_not_exist_is_said_before_what_can_t_be_changed(run_here):
    code, err = run_here("train", main, "resume=nope", "lr=1")
    assert (code, err) == (
        2,
        "facekp: error: resume=nope: nope/config.yaml does not exist; name the folder of a training\n",
    )


def test_an_unknown_home_directory_is_one_line(run_here):
    argument = "resume='~unknown_user/run'"
    code, printed = run_here("train", main, argument)
    assert code == 2
    advice = "can't determine the home directory; give an absolute path, or set HOME"
    assert printed == f"facekp: error: {argument}: {advice}\n"


@pytest.mark.parametrize("key", ["resume", "rerun"])
def test_a_sweep_is_not_taken_for_a_run(run_here, tmp_path, key):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.yaml").write_text("overrides: []\n")
    code, err = run_here("train", main, f"{key}=s")
    assert code == 2
    assert err.endswith(f"{key}=s: is a sweep; name one of its jobs, or resume it with sweep.resume=s\n")


def test_a_run_is_replaced_only_if_asked_to(run_here, tmp_path, monkeypatch):
    assert run_here("train", main, *QUICK, "out=r")[0] == 0
    monkeypatch.setenv("SLURM_PROCID", "1")  # srun gives it to one of several separate trainings
    (tmp_path / "r" / "notes.txt").write_text("mine")
    code, err = run_here("train", main, *QUICK, "out=r", "seed=1")
    assert code == 2
    assert "out=r: holds a run already; choose another folder, continue it with resume=r, or replace it" in err
    before = (tmp_path / "r" / "metrics.json").read_text()
    code, err = run_here("train", main, *QUICK, "out=r", "seed=1", "overwrite=true", "data=kaggle", "data.dir=no")
    assert (code, (tmp_path / "r" / "metrics.json").read_text()) == (2, before)  # a mistake costs nothing

    code, err = run_here("train", main, *QUICK, "out=r", "seed=1", "overwrite=true")
    assert code == 0, err
    assert yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())["seed"] == 1
    assert (tmp_path / "r" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "r" / ".lock").exists()


def test_one_command_begins_a_run_continues_it_and_keeps_it(run_here, tmp_path, caplog):
    caplog.set_level("INFO")
    run, asked = RunFolder(tmp_path / "r"), [*QUICK, "out=r", "resume=auto"]
    assert run_here("train", main, *asked)[0] == 0
    assert run.completed_epochs() == 1
    assert run.read_config()["resume"] is None
    weights = run.last_checkpoint.read_bytes()
    assert run_here("train", main, *asked)[0] == 0
    assert "skipped: r is already finished" in caplog.messages
    assert run.last_checkpoint.read_bytes() == weights
    assert run_here("train", main, *asked, "trainer.max_epochs=2", "logger=none")[0] == 0
    assert run.completed_epochs() == 2
    code, err = run_here("train", main, *asked, "trainer.max_epochs=2", "seed=1")
    assert code == 2
    assert err.endswith(
        "resume=auto: out=r holds a run of other settings (seed: not given; here: 1); choose another out\n"
    )


OTHERS = [pytest.param(status, marks=pytest.mark.slow) for status in ("failed", "pruned")]


@pytest.mark.parametrize("status", ["interrupted", *OTHERS])
def test_a_job_that_is_resumed_alone_has_ended_well(run_here, tmp_path, status):
    run = RunFolder(tmp_path / "r")
    assert run_here("train", main, *QUICK, "out=r")[0] == 0
    assert not run.status.exists()
    run.write_status(RunStatus(status, "why", {"lr": "1e-3"}))
    run.write_traceback("of the failure")
    assert run_here("train", main, "resume=r", "trainer.max_epochs=2")[0] == 0
    assert run.read_status() == RunStatus("ok", "", {"lr": "1e-3"})
    assert not run.traceback.exists()


def test_a_folder_of_others_is_refused(run_here, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("")
    code, err = run_here("train", main, *QUICK, "out=photos")
    assert code == 2
    assert "out=photos: holds me.jpg already" in err


def test_a_start_that_was_killed_may_be_repeated(run_here, tmp_path):
    (tmp_path / "r").mkdir()
    for name in RunFolder("").names_before_begin():
        (tmp_path / "r" / name).write_text("")
    assert run_here("train", main, *QUICK, "out=r")[0] == 0


def test_weights_and_runs_are_named_by_folders_and_last(run_here, tmp_path, caplog):
    caplog.set_level("INFO")
    assert run_here("train", main, *QUICK, "out=outputs/a")[0] == 0
    code, err = run_here("train", main, *QUICK, "out=outputs/b", "init_from=last")
    assert code == 0, err
    best = "outputs/a/checkpoints/best.ckpt"
    assert f"last: using the run's best checkpoint, {best}" in caplog.text
    assert RunFolder(tmp_path / "outputs/b").read_config()["init_from"] == str(tmp_path / best)
    code, err = run_here("train", main, "resume=last", "trainer.max_epochs=2")
    assert code == 0, err
    assert "resume=last: outputs/b" in caplog.text
    assert json.loads((tmp_path / "outputs/b/metrics.json").read_text())["epochs"] == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])  # weights that are not finite; huge ones, whose maps are not
def test_a_diverged_network_is_a_failure_not_a_mean_face(run_here, tmp_path, optimizer):
    code, err = run_here("train", main, *QUICK, "lr=1e30", f"optimizer={optimizer}", "out=r")
    assert code == 2
    assert "facekp: error: training diverged: " in err
    assert "in epoch 1; lower lr=1e+30" in err
    assert not RunFolder(tmp_path / "r").metrics.exists()
    assert not RunFolder(tmp_path / "r").best_checkpoint.exists()


@pytest.mark.parametrize("rate", [pytest.param("1e6", marks=pytest.mark.slow), "1e30"])
def test_a_diverged_job_of_a_sweep_has_failed(run_here, tmp_path, rate):
    code, err = run_here("train", main, "-m", *QUICK, "loss=mse", f"lr=1e-3,{rate}", "hydra.sweep.dir=s")
    assert code == 1, err
    jobs = {folder.name: RunFolder(folder) for folder in (tmp_path / "s").iterdir() if folder.is_dir()}
    statuses = {name: job.read_status().status for name, job in jobs.items()}
    assert sorted(statuses.values()) == ["failed", "ok"]
    (bad,) = (job for name, job in jobs.items() if statuses[name] == "failed")
    assert "training diverged" in bad.read_status().message
    assert not bad.best_checkpoint.exists()
