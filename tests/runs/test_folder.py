"""The folder of a run: every file is written whole, read back as it was, and refused by name where it is damaged."""

import json
import shutil
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from facekp.config.migration import migrate
from facekp.core.errors import CannotWrite, UserError
from facekp.runs.folder import RunFolder, RunStatus, find_runs
from facekp.runs.frames import predictions_frame, split_frame
from tests.conftest import REPOSITORY

OLD_RUN = REPOSITORY / "tests" / "fixtures" / "v0_1" / "run"


@pytest.fixture
def old_run(tmp_path):
    """A copy of a run that version 0.1.0 wrote."""
    return RunFolder(shutil.copytree(OLD_RUN, tmp_path / "run"))


def split(faces):
    rows = np.arange(len(faces))
    return split_frame(faces, rows % 5, rows, rows[1:], rows[:1])


def test_a_run_of_an_older_version_is_read(old_run):
    assert old_run.read_config()["optimizer"]["name"] == "muon"
    assert old_run.read_overrides()[0] == "data=synthetic"
    assert len(old_run.read_revision()) >= 40
    assert set(old_run.read_split()["set"]) == {"train", "val"}
    assert old_run.read_curves()["epoch"].tolist() == [1]  # version 0.1 counted from 0
    metrics = old_run.read_metrics()
    assert metrics["rmse"] == json.loads(old_run.metrics.read_text())["rmse"]
    predictions = old_run.read_predictions()
    squared = 2 * (predictions["error"].astype(float) ** 2).sum() / metrics["labelled_values"]
    assert np.sqrt(squared / 2) == pytest.approx(metrics["rmse"], rel=1e-5)
    assert old_run.is_finished()
    assert old_run.has_begun()
    assert old_run.best_checkpoint.is_file()
    assert old_run.last_checkpoint.is_file()


def test_attributes_that_look_like_numbers_are_read_back_as_text(tmp_path, faces):
    attributes = {
        "glasses": np.resize(["0", "1"], len(faces)),
        "scene": np.resize(["007", "1e3", "NA", ""], len(faces)),
    }
    written = split(replace(faces, attributes=attributes))
    RunFolder(tmp_path).write_start({}, written)
    pd.testing.assert_frame_equal(RunFolder(tmp_path).read_split(), written.astype({"set": str}))


def test_what_is_written_is_read_back(tmp_path, faces):
    run = RunFolder(tmp_path / "new")
    config = {"data": {"name": "synthetic"}, "model": {}, "keypoints": {}}
    run.write_start(config, split(faces))
    assert yaml.safe_load(run.config.read_text()) == config
    assert run.read_config() == migrate(config)
    assert run.read_overrides() == []
    pd.testing.assert_frame_equal(run.read_split(), split(faces).astype({"set": str}))
    assert run.read_groups().to_dict() == dict(zip(faces.row, faces.row, strict=True))
    curves = pd.DataFrame({"epoch": [1, 2], "minutes": [1.5, 2.5]})
    run.write_curves(curves)
    pd.testing.assert_frame_equal(run.read_curves(), curves)
    run.write_predictions(predictions_frame(faces, "val", faces.points, faces.mask.astype(float)))
    assert (run.read_predictions()["error"] == 0).all()
    run.write_reliability({"points": 9, "expected": [1, 2], "measured": [1.5, 2.5]})
    assert run.read_reliability() == {"expected": [1.0, 2.0], "measured": [1.5, 2.5]}
    run.write_wandb_identity({"id": "a", "group": None})
    assert run.read_wandb_identity() == {"id": "a", "group": None}
    status = RunStatus("failed", "loss is NaN", {"lr": "1"})
    run.write_status(status)
    assert run.read_status() == status
    assert json.loads(run.status.read_text()) == {"status": "failed", "message": "loss is NaN", "differs": {"lr": "1"}}
    run.write_environment({"threads": 2, "gpu": None})
    assert run.read_environment() == {"threads": 2, "gpu": None}
    run.write_data({"images": "ab"})
    assert run.read_data() == {"images": "ab"}
    run.write_traceback("line")
    run.remove_traceback()
    run.remove_traceback()
    assert not run.traceback.exists()


def test_a_source_and_a_point_may_have_names_that_pandas_takes_for_missing_values(tmp_path):
    written = pd.DataFrame({"row": [1, 2], "source": ["NA", "nan"], "keypoint": ["null", "None"]})
    RunFolder(tmp_path).write_predictions(written.assign(true_x=1.0, true_y=2.0, x=1.0, y=2.0, error=0.0))
    read = RunFolder(tmp_path).read_predictions()
    assert read[["row", "source", "keypoint"]].astype(str).equals(written.astype(str))


def test_the_settings_are_the_last_of_the_first_files(tmp_path, faces, monkeypatch):
    written = []
    for name in ("write_csv", "write_text", "write_yaml"):
        monkeypatch.setattr(f"facekp.runs.folder.{name}", lambda path, values: written.append(path.name))
    RunFolder(tmp_path).write_start({}, split(faces))
    assert sorted(written) == ["config.yaml", "git.txt", "overrides.yaml", "split.csv"]
    assert written[-1] == "config.yaml"


def test_files_that_are_not_there_yet(tmp_path):
    run = RunFolder(tmp_path / "new")
    assert not run.has_begun()
    assert not run.is_finished()
    assert run.read_status() == RunStatus("", "", {})
    assert run.read_reliability() is None
    assert run.read_wandb_identity() is None
    assert (run.read_environment(), run.read_data()) == ({}, {})
    assert run.read_curves().empty
    assert run.read_predictions().empty
    with pytest.raises(UserError, match=r"new/config.yaml does not exist; name the folder of a training"):
        run.read_config()
    for read, name in ((run.read_metrics, "metrics.json"), (run.read_split, "split.csv")):
        with pytest.raises(UserError, match=f"new/{name} does not exist"):
            read()


def test_a_run_is_finished_once_its_metrics_say_so(tmp_path):
    run = RunFolder(tmp_path)
    for metrics, finished in (({"finished": False}, False), ({"finished": True}, True), ({"rmse": 2.0}, True)):
        run.write_metrics(metrics)
        assert run.is_finished() == finished


def test_minutes_are_those_of_the_curves_which_include_the_time_before_a_resume(tmp_path):
    run = RunFolder(tmp_path)
    run.write_metrics({"rmse": 1.5, "minutes": 7.25})
    assert run.read_metrics()["minutes"] == 7.25
    run.write_curves(pd.DataFrame({"epoch": [1, 2, 3], "minutes": [11.0, 22.0, None]}))
    assert run.read_metrics() == {"rmse": 1.5, "minutes": 22.0}
    run.curves.write_bytes(b"\xff\xfe\x00")
    assert run.read_metrics()["minutes"] == 7.25


DAMAGES = {
    "config.yaml": (b"lr: [1,\n", "config.yaml can't be read: not valid YAML"),
    "config.yaml of another encoding": (b"\xff\xfe\x00", "config.yaml can't be read: not a text in UTF-8"),
    "config.yaml that is empty": (b"", "config.yaml can't be read: it lacks the settings data"),
    "config.yaml that is a list": (b"- a", "config.yaml can't be read: it lacks the settings data"),
    "config.yaml with a group that is a list": (b"{data: {}, model: [], keypoints: {}}", "lacks the settings model"),
    "metrics.json": (b'{"rmse": 1.5', r"metrics.json can't be read: .*delimiter"),
    "metrics.json that is a number": (b"1", "metrics.json can't be read"),
    "metrics.json with numbers as text": (b'{"rmse": "1.5"}', "metrics.json can't be read: rmse is '1.5'"),
    "metrics.json with a text of a source": (b'{"rmse/dense": "1.5"}', "rmse/dense is '1.5'"),
    "metrics.json with a huge number": (b'{"rmse": 1' + b"0" * 400 + b"}", "rmse is '1000"),
    "metrics.json with an infinite time": (b'{"rmse": 1.5, "minutes": 1e999}', "minutes is 'inf'"),
    "metrics.json with a negative epoch": (b'{"rmse": 1.5, "epochs": -1}', "epochs is '-1'"),
    "metrics.json with a list of points": (b'{"rmse": 1.5, "mean_face": [1]}', "mean_face is"),
    "metrics.json that is nested": (b"[" * 100_000, "metrics.json can't be read: nested more than"),
    "metrics.csv": (b"\xff\xfe\x00", "metrics.csv can't be read"),
    "metrics.csv with texts": (
        b"epoch,minutes\n1,soon\n",
        "metrics.csv can't be read: the column minutes is not of numbers",
    ),
    "metrics.csv with a huge epoch": (b"epoch\n1e300\n", "metrics.csv can't be read: the epochs do not increase"),
    "metrics.csv with an epoch twice": (b"epoch\n1\n1\n", "metrics.csv can't be read: the epochs do not increase"),
    "predictions.csv with an infinite number": (
        b"row,source,keypoint,true_x,true_y,x,y,error\n1,a,b,1,1,1,inf,1\n",
        "predictions.csv can't be read: a number is not finite",
    ),
    "predictions.csv with rows of text": (
        b"row,source,keypoint,true_x,true_y,x,y,error\nx,a,b,1,1,1,1,1\n",
        "predictions.csv can't be read",
    ),
    "predictions.csv": (b"row,so", "predictions.csv can't be read: the column source is missing"),
    "split.csv": (b"", "split.csv can't be read"),
    "status.json": (b"{", "status.json can't be read"),
    "status.json with a list": (b'{"status": ["ok"]}', "status.json can't be read: a value is not a string"),
    "status.json with another type of settings": (
        b'{"differs": ["lr"]}',
        "status.json can't be read: a value is not a string",
    ),
    "reliability.json with an error that is missing": (
        b'{"expected": [1], "measured": []}',
        "expected and measured differ in length",
    ),
    "corruptions.csv": (b"corruption,strength\nnoise,1\n", "corruptions.csv can't be read: the column rmse is missing"),
    "corruptions.csv with a huge number": (
        b"corruption,strength,rmse,rmse/trimmed\nnoise,1,1,1e99\n",
        "corruptions.csv can't be read: a number is not finite or too large",
    ),
    "corruptions.csv with text": (
        b"corruption,strength,rmse,rmse/trimmed\nnoise,1,x,1\n",
        "corruptions.csv can't be read",
    ),
    "corrupted_reliability.json": (
        b'{"expected": [1]}',
        "corrupted_reliability.json can't be read: it lacks 'measured'",
    ),
    "status.json with another key": (b'{"x": 1}', "status.json can't be read"),
    "reliability.json": (b'{"expected": [1]}', "reliability.json can't be read: it lacks 'measured'"),
    "overrides.yaml": (b"", "overrides.yaml can't be read"),
    "overrides.yaml that is a text": (b"lr=1", "overrides.yaml can't be read: it is not a list of strings"),
    "environment.yaml": (b"- a", "environment.yaml can't be read"),
    "data.yaml": (b"1", "data.yaml can't be read"),
    "wandb.yaml": (b"- a", "wandb.yaml can't be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_in_one_line(tmp_path, damage):
    content, message = DAMAGES[damage]
    run, name = RunFolder(tmp_path), damage.split()[0]
    (tmp_path / name).write_bytes(content)
    read = {
        "config.yaml": run.read_config,
        "metrics.json": run.read_metrics,
        "metrics.csv": run.read_curves,
        "predictions.csv": run.read_predictions,
        "split.csv": run.read_split,
        "status.json": run.read_status,
        "reliability.json": run.read_reliability,
        "corruptions.csv": run.read_corruptions,
        "corrupted_reliability.json": run.read_corrupted_reliability,
        "overrides.yaml": run.read_overrides,
        "wandb.yaml": run.read_wandb_identity,
        "environment.yaml": run.read_environment,
        "data.yaml": run.read_data,
    }[name]
    with pytest.raises(UserError, match=message) as error:
        read()
    assert "\n" not in str(error.value)


def test_figures_for_corrupted_images_are_read_as_they_were_written(tmp_path):
    run = RunFolder(tmp_path)
    assert run.read_corruptions().empty
    assert run.read_corrupted_reliability() is None
    rows = [("none", 0.0, 1.0, 0.9), ("noise", 10.0, 2.0, 1.8), ("shift", 90.0, float("nan"), float("nan"))]
    frame = pd.DataFrame(rows, columns=["corruption", "strength", "rmse", "rmse/trimmed"])
    run.write_corruptions(frame, {"expected": [1.0], "measured": [1.5], "largest_deviation": 0.5})
    assert run.read_corruptions().equals(frame[:2])  # nothing counts in the last row
    assert run.read_corrupted_reliability() == {"expected": [1.0], "measured": [1.5]}
    run.write_corruptions(frame, None)  # of a checkpoint that is not calibrated
    assert run.read_corrupted_reliability() is None


def test_a_job_with_a_damaged_status_counts_as_one_that_has_not_begun(tmp_path):
    run = RunFolder(tmp_path)
    run.write_status(RunStatus("ok"))
    assert run.known_status() == RunStatus("ok")
    run.status.write_text("{")
    assert run.known_status() == RunStatus()


def test_an_earlier_run_is_cleared_and_other_files_stay(old_run):
    (old_run.path / "notes.txt").write_text("")
    old_run.clear()
    left = {"overrides.yaml", "git.txt", "split.csv", "notes.txt"}
    assert {path.name for path in old_run.path.iterdir()} == left
    assert not old_run.has_begun()


def test_a_folder_that_no_run_wrote_is_not_cleared(tmp_path):
    folder = RunFolder(tmp_path)
    folder.pictures.mkdir()
    folder.config.write_text("of another program")
    folder.clear()
    assert folder.pictures.is_dir()
    assert folder.config.is_file()


def test_the_config_is_written_again_only_if_it_differs(old_run):
    config, before = old_run.read_config(), old_run.config.stat().st_mtime_ns
    old_run.update_config(config)
    assert old_run.config.stat().st_mtime_ns == before
    old_run.update_config({**config, "lr": 7.0})
    assert old_run.read_config()["lr"] == 7.0


def test_epochs_and_minutes_so_far(old_run, tmp_path):
    assert old_run.completed_epochs() == 1
    assert old_run.minutes() == pd.read_csv(old_run.curves)["minutes"].iloc[-1]
    assert (RunFolder(tmp_path).completed_epochs(), RunFolder(tmp_path).minutes()) == (0, 0.0)


def test_one_process_at_a_time_holds_a_folder(tmp_path, caplog):
    code = "import sys, time; from facekp.runs.folder import RunFolder\nwith RunFolder(sys.argv[1]).locked(): "
    command = [sys.executable, "-c", f"{code}print(flush=True); time.sleep(600)", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        threading.Timer(0.5, other.kill).start()
        with RunFolder(tmp_path).locked():
            assert other.wait() < 0
    assert "another process trains this run" in caplog.text


def test_a_checkpoint_leads_to_the_folder_of_its_run(old_run, tmp_path):
    assert RunFolder.of_best_checkpoint(old_run.best_checkpoint) == old_run
    assert RunFolder.of_best_checkpoint(old_run.last_checkpoint) is None
    assert RunFolder.of_best_checkpoint(tmp_path / "other.ckpt") is None
    assert RunFolder.of_best_checkpoint(old_run.path / "pictures" / "other.ckpt") is None


def test_runs_are_found_below_a_folder_but_not_inside_of_runs(tmp_path):
    for name, file in (("b", "config.yaml"), ("a/deep", "metrics.json"), ("c", "status.json")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / file).touch()
    for hidden in (".hydra", "b/wandb/files"):
        (tmp_path / hidden).mkdir(parents=True)
        (tmp_path / hidden / "config.yaml").touch()
    assert [run.path.relative_to(tmp_path).as_posix() for run in find_runs(tmp_path)] == ["a/deep", "b", "c"]


def test_links_to_runs_elsewhere_are_found_and_none_twice(tmp_path):
    for name in ("disk/run", "outputs/first"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
    links = {"moved": "../disk/run", "all": "../disk", "latest": "first", "gone": "nowhere", "loop": "."}
    for name, target in links.items():
        (tmp_path / "outputs" / name).symlink_to(target)
    assert [run.path.name for run in find_runs(tmp_path / "outputs")] == ["first", "moved"]


def test_overrides_of_a_command_are_kept(tmp_path, monkeypatch):
    from hydra import compose, initialize
    from hydra.core.hydra_config import HydraConfig

    with initialize(None, version_base="1.3"):
        HydraConfig.instance().set_config(compose(overrides=["+lr=1"], return_hydra_config=True))
    try:
        RunFolder(tmp_path).write_origin()
    finally:
        HydraConfig.instance().cfg = None
    assert yaml.safe_load((tmp_path / "overrides.yaml").read_text()) == ["+lr=1"]


def test_clearing_ends_what_a_killed_clearing_has_begun(old_run):
    old_run.config.unlink()  # is removed first
    assert old_run.last_checkpoint.is_file()
    old_run.clear()
    assert not old_run.checkpoints.exists()
    assert not old_run.metrics.exists()


def test_clearing_touches_nothing_that_no_run_wrote(old_run):
    old_run.split.unlink()
    old_run.clear()
    assert old_run.last_checkpoint.is_file()
    assert old_run.config.is_file()


def test_checkpoints_that_can_t_be_removed_are_an_error(old_run, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(CannotWrite, match="checkpoints"):
        old_run.clear()
