"""Scoring: only rows that trained no checkpoint, and ensembles as the mean of their answers."""

import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from facekp.core.errors import UserError
from facekp.data.synthetic.faces import draw_faces
from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import load_models, predict_points
from facekp.models.scoring import compute_metrics, score, unseen_rows
from facekp.training.setup import train
from tests.conftest import TINY, config_of


@pytest.fixture(scope="module")
def other_fold(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "other"
    train(config_of(*TINY, "data.fold=1", "trainer.max_epochs=1"), folder)
    return folder / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def table(scheme):
    return draw_faces(60, 0, scheme)


def test_only_the_fold_held_out_is_scored_and_gives_the_run_s_own_figure(tiny_run, table):
    trained = load_checkpoint(tiny_run / "checkpoints" / "best.ckpt")
    rows = unseen_rows([trained], table)
    split = pd.read_csv(tiny_run / "split.csv")
    assert rows.tolist() == np.flatnonzero(split["set"] == "val").tolist()
    figures, _, _ = score([trained], table.take(rows), table.take(np.setdiff1d(np.arange(60), rows)))
    own = json.loads((tiny_run / "metrics.json").read_text())
    assert figures["rmse"] == pytest.approx(own["rmse"], rel=1e-6)
    assert figures["mean_face"]["rmse"] == pytest.approx(own["mean_face"]["rmse"], rel=1e-6)


def test_a_row_that_trained_one_of_two_checkpoints_is_not_scored(tiny_run, other_fold, table):
    both = [load_checkpoint(tiny_run / "checkpoints" / "best.ckpt"), load_checkpoint(other_fold)]
    with pytest.raises(UserError, match="all 60 rows trained"):
        unseen_rows(both, table)


def test_new_faces_are_all_scored_and_near_copies_of_trained_ones_are_not(tiny_run, scheme, table):
    trained = load_checkpoint(tiny_run / "checkpoints" / "best.ckpt")
    fresh = draw_faces(30, 77, scheme)
    assert len(unseen_rows([trained], fresh)) == 30
    mixed = fresh.take(np.arange(30))
    seen = np.flatnonzero(pd.read_csv(tiny_run / "split.csv")["set"] == "train")[0]
    mixed.images[4] = np.clip(table.images[seen].astype(int) + 1, 0, 255)
    mixed.images[5] = table.images[seen]
    assert unseen_rows([trained], mixed).tolist() == [i for i in range(30) if i not in (4, 5)]


def test_several_checkpoints_answer_with_the_mean_of_their_points(tiny_run, other_fold, table):
    one, two = load_checkpoint(tiny_run / "checkpoints" / "best.ckpt"), load_checkpoint(other_fold)
    points, _ = predict_points([one, two], table)
    expected = (predict_points([one], table)[0] + predict_points([two], table)[0]) / 2
    np.testing.assert_allclose(points, expected, atol=1e-4)


def test_the_trimmed_rmse_leaves_out_the_worst_hundredth_of_labelled_values(table):
    truth = np.array(table.points)
    truth[::3, 5] = np.nan
    random = np.random.default_rng(0)
    found = (np.nan_to_num(truth) + random.normal(0, 2, truth.shape)).astype(np.float32)
    found[0, 0] = -500  # two values of a wrong label
    figures = compute_metrics(found, replace(table, points=truth))
    worst_first = sorted(((found - truth)[~np.isnan(truth)].astype(np.float64) ** 2).tolist(), reverse=True)
    n = len(worst_first)
    assert n == figures["labelled_values"]
    assert n % 100  # so that rounding down shows
    assert figures["rmse/trimmed"] == pytest.approx(np.sqrt(np.mean(worst_first[n // 100 :])), rel=1e-6)
    assert figures["rmse/trimmed"] < 2.1 < 9 < figures["rmse"]


def test_labels_that_lie_to_one_side_of_the_answers_are_measured_by_source(table):
    found = np.nan_to_num(table.points) - np.where(table.source == 1, np.float32(1.25), 0)[:, None, None] * [1, 2]
    found[0, 0] -= 500
    figures = compute_metrics(found.astype(np.float32), table)
    assert figures["offset/dense"] == pytest.approx(0, abs=1e-3)
    assert figures["offset/sparse"] == pytest.approx(1.25, abs=1e-3)


def test_below_a_hundred_values_none_is_left_out(table):
    few = table.take(np.arange(1))
    figures = compute_metrics(np.nan_to_num(few.points) + np.float32(3), few)
    assert figures["rmse/trimmed"] == pytest.approx(figures["rmse"], rel=1e-6)


def test_the_checkpoint_s_decoder_holds_unless_another_is_asked_for(tiny_run):
    path = str(tiny_run / "checkpoints" / "best.ckpt")
    one_view = {"shift": 0.0, "scale": 0.0}

    def decoder(*overrides):
        config = config_of(f"ckpt={path}", *overrides, name="evaluate")
        return load_models(config["ckpt"], config["decoder"])[0].model.decoder

    assert decoder()["rule"] == "subpixel"
    assert decoder("decoder=argmax") == {"rule": "argmax", "flip": False, "floor": 0.0, **one_view}
    assert decoder("decoder.flip=true") == {"rule": "subpixel", "flip": True, "floor": 0, **one_view}


def test_images_of_another_size_are_told(tiny_run, table):
    trained = load_checkpoint(tiny_run / "checkpoints" / "best.ckpt")
    with pytest.raises(UserError, match="size"):
        predict_points([trained], replace(table, images=np.zeros((60, 64, 64), np.uint8)))


def test_the_command_writes_figures_and_predictions(tiny_run, tmp_path, monkeypatch, capfd):
    from hydra.core.global_hydra import GlobalHydra

    from facekp.config import command as cli
    from facekp.models import scoring as evaluate

    monkeypatch.chdir(tmp_path)
    path = tiny_run / "checkpoints" / "best.ckpt"
    monkeypatch.setattr(sys, "argv", ["evaluate", f"ckpt={path}", "data=synthetic", "data.rows=60", "out=scored"])
    GlobalHydra.instance().clear()
    cli.run_command("evaluate", evaluate.main)
    GlobalHydra.instance().clear()
    own = json.loads((tiny_run / "metrics.json").read_text())
    assert json.loads((tmp_path / "scored" / "metrics.json").read_text())["rmse"] == pytest.approx(own["rmse"])
    assert (tmp_path / "scored" / "predictions.csv").is_file()
    assert yaml.safe_load((tmp_path / "scored" / "overrides.yaml").read_text()) == [*sys.argv[1:]]
    assert (tmp_path / "scored" / "git.txt").read_text() == (tiny_run / "git.txt").read_text()
    assert "nose_tip" in capfd.readouterr().out
