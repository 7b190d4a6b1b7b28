"""A killed run goes on as if nothing had happened, to the last bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from tests.conftest import TINY, facekp

RUN = [*TINY, "trainer.max_epochs=8", "scheduler=onecycle", "optimizer=adamw", "data.rows=100", "callbacks.ema=0.9"]


def epochs_done(folder: Path) -> int:
    last = folder / "checkpoints" / "last.ckpt"
    return torch.load(last, weights_only=True)["epoch"] + 1 if last.is_file() else 0


def kill_after_an_epoch(folder: Path) -> None:
    """Start the training and end it with SIGKILL once an epoch is on disk, before the last one is."""
    command = [sys.executable, "-m", "facekp.train", *RUN, f"out={folder}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 200
    while not (folder / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, "the training ended before its first epoch was on disk"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An uninterrupted run, and one that was killed and gone on with."""
    root = tmp_path_factory.mktemp("resume")
    whole = facekp("train", *RUN, "out=whole", cwd=root)
    assert whole.returncode == 0, whole.stderr
    kill_after_an_epoch(root / "killed")
    killed_at = epochs_done(root / "killed")
    assert 1 <= killed_at < 8
    resumed = facekp("train", "resume=killed", cwd=root)
    assert resumed.returncode == 0, resumed.stderr
    return root / "whole", root / "killed"


def test_weights_and_optimiser_are_equal_to_the_last_bit(runs):
    whole, resumed = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in runs)
    assert resumed["epoch"] == whole["epoch"] == 7  # counted from 0
    assert resumed["global_step"] == whole["global_step"]
    for part in ("state_dict", "current_model_state"):  # averaged and trained weights
        for key, value in whole[part].items():
            assert torch.equal(value, resumed[part][key]), key
    for state, other in zip(
        whole["optimizer_states"][0]["state"].values(), resumed["optimizer_states"][0]["state"].values(), strict=True
    ):
        assert torch.equal(state["exp_avg"], other["exp_avg"])
    assert whole["lr_schedulers"][0]["last_epoch"] == resumed["lr_schedulers"][0]["last_epoch"]


def test_curves_and_predictions_are_those_of_an_uninterrupted_run(runs):
    for name in ("predictions.csv", "split.csv"):
        assert (runs[0] / name).read_text() == (runs[1] / name).read_text()
    whole, resumed = (pd.read_csv(run / "metrics.csv") for run in runs)
    clocks = whole.pop("minutes"), resumed.pop("minutes")
    pd.testing.assert_frame_equal(whole, resumed[whole.columns])
    assert all(minutes.is_monotonic_increasing for minutes in clocks)


def test_the_config_is_written_once(runs):
    assert yaml.safe_load((runs[1] / "config.yaml").read_text())["trainer"]["max_epochs"] == 8
    assert "resume=" not in (runs[1] / "overrides.yaml").read_text()


@pytest.mark.parametrize("key", ["lr=1", "optimizer=sgd", "data.fold=1", "seed=3", "trainer.precision=64", "out=x"])
def test_what_the_run_s_config_decides_can_t_stand_beside_resume(runs, key, tmp_path, monkeypatch):
    from facekp.core.errors import UserError
    from facekp.train import _resumed

    with pytest.raises(UserError, match=key.split("=")[0]):
        _resumed({"resume": str(runs[1]), "trainer": {"max_epochs": 9}}, [f"resume={runs[1]}", key])


def test_more_epochs_may_be_given(runs, tmp_path):
    done = facekp("train", f"resume={runs[1]}", "trainer.max_epochs=9", "logger=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert epochs_done(runs[1]) == 9


@pytest.fixture
def copy(runs, tmp_path):
    """A stopped run, moved to another place, one epoch from its end."""
    import shutil

    folder = Path(shutil.copytree(runs[0], tmp_path / "elsewhere" / "moved"))
    (folder / "metrics.json").unlink()
    return folder


def test_a_moved_run_goes_on_from_anywhere_and_keeps_its_best_score(copy, runs, tmp_path):
    best = pd.read_csv(runs[0] / "metrics.csv")["val/rmse"].min()
    raw = torch.load(copy / "checkpoints" / "last.ckpt", weights_only=True)
    state = next(state for name, state in raw["callbacks"].items() if name.startswith("BestAndLastCheckpoints"))
    assert state["best"] == pytest.approx(best)
    state["best"] = 0.001  # better than any epoch to come
    torch.save(raw, copy / "checkpoints" / "last.ckpt")
    before = (copy / "checkpoints" / "best.ckpt").read_bytes()
    done = facekp("train", "resume=elsewhere/moved", "trainer.max_epochs=9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert epochs_done(copy) == 9
    assert (copy / "checkpoints" / "best.ckpt").read_bytes() == before


DAMAGES = {
    "last.ckpt of foreign bytes": ("checkpoints/last.ckpt", b"junk", "is no checkpoint"),
    "config.yaml empty": ("config.yaml", b"", "config.yaml lacks"),
    "config.yaml a list": ("config.yaml", b"- a", "config.yaml lacks"),
    "config.yaml in no encoding": ("config.yaml", b"\xff\xfe\x00", "is no YAML"),
    "split.csv empty": ("split.csv", b"", "can't be read"),
    "split.csv of other rows": ("split.csv", b"row,set\n1,val\n", "no longer those"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_told_in_one_line(copy, damage, monkeypatch, capfd):
    from hydra.core.global_hydra import GlobalHydra

    from facekp.config import command as cli
    from facekp.train import main

    name, content, told = DAMAGES[damage]
    (copy / name).write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["train", f"resume={copy}"])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as stop:
        cli.run_command("train", main)
    GlobalHydra.instance().clear()
    err = capfd.readouterr().err
    assert stop.value.code == 2, err
    assert told in err
    assert "Traceback" not in err
