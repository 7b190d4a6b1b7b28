"""Runs are found, read, named by the settings that differ, and grouped; unreadable folders are skipped and logged."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from facekp.core.errors import UserError
from facekp.reporting.bench.example_runs import write_example_runs
from facekp.reporting.html.collect import by_image, read_runs
from facekp.reporting.html.grouping import differing, group_runs, short_names
from facekp.runs.folder import RunFolder

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def root(tmp_path, faces, example_config):
    write_example_runs(tmp_path / "runs", 6, faces, example_config)
    return tmp_path / "runs"


def test_runs_are_found_at_any_depth_once_and_best_first(root):
    (root / "sweep" / "deep").mkdir(parents=True)
    shutil.move(root / "run005", root / "sweep" / "deep" / "lr-1,a b=<i>")
    inner = root / "run000" / "wandb" / "offline-run" / "files"  # another program's config.yaml inside a run
    inner.mkdir(parents=True)
    (inner / "config.yaml").write_text("wandb: 1\n")
    (root / ".hydra").mkdir()
    (root / ".hydra" / "config.yaml").write_text("lr: 1\n")
    runs, skipped = read_runs([root, root / "run000", root / "sweep"])
    assert not skipped
    assert {run.name for run in runs} == {"run000", "run001", "run002", "run003", "run004", "sweep/deep/lr-1,a b=<i>"}
    scores = [run.metrics["rmse"] for run in runs]
    assert scores == sorted(scores)
    (run,), _ = read_runs([root / "run003"])
    assert run.name == "run003"
    assert len(run.curves) == 30


def test_squared_errors_by_image_give_the_rmse_of_the_run(root):
    runs, _ = read_runs([root])
    for run in runs:
        pooled = np.sqrt(run.images["squared"].sum() / run.images["values"].sum())
        assert pooled == pytest.approx(run.metrics["rmse"], rel=1e-5)
        assert run.images["values"].sum() == run.metrics["labelled_values"]


def test_labels_whose_names_were_exchanged_are_other_labels():
    left, right = [30.0, 40.0], [65.0, 41.0]
    columns = {"row": 1, "source": "dense", "keypoint": ["left_eye", "right_eye"], "error": 1.0}
    before, after = (
        by_image(pd.DataFrame({**columns, "true_x": [a[0], b[0]], "true_y": [a[1], b[1]]}))
        for a, b in ((left, right), (right, left))
    )
    assert not before.index.isin(after.index).any()
    assert before["squared"].tolist() == after["squared"].tolist() == [2.0]


def test_broken_and_unfinished_folders_are_logged_and_skipped(root, caplog):
    (root / "run000" / "metrics.json").unlink()
    (root / "run001" / "metrics.json").write_text('{"rmse": 1.5')
    (root / "run001" / "status.json").write_text("{}")
    (root / "run002" / "config.yaml").write_text("lr: [1,\n")
    (root / "run003" / "metrics.json").unlink()
    failed = {"status": "failed", "message": "loss is NaN", "differs": {}}
    (root / "run003" / "status.json").write_text(json.dumps(failed))
    metrics = json.loads((root / "run004" / "metrics.json").read_text())
    (root / "run004" / "metrics.json").write_text(json.dumps({**metrics, "finished": False}))
    (root / "run005" / "predictions.csv").write_text("row,so")
    (root / "run005" / "metrics.csv").write_bytes(b"\xff\xfe\x00")
    shutil.copytree(root / "run004", root / "scored")
    (root / "scored" / "config.yaml").unlink()
    (root / "refused").mkdir()
    (root / "refused" / "status.json").write_text(json.dumps({**failed, "message": "lr=fast: must be a number"}))
    runs, skipped = read_runs([root])
    reasons = {run.name: run.reason for run in skipped}
    assert set(reasons) == {"run000", "run001", "run002", "run003", "scored", "refused"}
    assert "unfinished" in reasons["run000"]
    assert "metrics.json" in reasons["run001"]
    assert "config.yaml" in reasons["run002"]
    assert "lr=fast" in reasons["refused"]
    assert "loss is NaN" in reasons["run003"]
    assert {run.name: run.finished for run in runs} == {"run004": False, "run005": True}
    bare = next(run for run in runs if run.name == "run005")
    assert bare.images.empty
    assert bare.curves.empty
    for name in ("run000", "run001", "run002", "run003", "run004", "run005", "scored"):
        assert name in caplog.text


def edit_metrics(folder, **changes):
    """Change keys of metrics.json; None removes a key."""
    metrics = {**json.loads((folder / "metrics.json").read_text()), **changes}
    (folder / "metrics.json").write_text(json.dumps({k: v for k, v in metrics.items() if v is not None}))


def test_a_run_without_a_baseline_is_read_and_one_without_a_score_says_so(root):
    edit_metrics(root / "run000", mean_face={"labelled_values": 8})
    edit_metrics(root / "run001", rmse=None)
    runs, skipped = read_runs([root])
    by_name = {run.name: run for run in runs}
    assert (by_name["run000"].baseline, by_name["run000"].gain) == (None, None)
    other = by_name["run002"]
    assert other.gain == pytest.approx(1 - other.metrics["rmse"] / other.metrics["mean_face"]["rmse"])
    (reason,) = [run.reason for run in skipped]
    assert reason.endswith("metrics.json: has no RMSE, as no labelled point could be scored")


def test_runs_have_a_short_name_beside_their_path(root):
    (root / "sweep").mkdir()
    for i in (0, 1):
        shutil.move(root / f"run00{i}", root / "sweep" / f"optimizer-adam_lr-{i}")
    short = {run.name: run.short_name for run in read_runs([root])[0]}
    assert short["sweep/optimizer-adam_lr-1"] == "lr-1"
    assert short["run002"] == "run002"


def test_a_folder_without_runs_is_an_error_that_names_it(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        read_runs([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="no run"):
        read_runs([tmp_path])
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.yaml").write_text(yaml.safe_dump({"lr": 1}))
    with pytest.raises(UserError, match=r"one: no metrics\.json"):
        read_runs([tmp_path])


def test_runs_of_version_0_1_0_differ_only_in_what_they_were_run_with():
    runs, skipped = read_runs([FIXTURES / "v0_1"])
    assert not skipped
    assert sorted(run.name for run in runs) == ["run", "run_ema", "run_older"]
    by_name = {run.name: run for run in runs}
    assert all(run.predictions["error"].notna().all() and len(run.curves) == 1 for run in runs)
    assert differing([by_name["run"].compared, by_name["run_ema"].compared]) == ["callbacks.ema"]
    differ = differing([by_name["run"].compared, by_name["run_older"].compared])
    assert all(key.split(".")[0] in ("lr", "optimizer", "scheduler", "data") for key in differ), differ


def test_differing_keys_get_short_names_and_a_missing_key_differs():
    configs = [{"lr": 1, "optimizer.name": "sgd", "a.scale": 1, "b.scale": 2, "same": [1]}]
    configs.append({"lr": 1.0, "optimizer.name": "adam", "a.scale": 2, "b.scale": 1, "same": [1], "new": None})
    keys = differing(configs)
    assert keys == ["optimizer.name", "a.scale", "b.scale", "new"]
    assert list(short_names(keys).values()) == ["optimizer", "a.scale", "b.scale", "new"]


def test_runs_that_differ_only_in_seed_or_fold_are_a_group(root):
    runs, _ = read_runs([root])
    groups = group_runs(runs)
    assert sorted(len(group.runs) for group in groups) == [3, 3]
    assert {group.name for group in groups} == {"lr=0.001", "lr=0.002"}
    group = groups[0]
    expected = pd.concat([run.images["squared"] for run in group.runs], axis=1).mean(axis=1)
    assert np.allclose(group.images["squared"].sort_index(), expected.sort_index())
    assert len(group.images) == 80


@pytest.mark.parametrize("bounds", [[1.0], [1.0, None], 3.0])
def test_an_interval_that_is_none_is_refused(root, bounds):
    path = root / "run000" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "intervals": {"nme": bounds}}))
    _, (skipped,) = read_runs([root])
    assert "the interval of nme is" in skipped.reason


def test_equal_data_in_two_folders_are_one_set_of_images_and_one_group(root):
    for name, folder in (("run000", "/a"), ("run001", "/b")):
        config = yaml.safe_load((root / name / "config.yaml").read_text())
        config["data"] |= {"name": "folder", "images": folder, "labels": f"{folder}/labels.csv"}
        (root / name / "config.yaml").write_text(yaml.safe_dump({**config, "lr": 1.0, "seed": name}))
        (root / name / "data.yaml").write_text("images: 0123456789\nlabels: abcdef0123\n")
    runs = read_runs([root / "run000", root / "run001"])[0]
    assert {run.split for run in runs} == {"folder, labels abcdef01, fold 0 of 5"}
    assert len(group_runs(runs)) == 1


def test_unfinished_and_pruned_runs_come_last_and_are_in_no_group(root):
    edit_metrics(root / "run003", finished=False, rmse=0.1)
    (root / "run004" / "status.json").write_text(json.dumps({"status": "pruned"}))
    edit_metrics(root / "run004", finished=True, rmse=0.2)
    (root / "run000" / "status.json").write_text(json.dumps({"status": "ok"}))
    runs, _ = read_runs([root])
    assert [run.name for run in runs[-2:]] == ["run003", "run004"]
    assert [run.state for run in runs] == ["finished"] * 4 + ["unfinished", "pruned"]
    groups = {group.name: group for group in group_runs(runs)}
    assert [run.name for run in groups["lr=0.002"].runs] == ["run005"]
    assert groups["lr=0.002"].incomplete == 2
    assert (len(groups["lr=0.001"].runs), groups["lr=0.001"].incomplete) == (3, 0)


def test_of_runs_with_equal_seed_and_split_a_group_has_the_newest(root):
    shutil.copytree(root / "run000", root / "copy")
    os.utime(root / "run000" / "metrics.json", (100, 100))
    os.utime(root / "copy" / "metrics.json", (200, 200))
    edit_metrics(root / "run001", finished=False)
    shutil.copytree(root / "run001", root / "trained")
    edit_metrics(root / "trained", finished=True)
    group = next(group for group in group_runs(read_runs([root])[0]) if group.name == "lr=0.001")
    assert {run.name for run in group.runs} == {"copy", "trained", "run002"}
    assert (group.incomplete, group.repeats) == (1, 1)


def test_runs_that_searched_for_their_learning_rate_are_a_group(root):
    overrides = {"run000": ["lr=find"], "run001": ["experiment=searched"], "run002": ["lr=find", "lr=0.005"]}
    for i, (name, given) in enumerate(overrides.items()):
        config = yaml.safe_load((root / name / "config.yaml").read_text())
        (root / name / "config.yaml").write_text(yaml.safe_dump({**config, "lr": 0.003 + i / 1000}))
        (root / name / "overrides.yaml").write_text(yaml.safe_dump(given))
    for name in ("run000", "run001"):  # in run001, the experiment's file has lr: find
        curve = RunFolder(root / name).rate_curve
        curve.parent.mkdir(exist_ok=True)
        curve.touch()
    runs, _ = read_runs([root / name for name in overrides])
    assert {group.name: len(group.runs) for group in group_runs(runs)} == {"lr=find": 2, "lr=0.005": 1}
    assert {run.config["lr"] for run in runs} == {0.003, 0.004, 0.005}


def test_a_setting_that_follows_from_the_fold_or_the_seed_does_not_part_a_group(root):
    for name, written in (("run000", "s${seed}.ckpt"), ("run001", r"s$\{seed\}.ckpt"), ("run002", "s2.ckpt")):
        config = yaml.safe_load((root / name / "config.yaml").read_text())
        (root / name / "config.yaml").write_text(yaml.safe_dump({**config, "init_from": f"s{config['seed']}.ckpt"}))
        (root / name / "overrides.yaml").write_text(yaml.safe_dump([f"init_from={written}"]))
    runs, _ = read_runs([root / name for name in ("run000", "run001", "run002")])
    assert {group.name: len(group.runs) for group in group_runs(runs)} == {
        "init_from=s${seed}.ckpt": 2,
        "init_from=s2.ckpt": 1,
    }


def test_the_settings_of_a_group_are_written_as_in_yaml(root, caplog):
    config = yaml.safe_load((root / "run000" / "config.yaml").read_text())
    (root / "run000" / "config.yaml").write_text(yaml.safe_dump({**config, "init_from": None}))
    (root / "run001" / "config.yaml").write_text(yaml.safe_dump({**config, "init_from": "a.ckpt"}))
    runs, _ = read_runs([root / "run000", root / "run001"])
    assert {group.name for group in group_runs(runs)} == {"init_from=null", "init_from=a.ckpt"}
    assert not caplog.messages  # older runs have no overrides.yaml


def test_a_run_with_a_negative_rmse_is_damaged(root):
    edit_metrics(root / "run000", rmse=-3.0)
    _, (skipped,) = read_runs([root])
    assert (skipped.name, "rmse is '-3.0'; it is damaged" in skipped.reason) == ("run000", True)


def test_images_have_the_groups_of_the_split_where_the_run_has_them(root):
    split = pd.DataFrame({"row": range(1000), "group": np.arange(1000) // 3 * 3})
    split.to_csv(root / "run000" / "split.csv", index=False)
    split[["row"]].to_csv(root / "run001" / "split.csv", index=False)  # of another program
    (root / "run002" / "split.csv").write_text("row,group\n1,a\n")
    runs, _ = read_runs([root])
    images = {run.name: run.images for run in runs}
    rows = images["run000"].index.get_level_values("row").to_numpy()
    assert images["run000"]["group"].tolist() == (rows // 3 * 3).tolist()
    for name in ("run001", "run002", "run003"):
        assert images[name]["group"].tolist() == rows.tolist()
