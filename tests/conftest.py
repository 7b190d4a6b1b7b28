"""What tests share: a landmark scheme, drawn faces, a sample of the competition's files, composed configs, commands."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Generator, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # for child processes too; the cores are shared
os.environ["WANDB_MODE"] = "offline"  # nothing is ever sent

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import settings
from omegaconf import DictConfig

from facekp.config import command as cli
from facekp.config.command import add_or_set, plain_values
from facekp.config.location import CONF_DIR
from facekp.core.keypoints import Keypoints
from facekp.data.synthetic.faces import draw_faces
from facekp.data.table import FaceTable
from tests import kept_faces as kept_faces
from tests import light_imports as light_imports
from tests.campaigns import summary
from tests.forked import TIMEOUT, run_module
from tests.skips import fail_if_skipped_in_ci

if TYPE_CHECKING:
    from facekp.training.settings import TrainSettings

collect_ignore = ["fixtures"]  # a search for doctests would import a plug-in there, which changes how faces are drawn
torch.set_num_threads(1)
settings.register_profile("busy", deadline=None)  # on a busy machine an example takes however long it takes
settings.load_profile("busy")
REPOSITORY = Path(__file__).resolve().parents[1]
FIXTURES = REPOSITORY / "tests" / "fixtures" / "v0_1"  # written by facekp 0.1
SHARED = REPOSITORY.parent / "shared" / "data"
GROUPS = {str(folder.relative_to(CONF_DIR)) for folder in CONF_DIR.rglob("*") if folder.is_dir()}
FORKED = {"FACEKP_CACHE", "PYTHONPATH"}  # variables that need no new interpreter
TINY = [  # a training of seconds
    "data=synthetic",
    "data.rows=60",
    "model.network.channels=8",
    "model.network.levels=1",
    "trainer.max_epochs=2",
    "callbacks.progress=false",
    "callbacks.pictures=0",
    "decoder.floor=0",  # the network's predictions, however low their confidence
]


@pytest.fixture(scope="session")
def scheme() -> Keypoints:
    return Keypoints.from_dict(yaml.safe_load((CONF_DIR / "keypoints" / "kaggle15.yaml").read_text()))


@pytest.fixture(scope="session")
def faces(scheme: Keypoints) -> FaceTable:
    return draw_faces(80, 1, scheme)


@pytest.fixture(scope="session")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sample of the competition's files: 240 training rows, 24 test images."""
    given = os.environ.get("FACEKP_DATA")
    if given:
        return Path(given)
    if not SHARED.is_dir():
        pytest.skip("needs the competition's data: set FACEKP_DATA, or put it where ../shared/data is")
    folder = tmp_path_factory.mktemp("competition")
    train = pd.read_csv(SHARED / "labels.csv", dtype=str)
    rows = np.linspace(0, len(train) - 1, 240).astype(int)
    train = train.iloc[rows].assign(Image=_pixels("training_images.zip", rows))
    train.to_csv(folder / "training.csv", index=False)
    test = np.linspace(0, 1782, 24).astype(int)
    pd.DataFrame({"ImageId": test + 1, "Image": _pixels("test_images.zip", test)}).to_csv(
        folder / "test.csv", index=False
    )
    lookup = pd.read_csv(SHARED / "IdLookupTable.csv")
    lookup[lookup["ImageId"].isin(test + 1)].to_csv(folder / "IdLookupTable.csv", index=False)
    return folder


def _pixels(archive: str, rows: np.ndarray) -> list[str]:
    image = pytest.importorskip("PIL.Image", reason="the sample of the competition's images is read with pillow")
    with zipfile.ZipFile(SHARED / archive) as file:
        names = sorted(file.namelist())
        grey = [np.asarray(image.open(io.BytesIO(file.read(names[row]))).convert("L")) for row in rows]
    return [" ".join(map(str, pixels.ravel().tolist())) for pixels in grey]


@pytest.fixture(scope="session")
def seed_weights() -> Path:
    """The published system's weights."""
    path = SHARED / "seed" / "kd_epoch_809_model.ckpt"
    if not path.is_file():
        pytest.skip("needs the published system's weights in ../shared/data/seed")
    return path


def composed(*overrides: str, name: str = "train") -> DictConfig:
    """What Hydra composes of a command line, without Hydra's own part.

    Each set of shipped choices is composed once. Other overrides are applied to a copy, by Hydra's function for them.
    """
    given = OverridesParser.create().parse_overrides(add_or_set(overrides))
    choices = tuple(one for one in given if one.key_or_group in GROUPS)
    if all((CONF_DIR / one.key_or_group / f"{one.value()}.yaml").is_file() for one in choices):
        cfg = deepcopy(_composed(name, tuple(str(one.input_line) for one in choices)))
        with suppress(Exception):  # composed below, for Hydra's error
            ConfigLoaderImpl._apply_overrides_to_config([one for one in given if one not in choices], cfg)
            return cfg
    return _composed.__wrapped__(name, add_or_set(overrides))


@cache
def _composed(name: str, overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose(name, overrides=list(overrides))


def config_of(*overrides: str, name: str = "train") -> dict[str, Any]:
    """The composed config as plain values."""
    return plain_values(composed(*overrides, name=name))


def settings_of(*overrides: str) -> TrainSettings:
    """The settings of a training that a command line composes."""
    from facekp.training.run import read_train_settings

    return read_train_settings(composed(*overrides))


def facekp(
    command: str, *arguments: str, cwd: Path, anew: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m facekp.<command>`` in another process, as a user would.

    Args:
        command: its name.
        arguments: of the command line.
        cwd: the working directory.
        anew: start a new interpreter, although that takes seconds; so do other variables than those of `FORKED`.
        environment: variables to set.
    """
    variables = {**os.environ, **environment}
    counted = "COVERAGE_PROCESS_CONFIG" in os.environ  # make coverage counts the lines of new interpreters only
    if not anew and not counted and environment.keys() <= FORKED:
        return run_module(f"facekp.{command}", arguments, cwd, variables)
    return subprocess.run(
        [sys.executable, "-m", f"facekp.{command}", *arguments],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny training on drawn faces, which all workers of a test run read."""
    from tests.exports import shared_folder

    return shared_folder(tmp_path_factory, "runs", _train_tiny_run) / "tiny"


def _train_tiny_run(root: Path) -> None:
    from facekp.training.setup import train

    figures = train(settings_of(*TINY, "callbacks.pictures=2"), root / "tiny")
    assert figures["rmse"] != figures["mean_face"]["rmse"]
    assert pd.read_csv(root / "tiny" / "predictions.csv").groupby("keypoint")["x"].nunique().min() > 1


@pytest.fixture(scope="session")
def ckpt(tiny_run: Path) -> Path:
    """The best checkpoint of the tiny run."""
    return tiny_run / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="session")
def of_all(ckpt: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    """An ONNX file in float32, of both sources, with mirrored and scaled views; its check; its decoder's overrides."""
    from tests.exports import shared_export

    decoder = ["decoder=mean", "decoder.flip=true", "decoder.scale=0.05"]
    return *shared_export(tmp_path_factory, ckpt, "all", "source=all", "input=float32", *decoder), decoder


@pytest.fixture(scope="session")
def small(ckpt: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An ONNX file in int8, of the first source, with uint8 images; its check."""
    from tests.exports import shared_export

    return shared_export(tmp_path_factory, ckpt, "small", "precision=int8", "decoder=argmax", "force=true")


@pytest.fixture
def run_here(monkeypatch, tmp_path, capfd):
    """Run a command in this process, in tmp_path; the fixture returns its exit code and its stderr."""

    def run(name, task, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        GlobalHydra.instance().clear()
        try:
            cli.run_command(name, task)
            code = 0
        except SystemExit as stop:
            code = stop.code
        finally:
            GlobalHydra.instance().clear()
        return code, capfd.readouterr().err

    return run


@pytest.fixture
def forked_commands(monkeypatch):
    """Fork the commands of a sequence of runs: seconds less than a new interpreter for each."""

    def start(command):
        return run_module(command[2], command[3:], Path.cwd(), os.environ).returncode

    monkeypatch.setattr("facekp.runs.sequence.wait_for_command", start)


LONG = (  # minutes in all; their tests come first, so that no worker ends with them alone
    "test_plugin.py",
    "test_docs.py",
    "test_search.py",
    "test_sweep.py",
    "test_startup.py",
    "test_tutorial.py",
    "test_resume.py",
    "test_export.py",
    "test_ddp.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the modules with long tests first."""
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what was imported: half a million objects, each time and in each fork."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that is skipped in CI fails."""
    report = yield
    fail_if_skipped_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that is skipped in CI fails."""
    report = yield
    fail_if_skipped_in_ci(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many faults and damaged files facekp survived."""
    for line in summary(terminalreporter.stats):
        terminalreporter.write_line(line)
