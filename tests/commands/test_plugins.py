"""A module of the working directory, named by `plugins=[module]`, in a training and in a resumed run.

tests/examples does the same with every kind of plug-in, in a sweep and in two processes.
"""

import json

import pytest
import yaml

from tests.conftest import facekp

MODULE = """
import torch
from torch import nn
from facekp.core.settings import Fraction
from facekp.functional.losses import LOSSES
from facekp.networks.base import NETWORKS, HeatmapNetwork, Heatmaps
from facekp.training.optim import OPTIMIZERS, SCHEDULES


@NETWORKS.register("tiny")
class Tiny(HeatmapNetwork):
    def __init__(self, heatmaps: Heatmaps, width: int = 8) -> None:
        super().__init__()
        self.stride = 4
        self.body = nn.Sequential(nn.Conv2d(1, width, 7, 4, 3), nn.ReLU(), nn.Conv2d(width, heatmaps, 3, padding=1))

    def forward(self, images):
        return [self.body(images)]


@LOSSES.register("absolute")
def absolute(raw, target, cells, weight: float = 1.0):
    return weight * (raw - target).abs().mean(dim=(-2, -1))


@OPTIMIZERS.register("damped")
class Damped(torch.optim.SGD):
    def __init__(self, params, lr, damping: Fraction = 0.5):
        super().__init__(params, lr=lr * damping)


@SCHEDULES.register("linear")
def linear(fraction, end: Fraction = 0.1) -> float:
    return 1 + (end - 1) * fraction
"""
SETTINGS = [
    "plugins=[mine]",
    "model=tiny",
    "loss=absolute",
    "loss.activation=none",
    "loss.weight=2.0",
    "optimizer=damped",
    "scheduler=linear",
    "data=synthetic",
    "data.rows=40",
    "trainer.max_epochs=1",
    "callbacks.progress=false",
    "callbacks.pictures=0",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with the plug-in and a run that used it."""
    root = tmp_path_factory.mktemp("plugins")
    (root / "mine.py").write_text(MODULE)
    done = facekp("train", *SETTINGS, "out=run", cwd=root)
    assert done.returncode == 0, done.stderr
    return root


def test_the_config_keeps_the_plug_ins_and_their_settings(folder):
    config = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert config["plugins"] == ["mine"]
    assert config["model"]["network"] == {"name": "tiny", "width": 8}
    assert config["loss"]["weight"] == 2.0
    assert config["optimizer"] == {"name": "damped", "damping": 0.5}


def test_a_resumed_run_needs_them_again(folder):
    without = facekp("train", "resume=run", "trainer.max_epochs=2", cwd=folder)
    assert without.returncode == 2
    assert "the run needs plugins=[mine]; add this to the command line" in without.stderr
    given = facekp("train", "resume=run", "trainer.max_epochs=2", "plugins=[mine]", cwd=folder)
    assert given.returncode == 0, given.stderr
    assert json.loads((folder / "run" / "metrics.json").read_text())["epochs"] == 2


def test_a_mistyped_setting_of_a_plug_in_gets_the_nearest_one(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    done = facekp("train", "data=synthetic", "plugins=[mine]", "loss=absolute", "loss.wieght=2", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "facekp: error: loss.wieght: unknown key; did you mean loss.weight?\n")
