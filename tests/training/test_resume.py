"""A killed run is resumed as if nothing had happened, to the last bit; runs of older versions are resumed too."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch import nn

from facekp.core.errors import UserError
from facekp.core.outputs import exclusive
from facekp.core.settings import parse
from facekp.data.table import HostImages
from facekp.models.checkpoint import load_checkpoint
from facekp.models.packing import pack
from facekp.runs.folder import RunFolder
from facekp.runs.resume_arguments import allow_keys_of_the_run
from facekp.training.resume import changed_data, checkpoint_to_resume, data_digests
from facekp.training.run import resumed
from facekp.training.settings import TrainSettings
from facekp.training.setup import train
from tests.conftest import FIXTURES, TINY, composed, config_of, facekp, settings_of
from tests.forked import signal_module

RUN = [*TINY, "trainer.max_epochs=8", "scheduler=onecycle", "optimizer=adamw", "data.rows=100", "callbacks.ema=0.9"]


def epochs_done(folder: Path) -> int:
    last = folder / "checkpoints" / "last.ckpt"
    return torch.load(last, weights_only=True)["epoch"] + 1 if last.is_file() else 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An uninterrupted run, and one that was killed and resumed."""
    root = tmp_path_factory.mktemp("resume")
    whole = facekp("train", *RUN, "out=whole", cwd=root)
    assert whole.returncode == 0, whole.stderr
    last = root / "killed" / "checkpoints" / "last.ckpt"
    signal_module("facekp.train", [*RUN, "out=killed"], root, last.is_file)
    killed_at = epochs_done(root / "killed")
    assert 1 <= killed_at < 8
    resumed = facekp("train", "resume=killed", cwd=root)
    assert resumed.returncode == 0, resumed.stderr
    return root / "whole", root / "killed"


def test_weights_and_optimiser_are_equal_to_the_last_bit(runs):
    whole, resumed = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in runs)
    assert resumed["epoch"] == whole["epoch"] == 7  # counted from 0
    assert resumed["global_step"] == whole["global_step"]
    for part in ("state_dict", "current_model_state"):  # averaged and trained weights
        for key, value in whole[part].items():
            assert torch.equal(value, resumed[part][key]), key
    for state, other in zip(
        whole["optimizer_states"][0]["state"].values(), resumed["optimizer_states"][0]["state"].values(), strict=True
    ):
        assert torch.equal(state["exp_avg"], other["exp_avg"])
    assert whole["lr_schedulers"][0]["last_epoch"] == resumed["lr_schedulers"][0]["last_epoch"]


def test_curves_and_predictions_are_those_of_an_uninterrupted_run(runs):
    for name in ("predictions.csv", "split.csv"):
        assert (runs[0] / name).read_text() == (runs[1] / name).read_text()
    whole, resumed = (pd.read_csv(run / "metrics.csv") for run in runs)
    clocks = whole.pop("minutes"), resumed.pop("minutes")
    pd.testing.assert_frame_equal(whole, resumed[whole.columns])
    assert all(minutes.is_monotonic_increasing for minutes in clocks)


def test_the_config_is_written_once(runs):
    assert yaml.safe_load((runs[1] / "config.yaml").read_text())["trainer"]["max_epochs"] == 8
    assert "resume=" not in (runs[1] / "overrides.yaml").read_text()


def settings_resumed(folder: Path, *overrides: str) -> TrainSettings:
    """The settings of a run that is resumed with these overrides."""
    given = allow_keys_of_the_run([f"resume={folder}", *overrides])
    return resumed(RunFolder(folder), composed(*given), given)


@pytest.mark.parametrize("key", ["lr=1", "optimizer=sgd", "data.fold=1", "seed=3", "data.batch_size=2", "out=x"])
def test_other_settings_can_t_be_given_with_resume(runs, key):
    with pytest.raises(UserError, match=rf"{key.split('=')[0]} can't be changed when a run is resumed"):
        settings_resumed(runs[1], key)


def test_a_resumed_run_has_its_own_settings_and_those_that_may_change(runs):
    settings = settings_resumed(runs[1], "trainer.max_epochs=11", "logger=[csv,wandb]", "debug=true")
    assert settings.optimizer.name == "adamw"
    assert settings.callbacks.ema == 0.9
    assert settings.trainer.max_epochs == 11
    assert settings.logger.wandb


def test_a_run_is_resumed_on_another_machine(runs):
    settings = settings_resumed(runs[1], "trainer=ddp", "trainer.precision=bf16-mixed")
    assert (settings.trainer.strategy, settings.trainer.devices) == ("ddp", 2)
    assert (settings.trainer.precision, settings.trainer.max_epochs) == ("bf16-mixed", 8)


@pytest.fixture
def photo_run(runs, tmp_path):
    """The folder of a run on photos, as far as its config tells."""
    folder = RunFolder(tmp_path / "photos")
    config = RunFolder(runs[0]).read_config()
    photos = config_of("data=folder", "data.images=/a/photos", "data.labels=/a/labels.csv")["data"]
    folder.path.mkdir()
    folder.write_config({**config, "data": photos})
    return folder.path


def test_data_may_lie_elsewhere_now(photo_run, monkeypatch):
    monkeypatch.chdir(photo_run.parent)
    settings = settings_resumed(photo_run, "data.images=photos/b", "data.labels=/c.csv")
    assert settings.data.images == str(photo_run / "b")
    assert settings.data.labels == "/c.csv"
    with pytest.raises(UserError, match=r"^resume=.*data\.dir: unknown key"):
        settings_resumed(photo_run, "data.dir=/a")


def test_a_run_whose_last_checkpoint_was_deleted_is_refused_and_kept(copy, run_here):
    from facekp.train import main

    (copy / "checkpoints" / "last.ckpt").unlink()
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    code, err = run_here("train", main, f"resume={copy}")
    assert code == 2, err
    assert "last.ckpt is missing; put it back, or start a new run with out=DIR init_from=" in err
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("epochs", [7, 1])
def test_a_run_can_t_be_made_shorter(copy, run_here, epochs):
    from facekp.train import main

    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    code, err = run_here("train", main, f"resume={copy}", f"trainer.max_epochs={epochs}")
    assert code == 2, err
    message = f"resume={copy}: trainer.max_epochs={epochs}: the run has completed 8 epochs; give at least 8"
    assert message in err
    assert "init_from" not in err
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_minutes_and_length_are_those_of_all_parts(copy, run_here):
    from facekp.train import main

    folder = RunFolder(copy)
    curves = pd.read_csv(folder.curves)
    curves["minutes"] += 30 - curves["minutes"].iloc[-1]
    curves.to_csv(folder.curves, index=False)
    folder.write_metrics({"rmse": 1.0, "minutes": 0.1, "epochs": 8, "finished": True})
    code, err = run_here("train", main, f"resume={copy}", "trainer.max_epochs=9")
    assert code == 0, err
    metrics = json.loads(folder.metrics.read_text())
    assert 30 < metrics["minutes"] < 35
    assert metrics["epochs"] == 9
    assert folder.read_config()["trainer"]["max_epochs"] == 9


def test_a_run_that_is_being_trained_is_not_resumed(copy, run_here):
    from facekp.train import main

    with exclusive(copy):
        code, err = run_here("train", main, f"resume={copy}")
    assert code == 2
    assert "another process is writing" in err


@pytest.mark.parametrize("value", [None, 5, "mine", [1]])
def test_plug_ins_of_another_type_are_damage(runs, tmp_path, value):
    folder = Path(shutil.copytree(runs[0], tmp_path / "copy"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "plugins": value}))
    with pytest.raises(UserError, match=r"plugins=.*must be a list of module names"):
        settings_resumed(folder)


def test_a_run_with_plug_ins_needs_them_again_on_the_command_line(runs, tmp_path):
    folder = Path(shutil.copytree(runs[0], tmp_path / "copy"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "plugins": ["never_imported"]}))
    with pytest.raises(UserError, match=r"the run needs plugins=\[never_imported\]; add this to the command line"):
        settings_resumed(folder)


def test_the_teacher_of_a_moved_run_may_be_given(runs, tmp_path, ckpt):
    folder = Path(shutil.copytree(runs[0], tmp_path / "copy"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["teacher"] |= {"ckpt": "/gone/t.ckpt"}
    config["init_from"] = "/gone/i.ckpt"  # a resumed run does not need it
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"^resume=.*: teacher\.ckpt=/gone/t\.ckpt: does not exist"):
        settings_resumed(folder)
    assert settings_resumed(folder, f"teacher.ckpt={ckpt}").teacher.ckpt == str(ckpt)


@pytest.mark.parametrize(("key", "kind"), [("loss", "loss"), ("optimizer", "optimizer"), ("data", "reader")])
def test_a_run_whose_plug_in_is_gone_says_what_to_install(runs, tmp_path, key, kind):
    folder = Path(shutil.copytree(runs[0], tmp_path / "copy"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config[key]["name"] = "uninstalled"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=rf"{key}: the {kind} 'uninstalled' of the run .*install the package"):
        settings_resumed(folder)


def test_more_epochs_may_be_given(runs, tmp_path):
    folder = Path(shutil.copytree(runs[1], tmp_path / "copy"))
    done = facekp("train", f"resume={folder}", "trainer.max_epochs=9", "logger=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert epochs_done(folder) == 9


@pytest.fixture
def copy(runs, tmp_path):
    """A stopped run, moved to another folder."""
    folder = Path(shutil.copytree(runs[0], tmp_path / "elsewhere" / "moved"))
    (folder / "metrics.json").unlink()
    return folder


def test_a_moved_run_is_resumed_from_anywhere_and_keeps_its_best_score(copy, runs, tmp_path):
    best = pd.read_csv(runs[0] / "metrics.csv")["val/rmse"].min()
    raw = torch.load(copy / "checkpoints" / "last.ckpt", weights_only=True)
    state = next(state for name, state in raw["callbacks"].items() if name.startswith("Checkpoints"))
    assert state["best"] == pytest.approx(best)
    state["best"] = 0.001  # better than any epoch to come
    torch.save(raw, copy / "checkpoints" / "last.ckpt")
    before = (copy / "checkpoints" / "best.ckpt").read_bytes()
    done = facekp("train", "resume=elsewhere/moved", "trainer.max_epochs=9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert epochs_done(copy) == 9
    assert (copy / "checkpoints" / "best.ckpt").read_bytes() == before


DAMAGES = {
    "last.ckpt of foreign bytes": ("checkpoints/last.ckpt", b"junk", "start a new run with out=DIR init_from="),
    "last.ckpt empty": ("checkpoints/last.ckpt", b"", "start a new run with out=DIR init_from="),
    "config.yaml empty": ("config.yaml", b"", "config.yaml can't be read: it lacks"),
    "config.yaml a list": ("config.yaml", b"- a", "config.yaml can't be read: it lacks"),
    "config.yaml in no encoding": ("config.yaml", b"\xff\xfe\x00", "not a text in UTF-8"),
    "config.yaml without a group": (
        "config.yaml",
        b"{data: {}, model: {}, keypoints: {}}",
        "lacks the settings trainer",
    ),
    "data.yaml of other data": ("data.yaml", b"{labels: '0'}", "the labels of the data have changed since the run"),
    "data.yaml of both": (
        "data.yaml",
        b"{images: '0', labels: '0'}",
        "the images of the data and the labels of the data have changed since the run",
    ),
    "data.yaml of other images": ("data.yaml", b"{images: '0'}", "the images of the data have changed since the run"),
    "data.yaml a list": ("data.yaml", b"[1]", "data.yaml can't be read"),
    "metrics.csv of texts": ("metrics.csv", b"epoch,minutes\n1,soon\n", "metrics.csv"),
    "split.csv empty": ("split.csv", b"", "can't be read"),
    "split.csv of other rows": ("split.csv", b"row,set\n1,val\n", "differ from those"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_reported_in_one_line(copy, damage, run_here):
    from facekp.train import main

    name, content, message = DAMAGES[damage]
    (copy / name).write_bytes(content)
    if name == "metrics.csv":
        (copy / "checkpoints" / "last.ckpt").unlink()
    code, err = run_here("train", main, f"resume={copy}", "trainer.max_epochs=9")
    assert code == 2, err
    assert f"resume={copy}" in err or name in err
    assert message in err
    assert "Traceback" not in err


# What a run is resumed from


@pytest.fixture
def stopped(tiny_run, tmp_path):
    """A copy of a finished run of two epochs."""
    return RunFolder(shutil.copytree(tiny_run, tmp_path / "stopped"))


def checkpoint_of(run):
    return checkpoint_to_resume(run, run.read_split(), run.read_data(), max_epochs=100)


def test_the_last_checkpoint_is_resumed_from(stopped):
    assert checkpoint_of(stopped) == stopped.last_checkpoint


def changed_checkpoint(path, **changes):
    raw = torch.load(path, weights_only=True)
    torch.save({**raw, **changes}, path)
    return raw


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
@pytest.mark.parametrize(("key", "value"), [("lr", 0.5), ("seed", 17), ("model.network.channels", 5)])
def test_a_checkpoint_of_another_run_is_refused(stopped, name, key, value):
    path = stopped.path / "checkpoints" / name
    raw = torch.load(path, weights_only=True)
    group = raw["facekp"]["config"]
    for part in key.split(".")[:-1]:
        group = group[part]
    group[key.split(".")[-1]] = value
    torch.save(raw, path)
    with pytest.raises(UserError, match=rf"{name} was written with {key}={value}, but .*config\.yaml has {key}="):
        checkpoint_of(stopped)


def test_paths_and_what_may_change_may_differ_between_config_and_checkpoint(stopped):
    config = stopped.read_config()
    config["trainer"] |= {"max_epochs": 99, "devices": 3}
    config["data"]["cache"] = "/elsewhere"
    config["callbacks"]["progress"] = False
    stopped.write_config(config)
    assert checkpoint_of(stopped) == stopped.last_checkpoint


def test_a_missing_best_checkpoint_is_refused_before_anything_is_trained(stopped):
    stopped.best_checkpoint.unlink()
    with pytest.raises(UserError, match=r"best\.ckpt is missing; put it back, or .* init_from=.*last\.ckpt$"):
        checkpoint_of(stopped)
    stopped.best_checkpoint.write_bytes(b"")
    with pytest.raises(UserError, match=r"best\.ckpt"):
        checkpoint_of(stopped)


@pytest.mark.parametrize("left", ["metrics.csv", "metrics.json", "neither"])
def test_without_the_last_checkpoint_a_run_of_several_epochs_is_refused(stopped, left):
    changed_checkpoint(stopped.best_checkpoint, epoch=1)  # counted from 0
    stopped.last_checkpoint.unlink()
    for file in (stopped.curves, stopped.metrics):
        if file.name != left:
            file.unlink()
    with pytest.raises(UserError, match=r"last\.ckpt is missing; put it back, or start a new run .*best\.ckpt$"):
        checkpoint_of(stopped)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(stopped):
    for file in (stopped.last_checkpoint, stopped.best_checkpoint, stopped.curves, stopped.metrics):
        file.unlink()
    assert checkpoint_of(stopped) is None


def test_a_run_that_saves_every_few_epochs_and_was_killed_before_continues_from_its_best_epoch(stopped):
    for file in (stopped.last_checkpoint, stopped.metrics):
        file.unlink()
    config = stopped.read_config()
    with pytest.raises(UserError, match=r"last\.ckpt is missing; put it back"):
        checkpoint_of(stopped)
    stopped.write_config({**config, "callbacks": {**config["callbacks"], "save_every": 20}})
    assert checkpoint_of(stopped) == stopped.best_checkpoint


class Killed(Exception):
    pass


def test_a_run_that_was_killed_between_its_first_checkpoints_is_resumed_to_the_last_bit(tmp_path, monkeypatch, caplog):
    settings = settings_of(*TINY, "optimizer=adamw", "callbacks.ema=0.9")
    train(settings, tmp_path / "whole")
    save = pl.Trainer.save_checkpoint

    def killed(trainer, path, *args):
        if Path(path).name == "last.ckpt":
            raise Killed
        save(trainer, path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(pl.Trainer, "save_checkpoint", killed)
        with pytest.raises(Killed):
            train(settings, tmp_path / "killed")
    whole, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    assert (run.best_checkpoint.is_file(), run.last_checkpoint.is_file()) == (True, False)
    train(settings, run.path, resume=True)
    assert f"{run.last_checkpoint} is missing; the run continues from {run.best_checkpoint}" in caplog.text
    for part in ("state_dict", "current_model_state"):
        states = [torch.load(folder.last_checkpoint, weights_only=True)[part] for folder in (whole, run)]
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert len(run.read_curves()) == 2


@pytest.mark.parametrize("part", ["state_dict", "optimizer_states", "current_model_state"])
def test_a_checkpoint_that_is_not_finite_is_not_resumed_from(stopped, part):
    raw = torch.load(stopped.last_checkpoint, weights_only=True)
    bad = {"x": torch.tensor([1.0, torch.nan])}
    changed_checkpoint(
        stopped.last_checkpoint, **{part: {**raw["state_dict"], **bad} if part == "state_dict" else [bad]}
    )
    with pytest.raises(
        UserError, match=rf"last\.ckpt: {part}.*x is not finite, the training diverged; start a new run"
    ):
        checkpoint_of(stopped)


def test_a_packed_checkpoint_in_its_place_is_refused_with_a_way_on(stopped):
    pack(stopped.best_checkpoint, stopped.last_checkpoint)
    with pytest.raises(UserError, match=r"last\.ckpt lacks .*; start a new run with out=DIR init_from=.*best\.ckpt"):
        checkpoint_of(stopped)


def test_digests_tell_labels_images_and_checkpoints_apart(faces, ckpt, tmp_path):
    settings = settings_of(*TINY)
    digests = data_digests(faces, settings)
    moved, marked = faces.points.copy(), faces.images.copy()
    moved[3, 0, 0] += 0.5
    marked[3, 0, 0] ^= 1
    gone = faces.points.copy()
    gone[np.unravel_index(np.flatnonzero(faces.mask)[0], faces.mask.shape)] = np.nan
    for table, what in (
        (faces, []),
        (replace(faces, points=moved), ["the labels of the data"]),
        (replace(faces, points=gone), ["the labels of the data"]),
        (replace(faces, source=1 - faces.source), ["the labels of the data"]),
        (replace(faces, images=marked), ["the images of the data"]),
        (replace(faces, images=HostImages(faces.images)), []),
    ):
        assert changed_data(digests, data_digests(table, settings)) == what
    teacher, start = shutil.copy(ckpt, tmp_path / "teacher.ckpt"), shutil.copy(ckpt, tmp_path / "start.ckpt")
    settings = settings_of(*TINY, "teacher=self", f"teacher.ckpt=[{teacher},{ckpt}]", f"init_from={start}")
    before = data_digests(faces, settings)
    assert set(before) == {"images", "labels", "init_from", "teacher"}
    for path, what in ((teacher, "the teacher's checkpoints"), (start, "the weights of init_from=")):
        Path(path).write_bytes(b"other")
        assert changed_data(before, data_digests(faces, settings)) == [what]
        shutil.copy(ckpt, path)


# Runs of 0.1.0 (tests/fixtures/v0_1/README.md)

OLD_RUNS = ("run", "run_ema", "run_older")
EXPECTED = json.loads((FIXTURES / "seed_expected.json").read_text())


def probe() -> str:
    """A digest of three steps of plain torch; another digest means that this machine rounds differently."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 7, 2, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 4, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 19, 1),
    ).to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (8, 1, 96, 96)).float() / 255
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        network(images).flatten(-2).log_softmax(-1)[..., 77].sum().neg().backward()
        optimizer.step()
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def digest_in_any_order(state):
    digests = sorted(hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest() for value in state.values())
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


@pytest.fixture(scope="module", params=OLD_RUNS)
def resumed_old_run(request, tmp_path_factory):
    """A copy of a run that 0.1.0 wrote, resumed for a second epoch, and its name."""
    root = tmp_path_factory.mktemp("old")
    shutil.copytree(FIXTURES / request.param, root / request.param)
    shutil.copy(FIXTURES / "drawing_of_0_1.py", root)
    drawing = "plugins=[drawing_of_0_1]"
    done = facekp("train", f"resume={request.param}", "trainer.max_epochs=2", drawing, cwd=root)
    assert done.returncode == 0, done.stderr
    return request.param, RunFolder(root / request.param)


def test_a_run_of_an_older_version_is_resumed_to_the_last_bit(resumed_old_run):
    name, folder = resumed_old_run
    expected = EXPECTED[name]
    rmse = folder.read_curves()["val/rmse"].tolist()
    assert len(rmse) == 2
    assert rmse[1] == pytest.approx(expected["val/rmse"], rel=0.05)
    if torch.__version__ != EXPECTED["made_with"]["torch"] or probe() != EXPECTED["made_with"]["probe"]:
        return  # this machine rounds differently
    assert rmse[1] == expected["val/rmse"]
    for path in (folder.best_checkpoint, folder.last_checkpoint):
        raw, digests = torch.load(path, weights_only=True), expected[path.name]
        assert len(raw["state_dict"]) == digests["tensors"]
        assert digest_in_any_order(raw["state_dict"]) == digests["sha256_any_order"]
        if "current_model_state" in digests:
            averaged = digests["current_model_state"]["sha256_any_order"]
            assert digest_in_any_order(raw["current_model_state"]) == averaged


@pytest.mark.parametrize("name", OLD_RUNS)
def test_an_old_run_that_was_killed_right_after_its_resume_is_resumed_again(name, tmp_path):
    """Only config.yaml is new then."""
    folder = RunFolder(shutil.copytree(FIXTURES / name, tmp_path / name))
    settings = parse(TrainSettings, folder.read_config())
    folder.update_config(settings.with_references())
    assert checkpoint_of(folder) == folder.last_checkpoint


def test_the_checkpoint_of_a_resumed_old_run_has_the_keys_of_this_version(resumed_old_run):
    _, folder = resumed_old_run
    loaded = load_checkpoint(folder.best_checkpoint)
    assert settings_of("data=synthetic").plain().keys() == loaded.config.keys()


@pytest.mark.parametrize("name", OLD_RUNS)
def test_the_checkpoint_of_an_older_version_is_evaluated_alike(name, tmp_path):
    ckpt = FIXTURES / name / "checkpoints" / "best.ckpt"
    done = facekp("evaluate", f"ckpt={ckpt}", "data=synthetic", "data.rows=60", "out=scored", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scored = pd.read_csv(tmp_path / "scored" / "predictions.csv").drop(columns="set")
    recorded = pd.read_csv(FIXTURES / name / "predictions.csv").drop(columns="set")
    # 0.1 drew some faces with one grey level more or less: such training rows are new images now, and are scored.
    scored = scored[scored["row"].isin(recorded["row"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(scored, recorded)


def test_runs_of_an_older_version_are_reported(tmp_path):
    runs = [str(FIXTURES / name) for name in OLD_RUNS]
    done = facekp("report", *runs, "out=page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    assert all(name in page for name in OLD_RUNS)
