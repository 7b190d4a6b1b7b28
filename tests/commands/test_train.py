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
from facekp.training.setup import train
from tests.conftest import TINY, config_of, facekp, settings_of

EXPERIMENTS = sorted(
    str(p.relative_to(CONF_DIR / "experiment"))[:-5] for p in (CONF_DIR / "experiment").rglob("*.yaml")
)


def test_a_run_s_folder_has_these_files(tiny_run):
    assert {p.name for p in tiny_run.iterdir()} == {
        "config.yaml",
        "overrides.yaml",
        "git.txt",
        "environment.yaml",
        "data.yaml",
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
        "nme_curve.png",
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


def test_the_same_seed_trains_the_same_weights_and_another_seed_other_ones(tmp_path):
    def weights(name, *more):
        train(settings_of(*TINY, "trainer.max_epochs=1", *more), tmp_path / name)
        return torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    first, again, other = weights("a"), weights("b"), weights("c", "seed=1")
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_trains_a_step(experiment, tiny_run, tmp_path):
    small = ["data=synthetic", "data.rows=20", "data.batch_size=4", "trainer=cpu", "trainer.fast_dev_run=1"]
    if experiment == "student":
        teacher = tiny_run / "checkpoints" / "best.ckpt"
        small += [f"teacher.ckpt={teacher}", "teacher.unlabelled=false", "teacher.seen=true"]
    quiet = ["callbacks.progress=false", "callbacks.pictures=0", "init_from=null"]  # no step before is trained here
    metrics = train(settings_of(f"experiment={experiment}", *small, *quiet), tmp_path / "run")
    assert np.isfinite(metrics["rmse"])
    assert metrics["steps"] == 1
    assert Path(metrics["checkpoint"]).is_file()


def test_each_step_of_the_published_system_starts_from_the_one_before():
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


def test_a_mistake_leaves_its_folder_free(tmp_path):
    with pytest.raises(UserError, match=r"no\.ckpt"):
        train(settings_of(*TINY, "init_from=no.ckpt"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_wandb_runs_in_one_process_stay_two(tmp_path):
    wandb = ["logger=wandb", "logger.offline=true", "logger.faces=0"]
    for name in ("a", "b"):
        train(settings_of(*TINY, "trainer.max_epochs=1", *wandb), tmp_path / name)
        assert len(list((tmp_path / name / "wandb").glob("offline-run-*/*.wandb"))) == 1


@pytest.mark.slow
def test_lightning_s_tips_stay_out_of_the_output(tmp_path):
    done = facekp("train", *TINY, "trainer.max_epochs=1", "out=run", cwd=tmp_path, anew=True)
    assert done.returncode == 0, done.stderr
    assert "Tip" not in done.stderr
    assert "available" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("ckpt: ")] == [
        "ckpt: run/checkpoints/best.ckpt"
    ]
