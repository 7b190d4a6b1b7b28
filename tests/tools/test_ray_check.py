"""`tools/ray_check.py` without Ray: what is missing is named, processes are known by their environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from facekp.runs.searches.study import FOLDER, open_study
from facekp.runs.sweep_folder import SweepFolder
from tests.runs.conftest import search_settings
from tools import ray_check


def test_without_ray_one_line_names_the_command(monkeypatch, capsys):
    monkeypatch.setattr(ray_check.importlib.util, "find_spec", lambda name: None if name == "ray" else name)
    monkeypatch.setattr("sys.argv", ["ray_check"])
    with pytest.raises(SystemExit) as end:
        ray_check.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "ray: not installed; pip install 'facekp[ray,optuna]'\n"


def test_processes_are_known_by_their_environment(tmp_path):
    ray = ray_check.LocalRay(tmp_path)
    sleep = [sys.executable, "-c", "input()"]
    with (
        subprocess.Popen(sleep, env=ray.environment, stdin=subprocess.PIPE) as child,
        subprocess.Popen(sleep, env={**os.environ, "RAY_TMPDIR": f"{tmp_path}2"}, stdin=subprocess.PIPE) as other,
    ):
        assert ray.processes() == [child.pid]
        assert ray.workers() == []
        ray.kill()
        assert child.wait(30) == -9
        assert ray.processes() == []
        other.kill()


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """A folder with a search of two trials; ``names`` are the folders that the journal has."""

    def write(*names):
        monkeypatch.setattr(ray_check, "TRIALS", 2)
        folder = SweepFolder(tmp_path / "s")
        folder.path.mkdir()
        folder.write_settings([], search_settings())
        for name in ("a", "b"):
            folder.job(name).path.mkdir()
            folder.job(name).status.write_text(json.dumps({"status": "ok"}))
        folder.table.write_text("folder,status,minutes\na,ok,0.1\nb,ok,0.1\n")
        study = open_study(folder, search_settings())
        for name in names:
            trial = study.ask()
            trial.set_user_attr(FOLDER, name)
            study.tell(trial, 1.0)
        return Path(tmp_path)

    return write


def test_each_trial_must_be_there_once(searched):
    ray_check._check_trials(searched("a", "b"), "x run: s/a\nx run: s/b\n")


@pytest.mark.parametrize(
    ("names", "text", "problem"),
    [
        (["a"], "", "1 trials in the journal"),
        (["a", "a"], "", "1 folders in the journal"),
        (["a", "c"], "", "folders of other trials"),
        (["a", "b"], "run: s/a\nrun: s/a\n", "trained twice: 1"),
    ],
)
def test_lost_and_doubled_trials_are_noticed(searched, names, text, problem):
    with pytest.raises(AssertionError, match=problem):
        ray_check._check_trials(searched(*names), text)
