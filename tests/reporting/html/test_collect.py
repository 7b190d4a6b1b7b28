"""Runs are found, read, named by what differs, grouped; what can't be read is told and stops nothing."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from facekp.core.errors import UserError
from facekp.reporting.benchmark import leave_runs
from facekp.reporting.html.collect import differing, group_runs, read_runs, short_names
from tests.conftest import config_of


@pytest.fixture
def root(tmp_path, faces):
    base = config_of("data=synthetic", "data.rows=80", "data.seed=1")
    leave_runs(tmp_path / "runs", 6, faces, base)
    return tmp_path / "runs"


def test_runs_are_found_at_any_depth_once_and_best_first(root, tmp_path):
    (root / "sweep" / "deep").mkdir(parents=True)
    shutil.move(root / "run005", root / "sweep" / "deep" / "lr-1,a b=<i>")
    inner = root / "run000" / "wandb" / "offline-run" / "files"  # another program's config.yaml inside a run
    inner.mkdir(parents=True)
    (inner / "config.yaml").write_text("wandb: 1\n")
    (root / ".hydra").mkdir()
    (root / ".hydra" / "config.yaml").write_text("lr: 1\n")
    runs, left_out = read_runs([root, root / "run000", root / "sweep"])
    assert not left_out
    assert {run.name for run in runs} == {"run000", "run001", "run002", "run003", "run004", "sweep/deep/lr-1,a b=<i>"}
    scores = [run.figures["rmse"] for run in runs]
    assert scores == sorted(scores)
    (one,), _ = read_runs([root / "run003"])
    assert one.name == "run003"
    assert len(one.curve) == 30


def test_squared_errors_of_an_image_give_the_run_s_own_rmse(root):
    runs, _ = read_runs([root])
    for run in runs:
        pooled = np.sqrt(run.images["squared"].sum() / run.images["values"].sum())
        assert pooled == pytest.approx(run.figures["rmse"], rel=1e-5)
        assert run.images["values"].sum() == run.figures["labelled_values"]


def test_broken_and_unfinished_folders_are_told_and_left_out(root, caplog):
    (root / "run000" / "metrics.json").unlink()
    (root / "run001" / "metrics.json").write_text('{"rmse": 1.5')
    (root / "run001" / "status.json").write_text("{}")
    (root / "run002" / "config.yaml").write_text("lr: [1,\n")
    (root / "run003" / "metrics.json").unlink()
    failed = {"status": "failed", "message": "loss is NaN", "differs": {}}
    (root / "run003" / "status.json").write_text(json.dumps(failed))
    figures = json.loads((root / "run004" / "metrics.json").read_text())
    (root / "run004" / "metrics.json").write_text(json.dumps({**figures, "finished": False}))
    (root / "run005" / "predictions.csv").write_text("row,so")
    (root / "run005" / "metrics.csv").write_bytes(b"\xff\xfe\x00")
    shutil.copytree(root / "run004", root / "scored")
    (root / "scored" / "config.yaml").unlink()
    (root / "refused").mkdir()
    (root / "refused" / "status.json").write_text(json.dumps({**failed, "message": "lr=fast: must be a number"}))
    runs, left_out = read_runs([root])
    reasons = {one.name: one.reason for one in left_out}
    assert set(reasons) == {"run000", "run001", "run002", "run003", "scored", "refused"}
    assert "unfinished" in reasons["run000"]
    assert "metrics.json" in reasons["run001"]
    assert "config.yaml" in reasons["run002"]
    assert "lr=fast" in reasons["refused"]
    assert "loss is NaN" in reasons["run003"]
    assert {run.name: run.finished for run in runs} == {"run004": False, "run005": True}
    bare = next(run for run in runs if run.name == "run005")
    assert bare.images.empty
    assert bare.curve.empty
    for name in ("run000", "run001", "run002", "run003", "run004", "run005", "scored"):
        assert name in caplog.text


def test_no_run_is_a_mistake_that_names_the_place(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        read_runs([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="no run"):
        read_runs([tmp_path])
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.yaml").write_text(yaml.safe_dump({"lr": 1}))
    with pytest.raises(UserError, match=r"one: no metrics\.json"):
        read_runs([tmp_path])


def test_what_differs_is_named_shortly_and_a_missing_key_differs():
    configs = [{"lr": 1, "optimizer.name": "sgd", "a.scale": 1, "b.scale": 2, "same": [1]}]
    configs.append({"lr": 1.0, "optimizer.name": "adam", "a.scale": 2, "b.scale": 1, "same": [1], "new": None})
    keys = differing(configs)
    assert keys == ["optimizer.name", "a.scale", "b.scale", "new"]
    assert list(short_names(keys).values()) == ["optimizer", "a.scale", "b.scale", "new"]


def test_runs_that_differ_in_seed_or_fold_only_are_a_group(root):
    runs, _ = read_runs([root])
    groups = group_runs(runs)
    assert sorted(len(group.runs) for group in groups) == [3, 3]
    assert {group.name for group in groups} == {"lr=0.001", "lr=0.002"}
    group = groups[0]
    expected = pd.concat([run.images["squared"] for run in group.runs], axis=1).mean(axis=1)
    assert np.allclose(group.images["squared"].sort_index(), expected.sort_index())
    assert len(group.images) == 80
