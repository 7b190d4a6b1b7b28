"""What is seen of a training while it runs: a line per epoch, and a bar on a terminal."""

import errno
import logging
import re
from types import SimpleNamespace

import pandas as pd
import pytest

from facekp.core.errors import UserError
from facekp.runs.folder import RunFolder, RunStatus
from facekp.training.callbacks import progress
from facekp.training.callbacks.progress import ProgressBar, epoch_line
from facekp.training.setup import train
from tests.conftest import TINY, settings_of

ROWS = [
    {"epoch": 1, "minutes": 3.0, "lr": 0.01, "train/loss": 4.5, "val/rmse": 2.25},
    {"epoch": 2, "minutes": 4.0, "lr": 0.005, "train/loss": 4.0},
    {"epoch": 3, "minutes": 5.0, "lr": 0.0012345, "train/loss": 3.51, "val/rmse": 2.5},
]


@pytest.fixture
def lines(caplog):
    """Calls `train`, and returns the logged lines of its epochs."""

    def lines_of(*arguments, **options):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="facekp"):
            train(*arguments, **options)
        return [record.message for record in caplog.records if record.name == progress.__name__]

    return lines_of


def test_the_time_left_is_that_of_the_last_epochs():
    assert epoch_line(ROWS[:1], 10).endswith("lr 0.01, 27 min left")
    assert epoch_line(ROWS[:2], 10).endswith("lr 0.005, 8 min left")  # the first epoch contains the start
    assert epoch_line(ROWS, 3).endswith("lr 0.00123, 5 min in all")


def test_an_epoch_without_validation_keeps_the_best_one():
    assert epoch_line(ROWS[:2], 10).startswith("epoch  2/10: train loss 4.000, best 2.250 in epoch 1, lr")
    assert epoch_line(ROWS, 3).startswith("epoch 3/3: train loss 3.510, val RMSE 2.500 px, best 2.250 in epoch 1, lr")
    assert epoch_line([{**ROWS[1], "epoch": 1}], 3).startswith("epoch 1/3: train loss 4.000, lr 0.005")


def test_every_epoch_of_a_training_and_of_its_resume_is_a_line(tmp_path, lines):
    first = lines(settings_of(*TINY), tmp_path / "run")
    second = lines(settings_of(*TINY, "trainer.max_epochs=3"), tmp_path / "run", resume=True)
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
    metrics = RunFolder(tmp_path / "run").read_metrics()
    assert metrics["best_epoch"] == curves["epoch"][curves["val/rmse"].idxmin()]
    assert curves["epoch"].tolist() == [1, 2, 3]
    assert [line.split(":")[0] for line in (*first, *second)] == ["epoch 1/2", "epoch 2/2", "epoch 3/3"]
    for line, (_, row), best in zip((*first, *second), curves.iterrows(), curves["val/rmse"].cummin(), strict=True):
        assert f"train loss {row['train/loss']:#.4g}, val RMSE {row['val/rmse']:.3f} px, best {best:.3f} in" in line


def test_a_job_of_a_sweep_is_named_in_its_lines(tmp_path, lines):
    RunFolder(tmp_path / "lr-1").write_status(RunStatus("running"))
    (line,) = lines(settings_of(*TINY, "trainer.max_epochs=1"), tmp_path / "lr-1")
    assert line.startswith("lr-1: epoch 1/1: train loss")


def test_a_diverged_epoch_has_an_error_instead_of_a_line(tmp_path, lines, caplog):
    with pytest.raises(UserError, match=r"training diverged: .* in epoch \d"):
        lines(settings_of(*TINY, "loss=mse", "optimizer=sgd", "lr=1e30", "trainer.max_epochs=9"), tmp_path / "run")
    assert not any("loss nan" in record.message for record in caplog.records)


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich takes any stream for a terminal
    monkeypatch.setenv("COLUMNS", "120")


def plain(text):
    return re.sub(r"\x1b\[[\d;?]*\w", "", text)


def test_a_terminal_gets_a_bar_with_loss_and_rmse_that_counts_from_1(tmp_path, capsys, terminal):
    train(settings_of(*TINY, "callbacks.progress=true", "data.batch_size=16"), tmp_path / "run")
    shown = plain(capsys.readouterr().out)
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert "epoch 1/2" in shown
    assert "epoch 2/2" in shown
    assert re.search(r"epoch 2/2 .* 3/3 .*loss: \d+\.\d+ RMSE: \d+\.\d+", shown)
    assert not re.search(r"[Ee]poch 0", shown)
    assert len(curves) == 2


def test_the_bar_of_a_closed_terminal_ends_quietly():
    def fail():
        raise OSError(errno.EIO, "Input/output error")

    bar = ProgressBar()
    bar.progress = SimpleNamespace(stop=fail)
    bar._stop_progress()


@pytest.mark.parametrize("shown", [True, False])
def test_a_log_file_and_progress_false_get_no_bar(tmp_path, capsys, shown, request):
    if not shown:
        request.getfixturevalue("terminal")
    train(settings_of(*TINY, f"callbacks.progress={shown}", "trainer.max_epochs=1"), tmp_path / "run")
    assert "1/1 " not in plain(capsys.readouterr().out)
