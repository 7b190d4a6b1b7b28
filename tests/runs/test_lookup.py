"""Names of runs and checkpoints: a file, a run's folder, or the newest run."""

import os

import pytest

from facekp.core.errors import UserError
from facekp.core.settings import CheckpointPaths, FilePath, Settings
from facekp.runs.folder import RunFolder
from facekp.runs.lookup import checkpoint_file, newest_run, run_folder, with_checkpoint_files


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """outputs/ with three runs; the second was written to last, the third holds no checkpoint."""
    monkeypatch.chdir(tmp_path)
    for time, name in ((100, "a"), (300, "sweeps/s/lr-1"), (200, "c")):
        folder = RunFolder(f"outputs/{name}")
        folder.checkpoints.mkdir(parents=True)
        files = [folder.config, *([folder.best_checkpoint] if name != "c" else [])]
        for file in files:
            file.write_text("")
            os.utime(file, (time, time))
    return tmp_path


def test_a_run_s_folder_stands_for_its_best_checkpoint_and_it_is_logged(outputs, caplog):
    caplog.set_level("INFO")
    assert checkpoint_file("outputs/a") == "outputs/a/checkpoints/best.ckpt"
    assert caplog.messages == ["outputs/a: takes the run's best checkpoint, outputs/a/checkpoints/best.ckpt"]


@pytest.mark.parametrize("name", ["shipped", "outputs/a/checkpoints/best.ckpt", "no.ckpt", "x.onnx"])
def test_a_file_stands_for_itself(outputs, name):
    assert checkpoint_file(name) == name


def test_last_is_the_run_that_was_written_to_last(outputs):
    assert checkpoint_file("last") == "outputs/sweeps/s/lr-1/checkpoints/best.ckpt"
    assert run_folder("last") == newest_run() == RunFolder("outputs/sweeps/s/lr-1")
    config = RunFolder("outputs/c").config
    os.utime(config, (400, 400))
    assert run_folder("last") == RunFolder("outputs/c")


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
