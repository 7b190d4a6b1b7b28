"""What Lightning's loggers get: learning rate, final figures, settings and, in TensorBoard, sample faces."""

import json

import pandas as pd
import pytest

from facekp.training.setup import train
from tests.conftest import TINY, settings_of

CSV = "++logger.mine._target_=pytorch_lightning.loggers.CSVLogger"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a training with TensorBoard and Lightning's own CSV logger."""
    pytest.importorskip("tensorboard")
    folder = tmp_path_factory.mktemp("lightning") / "run"
    loggers = ["logger=[csv,tensorboard]", "logger.faces=2", CSV, f"++logger.mine.save_dir={folder}/mine"]
    train(settings_of(*TINY, *loggers, "scheduler=cosine"), folder)
    return folder


@pytest.fixture(scope="module")
def board(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return events


def test_tensorboard_gets_every_curve_of_metrics_csv(run, board):
    curves = pd.read_csv(run / "metrics.csv")
    for name in set(curves) - {"step", "epoch"}:  # Lightning itself logs the epoch with each of its calls
        values = [event.value for event in board.Scalars(name)]
        assert values == pytest.approx(curves[name].tolist(), rel=1e-5), name
    assert [event.step for event in board.Scalars("lr")] == curves["step"].tolist()
    assert curves["lr"].nunique() == 2


def test_tensorboard_gets_the_final_figures_and_sample_faces(run, board):
    figures = json.loads((run / "metrics.json").read_text())
    for name in ("rmse", "rmse/dense", "rmse/nose_tip"):
        assert board.Scalars(f"final/{name}")[0].value == pytest.approx(figures[name], rel=1e-5)
    assert board.Scalars("final/mean_face/rmse")[0].value == pytest.approx(figures["mean_face"]["rmse"], rel=1e-5)
    pictures = board.Tags()["images"]
    rows = {int(tag.split("row ")[1].split(",")[0]) for tag in pictures}
    assert len(pictures) == 4
    assert rows < set(pd.read_csv(run / "predictions.csv")["row"])


def test_the_settings_are_kept_beside_the_events(run):
    assert "batch_size" in (run / "tensorboard" / "hparams.yaml").read_text()


def test_a_logger_of_another_package_gets_curves_and_final_figures(run):
    (path,) = (run / "mine").rglob("metrics.csv")
    logged = pd.read_csv(path)
    curves = pd.read_csv(run / "metrics.csv")
    for name in ("lr", "train/loss", "val/rmse"):
        assert logged[name].dropna().tolist() == pytest.approx(curves[name].tolist())
    figures = json.loads((run / "metrics.json").read_text())
    assert logged["final/rmse"].dropna().tolist() == pytest.approx([figures["rmse"]])


def test_no_faces_are_drawn_where_none_are_wanted(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(settings_of(*TINY, "trainer.max_epochs=1", "logger=tensorboard", "logger.faces=0"), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert events.Tags()["images"] == []
