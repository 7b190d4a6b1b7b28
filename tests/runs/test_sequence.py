"""A sequence of runs: finished ones are kept, stopped ones are resumed, and a failure ends it."""

import os

import pytest
from omegaconf import OmegaConf

from facekp.runs import sequence
from facekp.runs.folder import RunFolder

SOURCES = [{"provider": "main", "path": "/conf"}, {"provider": "command-line", "path": "/mine"}]


@pytest.fixture
def called(monkeypatch):
    """The arguments of every process that would have been started; the first one's exit code is 3."""
    commands = []
    codes = iter([3])

    def start(command):
        commands.append(command[1:])
        return next(codes, 0)

    monkeypatch.setattr(sequence, "wait_for_command", start)
    return commands


def test_a_failed_run_ends_the_sequence_with_its_exit_code(called, tmp_path):
    with pytest.raises(SystemExit) as stop:
        sequence.run_unless_finished("train", ["lr=1", f"out={tmp_path}"], RunFolder(tmp_path))
    assert stop.value.code == 3
    assert called == [["-m", "facekp.train", "lr=1", f"out={tmp_path}"]]


def test_a_stopped_run_is_resumed_and_a_finished_one_kept(called, tmp_path):
    folder, overrides = RunFolder(tmp_path), ["lr=1", f"out={tmp_path}"]
    (tmp_path / "config.yaml").touch()
    with pytest.raises(SystemExit):
        sequence.run_unless_finished("train", overrides, folder)
    assert called == [["-m", "facekp.train", f"resume={tmp_path}"]]
    (tmp_path / "metrics.json").write_text('{"rmse": 2.0, "finished": false}')  # of a run killed after an epoch
    sequence.run_unless_finished("train", overrides, folder)
    assert called[1:] == [["-m", "facekp.train", f"resume={tmp_path}"]]
    for metrics in ('{"rmse": 2.0, "finished": true}', '{"rmse": 2.0}'):  # of a training, of an evaluation
        (tmp_path / "metrics.json").write_text(metrics)
        sequence.run_unless_finished("train", overrides, folder)
        assert len(called) == 2


def test_every_command_of_a_sequence_gets_its_config_dir(called, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sequence.HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(sequence.HydraConfig, "get", lambda: OmegaConf.create({"runtime": {"config_sources": SOURCES}}))
    with pytest.raises(SystemExit):
        sequence.run_unless_finished("evaluate", ["data=mine"], RunFolder(tmp_path / "new"))
    assert called == [["-m", "facekp.evaluate", "--config-dir=/mine", "data=mine"]]
    (tmp_path / "overrides.yaml").write_text("[--config-dir=/mine, data=mine]")
    sequence.warn_of_changed_overrides(RunFolder(tmp_path), ["data=mine"])
    assert "was run with" not in caplog.text


def test_plugins_are_given_again_to_a_resumed_run():
    overrides = ["plugins=[mine]", "loss=mine", "out=x"]
    assert sequence.resume_arguments(RunFolder("x"), overrides) == ["plugins=[mine]", "resume=x"]
    moved = ["lr=1", "data.dir=d", "teacher.ckpt=t"]
    assert sequence.resume_arguments(RunFolder("x"), moved) == ["data.dir=d", "teacher.ckpt=t", "resume=x"]


def test_a_checkpoint_that_was_written_after_a_run_had_read_it_is_replaced(tmp_path):
    evaluation, older, newer, removed = (RunFolder(tmp_path / name) for name in ("scored", "older", "newer", "removed"))
    evaluation.path.mkdir()
    assert sequence.replaced_checkpoints(evaluation, [older]) == []  # written by another program, without overrides
    evaluation.overrides.write_text("[]")
    os.utime(evaluation.overrides, (200, 200))
    for training, time in ((older, 100), (newer, 300)):
        training.checkpoints.mkdir(parents=True)
        training.best_checkpoint.touch()
        os.utime(training.best_checkpoint, (time, time))
    assert sequence.replaced_checkpoints(evaluation, [older, newer, removed]) == [newer.best_checkpoint]
