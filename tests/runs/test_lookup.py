"""Names of runs and checkpoints: a file, a run's folder, or the newest run."""

import json
import os

import pytest
import yaml

from facekp.core.errors import UserError
from facekp.core.settings import CheckpointPath, CheckpointPaths, FilePath, Settings
from facekp.runs.folder import RunFolder, RunStatus
from facekp.runs.lookup import (
    check_checkpoints_exist,
    checkpoint_file,
    checkpoint_files,
    newest_run,
    run_folder,
    with_checkpoint_files,
    with_newest_run,
)
from facekp.runs.sweep_folder import SweepFolder


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """outputs/ with three runs; the second was written to last, the third holds no checkpoint."""
    monkeypatch.chdir(tmp_path)
    for time, name in ((100, "a"), (300, "sweeps/s/lr-1"), (200, "c")):
        folder = RunFolder(f"outputs/{name}")
        folder.checkpoints.mkdir(parents=True)
        files = [folder.config, *([folder.best_checkpoint] if name != "c" else [])]
        for file in files:
            file.write_text("{data: {}, model: {}, keypoints: {}}" if file == folder.config else "")
            os.utime(file, (time, time))
    return tmp_path


def test_a_run_s_folder_stands_for_its_best_checkpoint_and_it_is_logged(outputs, caplog):
    caplog.set_level("INFO")
    assert checkpoint_file("outputs/a") == "outputs/a/checkpoints/best.ckpt"
    assert caplog.messages == ["outputs/a: using the run's best checkpoint, outputs/a/checkpoints/best.ckpt"]


@pytest.mark.parametrize("name", ["shipped", "outputs/a/checkpoints/best.ckpt", "no.ckpt", "x.onnx"])
def test_a_file_stands_for_itself(outputs, name):
    assert checkpoint_file(name) == name


def test_last_is_the_run_that_was_written_to_last(outputs):
    assert checkpoint_file("last") == "outputs/sweeps/s/lr-1/checkpoints/best.ckpt"
    assert run_folder("last") == newest_run() == RunFolder("outputs/sweeps/s/lr-1")
    config = RunFolder("outputs/c").config
    os.utime(config, (400, 400))
    assert run_folder("last") == RunFolder("outputs/c")


def test_last_is_one_run_for_all_jobs_of_a_sweep(outputs, monkeypatch):
    given = ["-m", "init_from=null,last", "teacher.ckpt=['last',a/last.ckpt]", "out=last", "init_from=last/x"]
    newest = "outputs/sweeps/s/lr-1"
    replaced = [
        "-m",
        f"init_from=null,{newest}",
        f"teacher.ckpt=['{newest}',a/last.ckpt]",
        "out=last",
        "init_from=last/x",
    ]
    assert with_newest_run(given) == replaced
    assert with_newest_run([*given, "resume=auto"]) == [*given, "resume=auto"]
    monkeypatch.chdir(outputs / "outputs")
    with pytest.raises(UserError, match="last: there is no run in outputs/"):
        with_newest_run(given)


def test_last_passes_over_a_damaged_run(outputs, caplog):
    for damage in ("", "[1]", "lr: [1,"):
        RunFolder("outputs/sweeps/s/lr-1").config.write_text(damage)
        assert newest_run() == RunFolder("outputs/c")
        assert "skipped: outputs/sweeps/s/lr-1/config.yaml can't be read" in caplog.text
        caplog.clear()


def test_last_skips_a_trial_of_a_few_batches(outputs):
    run = RunFolder("outputs/sweeps/s/lr-1")
    trial = {**yaml.safe_load(run.config.read_text()), "trainer": {"fast_dev_run": 2}}
    run.config.write_text(yaml.safe_dump(trial))
    assert newest_run() == RunFolder("outputs/c")
    for damage in (None, "fast_dev_run", [1]):
        run.config.write_text(yaml.safe_dump({**trial, "trainer": damage}))
        assert newest_run() == run


def test_checkpoints_that_do_not_exist_are_refused_by_their_setting(outputs):
    class Start(Settings):
        init_from: CheckpointPath | None
        ckpt: CheckpointPaths

    check_checkpoints_exist(Start(init_from=None, ckpt=["fast", "outputs/a/checkpoints/best.ckpt"]))
    with pytest.raises(UserError, match=r"^init_from=shiped: does not exist; did you mean shipped\?$"):
        check_checkpoints_exist(Start(init_from="shiped", ckpt="fast"))
    with pytest.raises(UserError, match=r"^ckpt=outputs/no\.ckpt: does not exist$"):
        check_checkpoints_exist(Start(init_from="shipped", ckpt=["fast", "outputs/no.ckpt"]))


def test_resume_takes_a_checkpoint_of_the_run_too(outputs):
    assert run_folder("outputs/a/checkpoints/best.ckpt") == RunFolder("outputs/a")
    assert run_folder("outputs/a") == RunFolder("outputs/a")


def test_a_folder_without_a_checkpoint_is_refused_with_a_hint(outputs):
    with pytest.raises(UserError, match=r"no checkpoints/best\.ckpt; name the folder of a trained run"):
        checkpoint_file("outputs/c")
    with pytest.raises(UserError, match=r"name one of its runs, such as outputs/sweeps/s/lr-1$"):
        checkpoint_file("outputs/sweeps")
    with pytest.raises(UserError, match="no run in outputs/"):
        newest_run_in_empty(outputs)


def newest_run_in_empty(folder):
    for config in folder.rglob("config.yaml"):
        config.unlink()
    return checkpoint_file("last")


def test_only_settings_that_name_checkpoints_are_replaced(outputs):
    class Two(Settings):
        ckpt: CheckpointPaths
        images: FilePath

    settings = with_checkpoint_files(Two(ckpt=["outputs/a", "last", "b.ckpt"], images="outputs/a"))
    best = "checkpoints/best.ckpt"
    assert settings.ckpt == [f"outputs/a/{best}", f"outputs/sweeps/s/lr-1/{best}", "b.ckpt"]
    assert settings.images == "outputs/a"


def test_a_sweep_s_folder_stands_for_all_of_its_finished_runs(outputs, caplog):
    class Ensemble(Settings):
        ckpt: CheckpointPaths
        twin: CheckpointPath | None

    caplog.set_level("INFO")
    sweep = SweepFolder("outputs/sweeps/s")
    sweep.write_settings(["lr=1,2"], None)
    for name, finished in (("lr-1", True), ("lr-2", True), ("lr-3", False)):
        sweep.job(name).checkpoints.mkdir(parents=True, exist_ok=True)
        sweep.job(name).metrics.write_text(json.dumps({"rmse": 1.0, "finished": finished}))
    sweep.job("lr-4").checkpoints.mkdir(parents=True)
    sweep.job("lr-4").metrics.write_text(json.dumps({"rmse": 1.0, "finished": True}))
    sweep.job("lr-4").write_status(RunStatus("pruned"))
    files = [f"outputs/sweeps/s/lr-{number}/checkpoints/best.ckpt" for number in (1, 2)]
    settings = Ensemble(ckpt=["a.ckpt", "outputs/sweeps/s"], twin=None)
    assert with_checkpoint_files(settings).ckpt == ["a.ckpt", *files]
    assert with_checkpoint_files(Ensemble(ckpt="outputs/sweeps/s", twin=None)).ckpt == files
    assert caplog.messages[-1] == "outputs/sweeps/s: takes the best checkpoints of its 2 finished runs"
    with pytest.raises(UserError, match="name one of its runs"):
        with_checkpoint_files(Ensemble(ckpt="a.ckpt", twin="outputs/sweeps/s"))


def test_a_sweep_without_a_finished_run_says_how_to_resume_it(outputs):
    SweepFolder("outputs/sweeps/s").write_settings(["lr=1,2"], None)
    with pytest.raises(UserError, match=r"no finished run; resume it with sweep\.resume=outputs/sweeps/s"):
        checkpoint_files("outputs/sweeps/s")
