"""Training steps as CUDA graphs: the same training, recorded once for each size of batch.

A CPU has no CUDA graphs. `OnCpu` stands in: like a graph, it makes a step of the inputs that it was recorded with, and
recording one has no effect. ``make gpu-check`` tests real ones.
"""

import pytest
import torch

from facekp.runs.folder import RunFolder
from facekp.training import estimator as estimator_module
from facekp.training import setup, step_graph
from facekp.training.setup import train
from tests.conftest import TINY, settings_of


class OnCpu:
    """Stands in for `facekp.training.step_graph.record_cuda_graph`."""

    def __init__(self):
        self.recorded = self.replays = 0

    def __call__(self, step, inputs):
        self.recorded += 1

        def replay():
            self.replays += 1
            return step(inputs)

        return replay


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Trains as on a GPU; returns the last weights and what was recorded."""
    monkeypatch.setattr(setup, "records_steps", lambda trainer: True)
    monkeypatch.setattr(estimator_module, "make_capturable", lambda optimizer: None)  # torch's need a GPU for that

    def run(settings, name):
        monkeypatch.setattr(step_graph, "record_cuda_graph", recorder := OnCpu())
        train(settings, tmp_path / name)
        return weights_of(tmp_path / name), recorder

    return run


def weights_of(folder):
    return torch.load(RunFolder(folder).last_checkpoint, weights_only=True)["state_dict"]


SMALL = [*TINY, "data.rows=60", "data.batch_size=8"]  # 2 epochs of 6 steps


@pytest.mark.parametrize(
    "choices",
    [
        ["optimizer=adam", "augment=strong", "scheduler=onecycle"],
        ["optimizer=muon", "augment=wild"],
        ["augment=robust"],
        ["trainer.gradient_clip_val=0.01", "data.device_bytes=1"],
    ],
    ids=["adam", "muon", "transforms", "images on the host"],
)
def test_recorded_steps_equal_those_that_run_as_usual(recorded, monkeypatch, choices):
    settings = settings_of(*SMALL, *choices)
    replayed, recorder = recorded(settings, "replayed")
    assert (recorder.recorded, recorder.replays) == (1, 2 * 6 - step_graph.WARM_UP)
    monkeypatch.setattr(step_graph, "WARM_UP", 1000)
    as_usual, recorder = recorded(settings, "as_usual")
    assert recorder.recorded == 0
    for name in as_usual:
        assert torch.equal(replayed[name], as_usual[name]), name


@pytest.mark.parametrize(
    "choices",
    [
        ["augment=strong", "scheduler=onecycle"],
        ["trainer.gradient_clip_val=0.01"],
        ["trainer.gradient_clip_val=0.001", "trainer.gradient_clip_algorithm=value"],
        ["trainer.precision=bf16-mixed"],
    ],
    ids=["schedule", "clipped", "clipped values", "bfloat16"],
)
def test_a_recorded_training_equals_an_ordinary_one(recorded, tmp_path, choices):
    settings = settings_of(*SMALL, "optimizer=sgd", "lr=0.0078125", *choices)
    replayed, _ = recorded(settings, "replayed")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(setup, "records_steps", lambda trainer: False)
        train(settings, tmp_path / "ordinary")
    for name, weight in weights_of(tmp_path / "ordinary").items():
        torch.testing.assert_close(replayed[name], weight, atol=1e-6, rtol=1e-5, msg=name)
