"""metrics.csv: a row per epoch, with gaps where an epoch was not validated."""

import json
from types import SimpleNamespace

import pandas as pd
import torch

from facekp.runs.folder import RunFolder
from facekp.training.callbacks.curves import Curves
from facekp.training.setup import train
from tests.conftest import TINY, settings_of


def test_csv_holds_a_row_an_epoch_with_every_curve(tiny_run):
    curves = pd.read_csv(tiny_run / "metrics.csv")
    assert curves["epoch"].tolist() == [1, 2]
    assert curves["step"].tolist() == [1, 2]
    assert {"lr", "train/loss", "val/loss", "val/rmse", "val/rmse/dense", "val/rmse/nose_tip", "val/nme"} <= set(curves)
    assert curves.notna().all(axis=None)
    figures = json.loads((tiny_run / "metrics.json").read_text())
    assert 0 < curves["minutes"][0] <= curves["minutes"][1] <= figures["minutes"] + 0.01  # rounded to hundredths


def fake_trainer(**metrics):
    return SimpleNamespace(
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])],
        callback_metrics={name: torch.tensor(value) for name, value in metrics.items()},
        current_epoch=0,
        global_step=1,
        is_global_zero=True,
    )


def test_minutes_of_a_resumed_run_continue_from_its_last_completed_epoch(tmp_path, monkeypatch):
    clock = iter([100.0, 130.0, 190.0, 5.0, 20.0])  # seconds; the second process has a clock of its own
    monkeypatch.setattr("facekp.training.callbacks.curves.time.monotonic", lambda: next(clock))
    trainer = fake_trainer()
    first, second = Curves(RunFolder(tmp_path)), Curves(RunFolder(tmp_path))
    first.on_fit_start(trainer, None)
    first.on_train_epoch_end(trainer, None)
    first.on_train_epoch_end(trainer, None)
    second.load_state_dict(first.state_dict())
    second.on_fit_start(trainer, None)
    second.on_train_epoch_end(trainer, None)
    assert pd.read_csv(tmp_path / "metrics.csv")["minutes"].tolist() == [0.5, 1.5, 1.75]


def test_metrics_of_an_earlier_validation_are_not_repeated(tmp_path):
    """Lightning keeps them in ``callback_metrics``."""
    trainer = fake_trainer(**{"train/loss": 2.0, "val/rmse": 1.0})
    curves = Curves(RunFolder(tmp_path))
    curves.on_train_epoch_start(trainer, None)
    curves.on_validation_end(trainer, None)
    curves.on_train_epoch_end(trainer, None)
    curves.on_train_epoch_start(trainer, None)
    curves.on_train_epoch_end(trainer, None)
    assert [row.get("val/rmse") for row in curves.rows] == [1.0, None]
    assert [row["train/loss"] for row in curves.rows] == [2.0, 2.0]


def test_without_writing_the_rows_are_collected_for_other_loggers(tmp_path):
    curves = Curves(RunFolder(tmp_path), write=False)
    curves.on_train_epoch_end(fake_trainer(), None)
    assert len(curves.rows) == 1
    assert not (tmp_path / "metrics.csv").exists()


def test_the_name_in_checkpoints_is_that_of_version_0_1(tmp_path):
    assert Curves(RunFolder(tmp_path)).state_key == "Curves"


def test_none_leaves_no_curves(tmp_path):
    train(settings_of(*TINY, "trainer.max_epochs=1", "logger=none"), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.csv").exists()
