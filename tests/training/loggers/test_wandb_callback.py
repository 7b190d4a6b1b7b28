"""W&B: what a run logs, read back with the client's own reader, and that W&B never harms a training."""

import json
import logging
import os
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import wandb
import yaml
from pytorch_lightning import Callback
from wandb.sdk import wandb_setup
from wandb.util import get_core_path

from facekp.models.checkpoint import load_checkpoint
from facekp.training.loggers import wandb_callback, wandb_client
from facekp.training.setup import train
from tests.conftest import TINY, settings_of
from tests.forked import started_module

WANDB = [*TINY, "logger=wandb", "logger.faces=0", "logger.tags=[first,drawn]", "data.seed=3", "logger.patience=600"]
FACES = "logger.faces=2"
SUBDIR = "hydra.sweep.subdir=${hydra.job.num}"


def parts(folder):
    """Folders of the offline runs in a run's folder, oldest first."""
    return sorted(Path(folder).glob("wandb/offline-run-*"), key=lambda path: path.stat().st_mtime_ns)


def inspected(part, *options):
    """What ``wandb leet inspect --json`` prints of an offline run; the client's program is called without Python."""
    (file,) = part.glob("*.wandb")
    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json", *options, "--run-file", str(file)]
    done = subprocess.run([*command, str(part.parent)], capture_output=True, text=True, timeout=300, check=True)
    return done.stdout


def records(part):
    """Every record of an offline run, by type."""
    found = {}
    for line in map(json.loads, inspected(part).splitlines()):
        found.setdefault(line["type"], []).append(line[line["type"]])
    return found


def summary(part):
    return json.loads(inspected(part, "--summary"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders of a sweep of two and of a single run, all of one seed, made by two processes at the same time.

    The single run uses this process's client, as runs do that are started by a program which uses W&B itself.
    """
    root = tmp_path_factory.mktemp("wandb")
    wandb_setup.singleton().ensure_service()
    alone = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    assert len(alone) < len(os.environ)
    sweep = ["-m", *WANDB, FACES, "lr=1e-3,2e-3", f"hydra.sweep.dir={root}/sweep", SUBDIR]
    single = [*WANDB, FACES, "lr=5e-4", f"out={root}/single"]
    with ExitStack() as stack:
        started = [
            stack.enter_context(started_module("facekp.train", given, root, environment))
            for given, environment in ((sweep, alone), (single, os.environ))
        ]
        for process, _ in started:
            process.join(900)
        printed = [errors.read_text() for _, (_, errors) in started]
        assert [process.exitcode for process, _ in started] == [0, 0], printed
    assert all("wandb sync " in text for text in printed)
    assert f"wandb sync {parts(root / 'single')[0].relative_to(root)}" in printed[1]
    return [root / "sweep" / "0", root / "sweep" / "1", root / "single"]


@pytest.mark.slow
def test_parallel_offline_runs_keep_their_config_name_group_and_tags(runs):
    started = [records(parts(folder)[0])["run"][0] for folder in runs]
    assert len({run["run_id"] for run in started}) == 3
    assert [run.get("run_group") for run in started] == ["sweep", "sweep", None]
    assert [run["config"]["update"]["lr"] for run in started] == [1e-3, 2e-3, 5e-4]
    for folder, run in zip(runs, started, strict=True):
        config = {key: value for key, value in run["config"]["update"].items() if key != "_wandb"}
        revision = config.pop("git_revision")
        assert config == yaml.safe_load((folder / "config.yaml").read_text())
        assert revision == (folder / "git.txt").read_text().strip()
        assert sorted(run["tags"]) == ["drawn", "first"]
        overrides = yaml.safe_load((folder / "overrides.yaml").read_text())
        assert run["display_name"] == " ".join(
            o for o in overrides if not o.startswith(("logger", "out=", "callbacks.progress"))
        )


def test_every_curve_is_history_and_every_figure_summary(runs):
    for folder in runs:
        curves = pd.read_csv(folder / "metrics.csv")
        found = records(parts(folder)[0])
        history = pd.DataFrame([one["item"] for one in found["history"]])
        assert history["_step"].tolist() == [1, 2]
        pd.testing.assert_frame_equal(history[curves.columns].astype(float), curves.astype(float), rtol=1e-6)
        figures = json.loads((folder / "metrics.json").read_text())
        end = summary(parts(folder)[0])
        assert (end["state"], end["exit_code"]) == ("finished", 0)
        assert end["summary"]["rmse/dense"] == pytest.approx(figures["rmse/dense"])
        assert end["summary"]["rmse/nose_tip"] == pytest.approx(figures["rmse/nose_tip"])
        assert end["summary"]["mean_face/rmse"] == pytest.approx(figures["mean_face"]["rmse"])
        assert end["summary"]["finished"] is True
        assert found["stats"][0]["item"]["memory_percent"] > 0  # the machine's own figures


def test_the_rmse_comes_first_over_epochs_and_keypoints_are_not_plotted(runs):
    metrics = {one.get("name") or one["glob_name"]: one for one in records(parts(runs[0])[0])["metric"]}
    names = list(metrics)
    assert names[:2] == ["epoch", "val/rmse"]
    assert metrics["val/rmse"]["summary"]["min"]
    assert {metrics[name]["step_metric"] for name in ("val/rmse", "val/rmse/nose_tip", "*")} == {"epoch"}
    assert metrics["val/rmse/nose_tip"]["options"]["hidden"]
    assert not metrics["val/rmse"].get("options", {}).get("hidden")


def test_the_table_of_faces_and_its_pictures_lie_in_the_run_s_folder(runs):
    image = pytest.importorskip("PIL.Image")
    for folder in runs:
        part = parts(folder)[0]
        found = summary(part)["summary"]["faces"]
        assert (found["_type"], found["nrows"]) == ("table-file", 2)
        (artifact,) = records(part)["artifact"]
        files = {one["path"]: Path(one["local_path"]) for one in artifact["manifest"]["contents"]}
        assert all(path.is_relative_to(folder) for path in files.values())
        table = json.loads(files["faces.table.json"].read_text())
        assert table["columns"] == ["row", "source", "rmse", "points", "heatmaps"]
        predictions = pd.read_csv(folder / "predictions.csv")
        for row, source, _, points, heatmaps in table["data"]:
            assert set(predictions.loc[predictions["row"] == row, "source"]) == {source}
            for cell in (points, heatmaps):
                assert image.open(files[cell["path"]]).size == (cell["width"], cell["height"])


def test_a_resumed_run_is_the_same_one_and_its_newest_part_has_all_epochs(tmp_path):
    folder = tmp_path / "run"
    train(settings_of(*WANDB), folder)
    train(settings_of(*WANDB, "trainer.max_epochs=3"), folder, resume=True)
    first, second = parts(folder)
    runs = [records(part)["run"][0] for part in (first, second)]
    assert runs[0]["run_id"] == runs[1]["run_id"] == yaml.safe_load((folder / "wandb.yaml").read_text())["id"]
    assert runs[0]["display_name"] == runs[1]["display_name"]
    history = [one["item"]["epoch"] for one in records(second)["history"]]
    assert history == [1, 2, 3]
    assert summary(second)["summary"]["epochs"] == 3


class At(Callback):
    """Does something once the second epoch begins and W&B has begun too."""

    def __init__(self, do):
        self.do = do

    def on_train_epoch_start(self, trainer, pl_module):
        (run,) = (callback for callback in trainer.callbacks if isinstance(callback, wandb_callback.WandbCallback))
        if trainer.current_epoch == 1:
            deadline = time.monotonic() + 200
            while run.run is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            self.do()


def service():
    return wandb_setup._singleton._connection._proc._process


@pytest.fixture
def train_and(tmp_path, caplog):
    """Train, doing something in the second epoch; give back figures and warnings."""

    def run(*overrides, do=lambda: None):
        settings = settings_of(*WANDB, "trainer.max_epochs=3", "logger.faces=1", *overrides)
        with caplog.at_level(logging.WARNING, logger="facekp"):
            figures = train(settings, tmp_path / "run", callbacks=[At(do)])
        return figures, [record.message for record in caplog.records if record.message.startswith("W&B")]

    return run


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Figures of the same training without W&B."""
    plain = [one for one in WANDB if not one.startswith("logger")]
    return train(settings_of(*plain, "trainer.max_epochs=3"), tmp_path_factory.mktemp("alone") / "run")


def same(figures, others):
    apart = ("minutes", "checkpoint")
    return all(figures[key] == others[key] for key in others if key not in apart)


def test_the_client_s_process_killed_costs_one_warning(train_and, alone, tmp_path):
    def kill():
        service().send_signal(signal.SIGKILL)
        service().wait()

    figures, warnings = train_and(do=kill)
    assert same(figures, alone)
    assert len(warnings) == 1
    assert "continues without it" in warnings[0]
    assert wandb_setup._singleton is None  # so the next run of this process starts anew
    train(settings_of(*WANDB), tmp_path / "next")
    assert summary(parts(tmp_path / "next")[0])["state"] == "finished"


def test_the_client_s_process_hanging_is_waited_for_so_long_and_then_killed(train_and, alone):
    seen = []

    def stop():
        seen.append(service())
        os.kill(seen[0].pid, signal.SIGSTOP)

    figures, warnings = train_and("logger.patience=2", do=stop)
    assert same(figures, alone)
    assert len(warnings) == 1
    assert "patience" in warnings[0]
    assert seen[0].wait(timeout=60) == -signal.SIGKILL


class Fake:
    """The client's run, recording what is called."""

    def __init__(self, broken=None, starting_step=0):
        self.broken, self.starting_step, self.id, self.url = broken, starting_step, "id", "url"
        self.settings = SimpleNamespace(sync_dir="/somewhere")
        self.logged, self.artifacts, self.ended, self.arguments = [], [], [], {}
        self.summary = {}
        self.define_metric = lambda *a, **k: None

    def init(self, **arguments):
        self._maybe("init")
        self.arguments = arguments
        return self

    def log(self, row, step, commit):
        self._maybe("log")
        assert commit
        self.logged.append(step)

    def log_artifact(self, artifact, aliases):
        self._maybe("log_artifact")
        self.artifacts.append((artifact, aliases))

    def finish(self, exit_code):
        self._maybe("finish")
        self.ended.append(exit_code)

    def _maybe(self, name):
        if name == self.broken:
            raise {"init": SystemExit, "log": BrokenPipeError}.get(name, RuntimeError)(f"{name} is down")


@pytest.fixture
def online(monkeypatch):
    """A client that reaches its server."""

    def put(fake):
        monkeypatch.setattr(wandb_client, "why_offline", lambda settings: None)
        monkeypatch.setattr(wandb, "init", fake.init)
        monkeypatch.setattr(wandb, "teardown", lambda: None)
        return fake

    return put


@pytest.mark.parametrize("broken", ["init", "log", "log_artifact", "finish"])
def test_a_client_that_raises_costs_one_warning(broken, online, alone, tmp_path, caplog):
    online(Fake(broken))
    figures = train(settings_of(*WANDB, "trainer.max_epochs=3"), tmp_path / "run")
    assert same(figures, alone)
    warnings = [
        record.message for record in caplog.records if record.levelno >= logging.WARNING and "W&B" in record.message
    ]
    assert warnings == [f"W&B: {broken} is down; the training continues without it"]


def test_a_client_that_never_answers_is_left_behind(monkeypatch, alone, tmp_path, caplog):
    answer = threading.Event()
    monkeypatch.setattr(wandb_client, "why_offline", lambda settings: answer.wait(100))
    monkeypatch.setattr(wandb_callback, "KILL_TIMEOUT", 0.1)
    monkeypatch.setattr(wandb_client, "kill_service", lambda: None)
    started = time.monotonic()
    figures = train(settings_of(*WANDB, "trainer.max_epochs=3", "logger.patience=0.5"), tmp_path / "run")
    assert time.monotonic() - started < 100
    answer.set()
    assert same(figures, alone)
    assert sum("patience" in record.message for record in caplog.records) == 1


def test_online_the_best_checkpoint_is_an_artifact_and_a_resumed_run_repeats_no_epoch(online, tmp_path):
    fake = online(Fake())
    train(settings_of(*WANDB), tmp_path / "run")
    assert fake.arguments["resume"] == "allow"
    assert fake.logged == [1, 2]
    assert fake.ended == [0]
    ((artifact, aliases),) = fake.artifacts
    assert (artifact.type, aliases) == ("model", ["best"])
    kept = Path(artifact.manifest.entries["best.ckpt"].local_path)
    assert load_checkpoint(kept).trained_on is not None
    again = online(Fake(starting_step=3))
    train(settings_of(*WANDB, "trainer.max_epochs=4"), tmp_path / "run", resume=True)
    assert again.arguments["id"] == fake.arguments["id"]
    assert again.logged == [3, 4]


def test_a_server_that_refuses_leaves_the_run_on_disk(online, tmp_path, caplog):
    fake = online(Fake())
    modes = []

    def init(**arguments):
        modes.append(arguments["mode"])
        if arguments["mode"] == "online":
            raise wandb.errors.CommError("no such key")
        return fake.init(**arguments)

    wandb.init = init  # put back by the fixture
    with caplog.at_level(logging.INFO, logger="facekp"):
        train(settings_of(*WANDB), tmp_path / "run")
    assert modes == ["online", "offline"]
    assert not fake.artifacts
    assert "on disk (no run online: no such key); send it with: wandb sync /somewhere" in caplog.text


def test_a_stopped_training_ends_its_run_as_failed(online, tmp_path):
    from facekp.core.errors import UserError

    fake = online(Fake())
    with pytest.raises(UserError, match="diverged"):
        train(settings_of(*WANDB, "loss=mse", "optimizer=sgd", "lr=1e30"), tmp_path / "run")
    assert fake.ended == [1]
