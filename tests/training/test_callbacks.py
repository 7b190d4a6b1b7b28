"""Loggers: metrics.csv always but for none, and what was asked for beside it."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback

from facekp.core.errors import UserError
from facekp.models.checkpoint import load_checkpoint
from facekp.training.callbacks import MetricsCsv, build_callbacks
from facekp.training.setup import train
from tests.conftest import TINY, config_of


def run(folder, *overrides):
    train(config_of(*TINY, "trainer.max_epochs=1", *overrides), folder)
    return {p.name for p in folder.iterdir()}


def test_csv_holds_a_row_an_epoch_with_every_curve(tiny_run):
    curves = pd.read_csv(tiny_run / "metrics.csv")
    assert curves["epoch"].tolist() == [0, 1]
    assert curves["step"].tolist() == [1, 2]
    assert {"lr", "train/loss", "val/loss", "val/rmse", "val/rmse/dense", "val/rmse/nose_tip", "val/nme"} <= set(curves)
    assert curves.notna().all(axis=None)
    figures = json.loads((tiny_run / "metrics.json").read_text())
    assert 0 < curves["minutes"][0] <= curves["minutes"][1] <= figures["minutes"] + 0.01  # rounded to hundredths


def test_minutes_go_on_from_the_last_completed_epoch(tmp_path, monkeypatch):
    clock = iter([100.0, 130.0, 190.0, 5.0, 20.0])  # seconds; the second process has a clock of its own
    monkeypatch.setattr("facekp.callbacks.time.monotonic", lambda: next(clock))
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])
    trainer = SimpleNamespace(
        optimizers=[optimizer], callback_metrics={}, current_epoch=0, global_step=1, is_global_zero=True
    )
    first, second = MetricsCsv(tmp_path), MetricsCsv(tmp_path)
    first.on_fit_start(trainer, None)
    first.on_train_epoch_end(trainer, None)
    first.on_train_epoch_end(trainer, None)
    second.load_state_dict(first.state_dict())
    second.on_fit_start(trainer, None)
    second.on_train_epoch_end(trainer, None)
    assert pd.read_csv(tmp_path / "metrics.csv")["minutes"].tolist() == [0.5, 1.5, 1.75]


def test_none_leaves_no_curves(tmp_path):
    assert "metrics.csv" not in run(tmp_path / "run", "logger=none")


def test_tensorboard_stands_beside_the_curves(tmp_path):
    pytest.importorskip("tensorboard")
    assert {"metrics.csv", "tensorboard"} <= run(tmp_path / "run", "logger=tensorboard")


def test_an_unknown_logger_is_told_the_choices(tmp_path):
    with pytest.raises(UserError, match="csv, wandb, tensorboard, none"):
        build_callbacks({"logger": {"name": "paper"}}, tmp_path, None)


def test_averaged_weights_are_what_is_validated_and_kept(tmp_path):
    """Against an average kept by hand over the weights of every step."""
    from facekp.training import setup as module

    seen = []

    class Spy(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            seen.append(pl_module.model.network.heads[0].weight.detach().clone())

    original = module.build_callbacks
    module.build_callbacks = lambda *a: [*original(*a), Spy()]
    try:
        run(tmp_path / "run", "callbacks.ema=0.5", "data.batch_size=8", "lr=0.1")
    finally:
        module.build_callbacks = original
    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.5 * expected + 0.5 * weight
    raw = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    torch.testing.assert_close(raw["state_dict"]["detector.network.heads.0.weight"].contiguous(), expected.contiguous())
    assert len(seen) > 3


@pytest.mark.parametrize("decay", [0.9, 0.95])
def test_averaging_leaves_indices_as_they_are(tmp_path, decay):
    """In float32 0.9 * 3 + 0.1 * 3 is just below 3."""
    from facekp.training import setup as module

    kept = []

    class Spy(Callback):
        def on_validation_batch_end(self, trainer, pl_module, *_):  # the averaged ones are in place
            kept.append((pl_module.model.channels.clone(), pl_module.model.mirrored_channels.clone()))

    original = module.build_callbacks
    module.build_callbacks = lambda *a: [*original(*a), Spy()]
    try:
        run(tmp_path / "run", f"callbacks.ema={decay}", "data.batch_size=8")
    finally:
        module.build_callbacks = original
    model = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt").model
    assert kept
    for channels, mirrored in kept:
        assert torch.equal(channels, model.channels)
        assert torch.equal(mirrored, model.mirrored_channels)


def test_training_stops_where_the_validation_rmse_falls_no_more(tmp_path):
    figures = train(
        config_of(*TINY, "trainer.max_epochs=30", "lr=1e-9", "callbacks.patience=2", "callbacks.pictures=0"),
        tmp_path / "run",
    )
    curve = pd.read_csv(tmp_path / "run" / "metrics.csv")["val/rmse"]
    assert figures["epochs"] == len(curve) < 30
    assert (curve.iloc[-2:] >= curve.iloc[:-2].min()).all()
