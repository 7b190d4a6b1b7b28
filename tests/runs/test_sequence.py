"""A chain of runs: what is finished is kept, what was stopped goes on, what fails ends it."""

from types import SimpleNamespace

import pytest

from facekp.runs import sequence as chain


@pytest.fixture
def called(monkeypatch):
    """The arguments of every process that would have been started; the first one's exit code is 3."""
    commands = []
    codes = iter([3])

    def start(command, check):
        commands.append(command[1:])
        return SimpleNamespace(returncode=next(codes, 0))

    monkeypatch.setattr(chain.subprocess, "run", start)
    return commands


def test_a_failed_run_ends_the_chain_with_its_exit_code(called, tmp_path):
    with pytest.raises(SystemExit) as stop:
        chain.run_unless_finished("train", ["lr=1", f"out={tmp_path}"], tmp_path)
    assert stop.value.code == 3
    assert called == [["-m", "facekp.train", "lr=1", f"out={tmp_path}"]]


def test_a_stopped_run_is_gone_on_with_and_a_finished_one_kept(called, tmp_path):
    (tmp_path / "config.yaml").touch()
    with pytest.raises(SystemExit):
        chain.run_unless_finished("train", ["lr=1", f"out={tmp_path}"], tmp_path)
    assert called == [["-m", "facekp.train", f"resume={tmp_path}"]]
    (tmp_path / "metrics.json").write_text('{"rmse": 2.0, "finished": false}')  # of a run killed after an epoch
    chain.run_unless_finished("train", ["lr=1", f"out={tmp_path}"], tmp_path)
    assert called[1:] == [["-m", "facekp.train", f"resume={tmp_path}"]]
    for figures in ('{"rmse": 2.0, "finished": true}', '{"rmse": 2.0}'):  # of a training, of a scoring
        (tmp_path / "metrics.json").write_text(figures)
        chain.run_unless_finished("train", ["lr=1", f"out={tmp_path}"], tmp_path)
        assert len(called) == 2
