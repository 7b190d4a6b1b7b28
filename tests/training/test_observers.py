"""Callbacks and loggers of a whole training: what each choice leaves, and classes of other packages."""

import pandas as pd
import pytest
from pytorch_lightning import Callback

from facekp import train as command
from facekp.core.errors import UserError
from facekp.runs.folder import RunFolder
from facekp.training.loggers.wandb_callback import WandbCallback
from facekp.training.observers import build_callbacks, build_loggers
from facekp.training.setup import train
from tests.conftest import TINY, settings_of

MONITOR = "++callbacks.monitor._target_=pytorch_lightning.callbacks.LearningRateMonitor"


class Losses(Callback):
    """A callback of another package, as far as facekp knows."""

    def __init__(self, path):
        self.path = path

    def on_train_epoch_end(self, trainer, pl_module):
        with open(self.path, "a") as file:
            file.write(f"{trainer.callback_metrics['train/loss'].item()}\n")


def built(*overrides, folder="unused"):
    settings, run = settings_of(*TINY, *overrides), RunFolder(folder)
    callbacks = build_callbacks(settings.callbacks, settings.logger, settings.plain(), run, Callback())
    return callbacks, build_loggers(settings.logger, run)


def names(callbacks):
    return [type(callback).__name__ for callback in callbacks]


def test_checkpoints_come_last_and_after_the_results_that_they_save():
    order = names(built("logger=wandb", "callbacks.patience=3", "callbacks.ema=0.9", MONITOR)[0])
    assert order == [
        "Curves",
        "WeightAveraging",
        "PatientStopping",
        "LearningRateMonitor",
        "Callback",
        "EpochLog",
        "LightningLogs",
        "WandbCallback",
        "BestAndLastCheckpoints",
    ]


def test_wandb_can_be_disabled_by_the_environment(monkeypatch):
    assert any(isinstance(callback, WandbCallback) for callback in built("logger=wandb")[0])
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert not any(isinstance(callback, WandbCallback) for callback in built("logger=wandb")[0])


def test_loggers_are_built_by_choice_and_by_class(tmp_path):
    pytest.importorskip("tensorboard")
    csv = ("++logger.mine._target_=pytorch_lightning.loggers.CSVLogger", f"++logger.mine.save_dir={tmp_path}")
    assert names(built()[1]) == ["NoLogger"]
    assert names(built("logger=[csv,tensorboard]", *csv)[1]) == ["CSVLogger", "TensorBoardLogger"]
    with pytest.raises(UserError, match=r"^logger.bad._target_=os.system: is not a"):
        built("++logger.bad._target_=os.system")
    with pytest.raises(UserError, match=r"^logger.mine._target_=.*LearningRateMonitor: is not a"):
        built("++logger.mine._target_=pytorch_lightning.callbacks.LearningRateMonitor")
    with pytest.raises(UserError, match=r"^callbacks.mine._target_=.*CSVLogger: is not a"):
        built("++callbacks.mine._target_=pytorch_lightning.loggers.CSVLogger")


def test_a_callback_of_another_package_runs_in_a_training_and_after_its_resume(tmp_path):
    path = tmp_path / "losses.txt"
    added = [f"++callbacks.losses._target_={__name__}.Losses", f"++callbacks.losses.path={path}"]
    train(settings_of(*TINY, MONITOR, *added), tmp_path / "run")
    assert len(path.read_text().splitlines()) == 2
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert curves["lr-Adam"].tolist() == pytest.approx(curves["lr"].tolist())  # its learning rate is a curve too
    config = RunFolder(tmp_path / "run").read_config()
    assert config["callbacks"]["losses"] == {"_target_": f"{__name__}.Losses", "path": str(path)}
    train(settings_of(*TINY, MONITOR, *added, "trainer.max_epochs=3"), tmp_path / "run", resume=True)
    assert len(path.read_text().splitlines()) == 3


def test_a_metric_that_early_stopping_does_not_find_is_one_line_with_those_there_are(tmp_path):
    stopping = "++callbacks.stop._target_=pytorch_lightning.callbacks.EarlyStopping"
    with pytest.raises(UserError, match=r"^trainer: Early stopping .*val/rsme.*val/rmse") as caught:
        train(settings_of(*TINY, stopping, "++callbacks.stop.monitor=val/rsme"), tmp_path / "run")
    assert len(str(caught.value).splitlines()) == 1


PLUGIN = """
from pathlib import Path
from pytorch_lightning import Callback

class Recorder(Callback):
    def __init__(self, name):
        self.name = name

    def on_fit_end(self, trainer, pl_module):
        Path(trainer.default_root_dir, self.name).touch()
"""


def test_a_sweep_passes_added_callbacks_to_every_job(tmp_path, run_here):
    """Without a plus sign, and from a module of the working directory."""
    (tmp_path / "recorder.py").write_text(PLUGIN)
    added = ["callbacks.mine._target_=recorder.Recorder", "callbacks.mine.name=one,two"]
    small = [*TINY, "trainer.max_epochs=1", "logger=[csv,tensorboard]", "logger.faces=0"]
    code, err = run_here("train", command.main, "-m", *small, *added, "hydra.sweep.dir=sweep")
    assert code == 0, err
    recorded = {path.parent.name: path.name for path in tmp_path.glob("sweep/*/*") if path.name in ("one", "two")}
    assert recorded == {"name-one": "one", "name-two": "two"}
    assert len(list(tmp_path.glob("sweep/*/tensorboard"))) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("callbacks.mine._target_=os.system", "callbacks.mine._target_=os.system: is not a pytorch_lightning"),
        ("+callbacks.mine._target_=os.system", "callbacks.mine._target_=os.system: is not a pytorch_lightning"),
        ("+callbacks.patiance=3", "callbacks.patiance: unknown key; did you mean patience?"),
        ("logger=[csv,wndb]", "logger=wndb: there is no such choice"),
        ("logger=[]", "logger=: there is no such choice"),
        ("optimizer=[adam,sgd]", "optimizer=[adam,sgd]: takes one choice, not a list"),
    ],
)
def test_a_mistake_at_the_command_line_is_one_line(tmp_path, run_here, override, message):
    code, err = run_here("train", command.main, *TINY, override, "out=run")
    assert code == 2
    assert err.startswith(f"facekp: error: {message}")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_training_validated_every_second_epoch_has_all_its_files(tmp_path):
    overrides = [
        "trainer.max_epochs=5",
        "trainer.check_val_every_n_epoch=2",
        "callbacks.patience=9",
        "callbacks.ema=0.5",
        "logger=tensorboard",
        "logger.faces=0",
    ]
    metrics = train(settings_of(*TINY, *overrides), tmp_path / "run")
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert curves["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert curves["val/rmse"].notna().tolist() == [False, True, False, True, False]
    assert curves["train/loss"].notna().all()
    assert metrics["epochs"] == 5
    assert metrics["rmse"] == pytest.approx(curves["val/rmse"].min(), rel=1e-4)


def test_early_stopping_counts_validations(tmp_path):
    overrides = ["trainer.max_epochs=30", "trainer.check_val_every_n_epoch=2", "lr=1e-9", "callbacks.patience=2"]
    metrics = train(settings_of(*TINY, *overrides), tmp_path / "run")
    curve = pd.read_csv(tmp_path / "run" / "metrics.csv")["val/rmse"].dropna()
    assert metrics["epochs"] == 2 * len(curve) < 30
    assert (curve.iloc[-2:] >= curve.iloc[:-2].min()).all()


def test_training_stops_where_the_validation_rmse_no_longer_falls(tmp_path):
    metrics = train(settings_of(*TINY, "trainer.max_epochs=30", "lr=1e-9", "callbacks.patience=2"), tmp_path / "run")
    curve = pd.read_csv(tmp_path / "run" / "metrics.csv")["val/rmse"]
    assert metrics["epochs"] == len(curve) < 30
    assert (curve.iloc[-2:] >= curve.iloc[:-2].min()).all()


@pytest.mark.parametrize(
    "limit", ["trainer.fast_dev_run=true", "trainer.limit_val_batches=1", "trainer.limit_train_batches=1"]
)
def test_a_shortened_training_is_scored_on_all_validation_rows(tmp_path, limit):
    overrides = ["data.batch_size=4", "logger=[csv,tensorboard]", "logger.faces=1", limit]
    metrics = train(settings_of(*TINY, *overrides), tmp_path / "run")
    split = pd.read_csv(tmp_path / "run" / "split.csv")
    predictions = pd.read_csv(tmp_path / "run" / "predictions.csv")
    assert metrics["finished"] is True
    assert set(predictions["row"]) == set(split.loc[split["set"] == "val", "row"])
