"""Scoring: only rows that no checkpoint was trained on, and the metrics that their run recorded."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from facekp.core.errors import UserError
from facekp.data.near_duplicates import face_hashes, image_hashes
from facekp.data.synthetic.faces import draw_faces
from facekp.evaluate import main as evaluate
from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import load_models, predict_table
from facekp.models.scoring import compute_metrics, metric_input, score_models, score_predictions, unseen_rows
from facekp.models.settings import DecoderOverride
from facekp.training.setup import train
from tests.conftest import TINY, composed, settings_of
from tests.data.photo_folder import folder_settings, read_folder
from tests.drawn_photos import write_photos


@pytest.fixture(scope="module")
def other_fold(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "other"
    train(settings_of(*TINY, "data.fold=1", "trainer.max_epochs=1"), folder)
    return folder / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def table(scheme):
    return draw_faces(60, 0, scheme)


def test_only_the_held_out_fold_is_scored_and_gives_the_run_s_metrics(tiny_run, ckpt, table):
    loaded = load_checkpoint(ckpt)
    rows = unseen_rows([loaded], table)
    split = pd.read_csv(tiny_run / "split.csv")
    assert rows.tolist() == np.flatnonzero(split["set"] == "val").tolist()
    evaluation = score_models([loaded], table.take(rows), table.without(rows))
    recorded = json.loads((tiny_run / "metrics.json").read_text())
    assert evaluation.metrics["rmse"] == pytest.approx(recorded["rmse"], rel=1e-6)
    assert evaluation.metrics["mean_face"]["rmse"] == pytest.approx(recorded["mean_face"]["rmse"], rel=1e-6)
    np.testing.assert_array_equal(evaluation.prediction.points, predict_table([loaded], table.take(rows)).points)


def test_intervals_of_a_training_and_of_an_evaluation_draw_groups_that_a_split_keeps_together(
    tmp_path, table, monkeypatch
):
    def six_frames_each(table, cache=None):
        return np.arange(len(table)) // 6 * 6

    monkeypatch.setattr("facekp.training.dataset.inseparable_groups", six_frames_each)
    monkeypatch.setattr("facekp.reporting.evaluation.inseparable_groups", six_frames_each)
    recorded = train(settings_of(*TINY, "trainer.max_epochs=1"), tmp_path / "run")
    given = [f"ckpt={tmp_path / 'run'}", "data=synthetic", "data.rows=60", "decoder.floor=0"]
    evaluated = evaluate(composed(*given, name="evaluate"))
    rows = np.flatnonzero(pd.read_csv(tmp_path / "run" / "split.csv")["set"] == "val")
    models, held_out = [load_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")], table.take(rows)
    scored = score_models(models, held_out, table.without(rows), group=rows // 6).metrics["intervals"]["rmse"]
    assert recorded["intervals"]["rmse"] == evaluated["intervals"]["rmse"] == scored
    assert scored != score_models(models, held_out, table.without(rows)).metrics["intervals"]["rmse"]


def test_a_row_that_trained_one_of_two_checkpoints_is_not_scored(ckpt, other_fold, table):
    with pytest.raises(UserError, match="all 60 rows are training rows"):
        unseen_rows([load_checkpoint(ckpt), load_checkpoint(other_fold)], table)


def test_new_faces_are_all_scored_and_near_copies_of_trained_ones_are_not(tiny_run, ckpt, scheme, table):
    loaded = load_checkpoint(ckpt)
    fresh = draw_faces(30, 77, scheme)
    assert len(unseen_rows([loaded], fresh)) == 30
    mixed = fresh.take(np.arange(30))
    seen = np.flatnonzero(pd.read_csv(tiny_run / "split.csv")["set"] == "train")[0]
    mixed.images[4] = np.clip(table.images[seen].astype(int) + 1, 0, 255)
    mixed.images[5] = table.images[seen]
    assert unseen_rows([loaded], mixed).tolist() == [i for i in range(30) if i not in (4, 5)]


@pytest.mark.parametrize("changed", ["data.margin=0.5", "data.size=64"])
def test_faces_of_training_photos_are_not_scored_in_other_crops_either(changed, ckpt, tmp_path, caplog):
    write_photos(tmp_path, 12)
    trained = read_folder(tmp_path).take(np.arange(7))
    hashes = face_hashes(trained).ravel()
    loaded = replace(load_checkpoint(ckpt), trained_on=hashes, config={"data": folder_settings(tmp_path).plain()})
    table = read_folder(tmp_path, changed)
    assert not np.isin(image_hashes(table.images), hashes).any()
    rows = unseen_rows([loaded], table, folder_settings(tmp_path, changed))
    assert rows.tolist() == np.flatnonzero(~np.isin(table.name, trained.name)).tolist()
    assert 4 <= len(rows) <= 5  # a photo may have two faces
    assert "recognised" not in caplog.text


def test_a_checkpoint_without_records_is_scored_on_all_rows_with_a_warning(seed_weights, table, caplog):
    assert len(unseen_rows([load_checkpoint(seed_weights)], table)) == 60
    assert "does not record its training images" in caplog.text


def test_labels_that_lie_to_one_side_of_the_predictions_are_measured_by_source(table):
    found = np.nan_to_num(table.points) - np.where(table.source == 1, np.float32(1.25), 0)[:, None, None] * [1, 2]
    found[0, 0] -= 500
    metrics = compute_metrics(found.astype(np.float32), table)
    assert metrics["offset/dense"] == pytest.approx(0, abs=1e-3)
    assert metrics["offset/sparse"] == pytest.approx(1.25, abs=1e-3)


def test_a_point_that_is_labelled_in_the_held_out_rows_only_has_a_baseline(faces):
    nose = faces.keypoints.names.index("nose_tip")
    points = faces.points.copy()
    points[20:, nose] = np.nan
    others = replace(faces, points=points).take(np.arange(20, 80))
    held_out = faces.take(np.arange(20))
    metrics = score_predictions(metric_input(held_out.points, held_out), others)
    baseline = metrics["mean_face"]
    expected = held_out.points[:, nose] - 47.5  # the image's centre
    assert baseline["rmse/nose_tip"] == pytest.approx(float(np.sqrt(np.nanmean(expected**2))), rel=1e-5)
    assert np.isfinite(baseline["rmse"])


def test_below_a_hundred_values_none_is_trimmed(table):
    few = table.take(np.arange(1))
    metrics = compute_metrics(np.nan_to_num(few.points) + np.float32(3), few)
    assert metrics["rmse/trimmed"] == pytest.approx(metrics["rmse"], rel=1e-6)


def test_the_baseline_has_neither_confidence_nor_corrupted_images(table):
    found = np.nan_to_num(table.points)
    sure = np.linspace(0, 1, found[..., 0].size).reshape(found.shape[:2])
    scored = metric_input(found, table, None, sure, 0.5, {"noise": [metric_input(found + 1, table)]})
    metrics = score_predictions(scored, table)
    assert metrics["below_floor"] == pytest.approx((sure[table.mask] < 0.5).mean(), abs=1e-4)
    assert metrics["rmse/corrupted"] == pytest.approx(1, rel=1e-3)
    assert not {"below_floor", "rmse/corrupted"} & set(metrics["mean_face"])


def test_the_floor_of_an_ensemble_is_the_highest_of_its_models(table):
    models = load_models(["shipped", "shipped"], views="one")
    models[0].model.override_decoder(DecoderOverride(floor=1.0))
    models[1].model.override_decoder(DecoderOverride(floor=0.0))
    assert score_models(models, table.take(np.arange(8)), table).metrics["below_floor"] == 1
