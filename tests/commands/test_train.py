"""A whole training at the smallest scale, and every experiment in conf/."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.runs.sequence import is_finished
from facekp.training.setup import _tell_offsets, train
from tests.conftest import TINY, config_of

EXPERIMENTS = sorted(
    str(p.relative_to(CONF_DIR / "experiment"))[:-5] for p in (CONF_DIR / "experiment").rglob("*.yaml")
)


def test_a_run_s_folder_tells_all_about_it(tiny_run):
    assert {p.name for p in tiny_run.iterdir()} == {
        "config.yaml",
        "overrides.yaml",
        "git.txt",
        "split.csv",
        "metrics.csv",
        "metrics.json",
        "predictions.csv",
        "checkpoints",
        "pictures",
    }
    assert {p.name for p in (tiny_run / "pictures").iterdir()} == {
        "faces.png",
        "heatmaps.png",
        "curves.png",
        "error_curve.png",
    }
    assert {p.name for p in (tiny_run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert yaml.safe_load((tiny_run / "config.yaml").read_text())["lr"] == 1e-3


def test_the_figures_are_those_of_the_predictions(tiny_run):
    figures = json.loads((tiny_run / "metrics.json").read_text())
    rows = pd.read_csv(tiny_run / "predictions.csv")
    squared = (rows["x"] - rows["true_x"]) ** 2 + (rows["y"] - rows["true_y"]) ** 2
    assert figures["rmse"] == pytest.approx(np.sqrt(squared.sum() / (2 * len(rows))), rel=1e-4)
    dense = rows["source"] == "dense"
    assert figures["rmse/dense"] == pytest.approx(np.sqrt(squared[dense].sum() / (2 * dense.sum())), rel=1e-4)
    assert (rows["error"] - np.sqrt(squared)).abs().max() < 1e-3
    assert figures["labelled_values"] == 2 * len(rows)


def test_the_best_checkpoint_is_the_best_epoch_s(tiny_run):
    figures = json.loads((tiny_run / "metrics.json").read_text())
    curve = pd.read_csv(tiny_run / "metrics.csv")["val/rmse"].dropna()
    assert len(curve) == 2
    assert figures["rmse"] == pytest.approx(curve.min(), rel=1e-4)


def test_validation_rows_share_no_group_with_training_rows(tiny_run):
    split = pd.read_csv(tiny_run / "split.csv")
    assert len(split) == 60
    assert not set(split.loc[split["set"] == "val", "group"]) & set(split.loc[split["set"] == "train", "group"])


def test_the_same_seed_trains_the_same_weights_another_seed_others(tmp_path):
    def weights(name, *more):
        train(config_of(*TINY, "trainer.max_epochs=1", *more), tmp_path / name)
        return torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    first, again, other = weights("a"), weights("b"), weights("c", "seed=1")
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_init_from_starts_at_the_weights_given_and_remembers_their_images(tiny_run, tmp_path, caplog):
    best = tiny_run / "checkpoints" / "best.ckpt"
    config = config_of(*TINY, f"init_from={best}", "lr=1e-12", "data.fold=1", "trainer.max_epochs=1", "optimizer=sgd")
    train(config, tmp_path / "next")
    assert "validation images trained it; this run's scores say nothing about new faces" in caplog.text
    before = torch.load(best, weights_only=True)
    after = torch.load(tmp_path / "next" / "checkpoints" / "last.ckpt", weights_only=True)
    weight = "detector.network.heads.0.weight"
    torch.testing.assert_close(after["state_dict"][weight], before["state_dict"][weight])
    assert set(before["facekp"]["trained_on"].tolist()) <= set(after["facekp"]["trained_on"].tolist())
    assert len(after["facekp"]["trained_on"]) >= 59  # two different folds together saw nearly every image


def test_labels_all_to_one_side_are_told_with_the_way_out(caplog):
    config = config_of("data.offsets={dense:0.25,sparse:1}")
    _tell_offsets({"offset/dense": 0.1, "offset/sparse": 0.75}, config)
    assert "the labels of sparse lie 0.75 px right of the answers" in caplog.text
    assert "set 'data.offsets={dense:0.25,sparse:1.75}'" in caplog.text
    assert "labels of dense" not in caplog.text
    caplog.clear()
    _tell_offsets({"offset/sparse": 0.75}, config_of("augment=none"))
    assert not caplog.text


@pytest.mark.parametrize(
    ("offsets", "told"),
    [
        ("{sparse:x}", r"data\.offsets={'sparse': 'x'}: must be a number of pixels by source"),
        ("{hand:1}", "offsets: 'hand' is no source"),
    ],
)
def test_offsets_that_are_none_are_told(tmp_path, offsets, told):
    with pytest.raises(UserError, match=told):
        train(config_of(*TINY, f"data.offsets={offsets}"), tmp_path / "run")


def test_init_from_another_network_is_told_so(tiny_run, tmp_path):
    config = config_of(*TINY, f"init_from={tiny_run / 'checkpoints/best.ckpt'}", "model.network.channels=16")
    with pytest.raises(UserError, match="its network is another"):
        train(config, tmp_path / "next")


def test_clipped_gradients_move_the_weights_no_further_than_they_may(tmp_path):
    def head(name, *more):
        train(config_of(*TINY, "trainer.max_epochs=1", "optimizer=sgd", "optimizer.momentum=0", *more), tmp_path / name)
        return torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    still, free = head("still", "lr=1e-12"), head("free", "lr=0.1")
    clipped = head("clipped", "lr=0.1", "trainer.gradient_clip_val=1e-3")
    weights = [key for key in still if key.endswith("weight")]

    def moved(end):
        return sum((end[key] - still[key]).square().sum() for key in weights).sqrt().item()

    assert moved(clipped) < 1e-4 * 1.01 < moved(free)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_trains_a_step(experiment, tiny_run, tmp_path):
    small = ["data=synthetic", "data.rows=20", "data.batch_size=4", "trainer=cpu", "trainer.max_epochs=1"]
    if experiment == "student":
        teacher = tiny_run / "checkpoints" / "best.ckpt"
        small += [f"teacher.ckpt={teacher}", "teacher.unlabelled=false", "teacher.seen=true"]
    config = config_of(f"experiment={experiment}", *small, "callbacks.progress=false", "callbacks.pictures=0")
    config["trainer"] |= {"limit_train_batches": 1, "limit_val_batches": 1}
    config["init_from"] = None  # the step before is not trained here
    figures = train(config, tmp_path / "run")
    assert np.isfinite(figures["rmse"])
    assert Path(figures["checkpoint"]).is_file()


def test_the_starting_system_s_steps_go_on_from_each_other():
    steps = [
        config_of(f"experiment=seed/{e}")
        for e in ("1_sgd_complete", "2_adam_complete", "3_adam_full", "4_adam_full_lr5e-4")
    ]
    assert [s["optimizer"]["name"] for s in steps] == ["sgd", "adam", "adam", "adam"]
    assert [s["subset"] for s in steps] == ["complete", "complete", "full", "full"]
    assert [s["lr"] for s in steps] == [1e-3, 1e-3, 1e-3, 5e-4]
    assert [s["out"] for s in steps] == [f"outputs/ladder/{i}" for i in (1, 2, 3, 4)]
    assert [s["init_from"] for s in steps] == [
        None,
        None,
        *(f"outputs/ladder/{i}/checkpoints/best.ckpt" for i in (2, 3)),
    ]
    assert all(s["model"]["network"]["name"] == "hourglass_seed" for s in steps)


def test_the_command_line_beats_the_experiment_which_beats_the_group():
    assert config_of("experiment=quickstart")["optimizer"]["name"] == "adamw"
    assert config_of("experiment=quickstart", "optimizer=sgd")["optimizer"]["name"] == "sgd"
    assert config_of("experiment=quickstart", "lr=7")["lr"] == 7


def test_a_training_that_breaks_down_is_told_and_not_finished(tmp_path):
    config = config_of(*TINY, "loss=mse", "optimizer=sgd", "lr=1e30")
    with pytest.raises(UserError, match=r"training broke down.*lower lr"):
        train(config, tmp_path / "run")
    assert not is_finished(tmp_path / "run")


def test_a_mistake_leaves_its_folder_free(tmp_path):
    with pytest.raises(UserError, match="optimizer=sgd"):
        train(config_of(*TINY, "optimizer=sgd", "+optimizer.beta=1"), tmp_path / "run")
    train(config_of(*TINY, "trainer.max_epochs=1"), tmp_path / "run")


def test_two_wandb_runs_in_one_process_stay_two(tmp_path):
    for name in ("a", "b"):
        train(config_of(*TINY, "trainer.max_epochs=1", "logger=wandb", "logger.offline=true"), tmp_path / name)
        assert len(list((tmp_path / name / "wandb").glob("offline-run-*/*.wandb"))) == 1
