"""`train`: what it checks before it trains."""

from dataclasses import replace

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.readers.read import read_table
from facekp.data.split import assign_folds, inseparable_groups
from facekp.functional.metrics import METRICS, Metric
from facekp.runs.folder import RunFolder
from facekp.training import setup
from facekp.training.setup import train
from tests.conftest import TINY, settings_of


@pytest.mark.parametrize("held_out", [True, False], ids=["only validation", "only training"])
def test_a_point_that_is_labelled_on_one_side_only_does_not_end_the_training(tmp_path, monkeypatch, held_out, caplog):
    settings = settings_of(*TINY, "callbacks.pictures=2", "trainer.max_epochs=1", "model.by_source=false")
    table = read_table(settings.data, settings.keypoints)
    fold_of = assign_folds(inseparable_groups(table), table.source, settings.data.folds, settings.data.split_seed)
    points, nose = table.points.copy(), table.keypoints.names.index("nose_tip")
    points[(fold_of == settings.data.fold) != held_out, nose] = np.nan
    monkeypatch.setattr("facekp.training.setup.read_table", lambda *args: replace(table, points=points))
    metrics = train(settings, tmp_path / "run")
    assert np.isfinite(metrics["mean_face"]["rmse"])
    assert ("rmse/nose_tip" in metrics) == held_out
    assert ("no training row has a label of nose_tip" in caplog.text) == held_out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.offsets={hand:1}"], "offsets: 'hand' is not a source"),
        (["data.folds=50", "data.rows=10"], r"data\.folds"),
        (["teacher.ckpt=no.ckpt"], r"no\.ckpt: does not exist"),
    ],
)
def test_what_only_the_data_or_a_file_shows_is_refused_before_the_folder_is_written(tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        train(settings_of(*TINY, *overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda scored: scored.attributes["pose"], "metric 'mine' .*KeyError: 'pose'"),
        (lambda scored: {"nose_tip": 1 / (scored.confidence is not None)}, "metric 'mine' .*ZeroDivisionError"),
        (lambda scored: "1", "metric 'mine' .*returned str"),
    ],
    ids=["data without its subset", "the baseline has no confidence", "no number"],
)
def test_a_metric_of_a_plug_in_that_would_fail_at_the_end_stops_the_training_before_it_starts(
    tmp_path, monkeypatch, compute, message
):
    monkeypatch.setitem(METRICS.entries, "mine", Metric("mine", compute, "mine"))
    with pytest.raises(UserError, match=message):
        train(settings_of(*TINY), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_metric_of_a_plug_in_with_a_key_of_another_one_stops_the_training_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS.entries, "mine", Metric("mine", lambda scored: {"eye": 1}, "mine"))
    monkeypatch.setitem(METRICS.entries, "mine/eye", Metric("mine/eye", lambda scored: 2, "eye"))
    with pytest.raises(UserError, match=r"its key mine/eye is taken by the metric 'mine'"):
        train(settings_of(*TINY), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_config_yaml_and_the_log_name_the_precision_that_was_taken(tmp_path, caplog, monkeypatch, precision):
    monkeypatch.setattr("facekp.training.setup.fastest_precision", lambda accelerator: precision)
    caplog.set_level("INFO")
    train(settings_of(*TINY, "trainer.precision=auto", "trainer.max_epochs=1"), tmp_path / "run")
    assert RunFolder(tmp_path / "run").read_config()["trainer"]["precision"] == precision
    assert f"trainer.precision=auto: {precision}" in caplog.text


def test_a_logger_that_can_t_be_closed_hides_neither_the_error_nor_the_others(caplog):
    class Full:
        def close(self):
            raise OSError(28, "No space left on device")

    class Other:
        def close(self):
            closed.append(True)

    closed = []
    setup._close([Full(), Other()])
    assert closed == [True]
    assert caplog.messages == ["Full could not be closed: [Errno 28] No space left on device"]
