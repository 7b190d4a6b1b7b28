"""Training steps as CUDA graphs: the same training, recorded once for each size of batch.

A CPU has no CUDA graphs. `OnCpu` stands in: like a graph, it makes a step of the inputs that it was recorded with, and
recording one has no effect. ``make gpu-check`` tests real ones.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from facekp.core.errors import UserError
from facekp.data.datamodule import FaceData, step_generator
from facekp.data.synthetic.faces import draw_faces
from facekp.functional.losses import build_loss, labelled_mean
from facekp.models.keypoint_model import KeypointModel
from facekp.runs.folder import RunFolder
from facekp.training import estimator as estimator_module
from facekp.training import setup, step_graph
from facekp.training.optim import build_optimizer
from facekp.training.setup import train
from facekp.training.step_graph import StepGraph, make_capturable, records_steps
from tests.conftest import TINY, settings_of
from tests.training.test_gpu_waits import META, CopiesToDevice, on_meta


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
    monkeypatch.setattr(setup, "records_steps", lambda *settings: True)
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
        patched.setattr(setup, "records_steps", lambda *settings: False)
        train(settings, tmp_path / "ordinary")
    for name, weight in weights_of(tmp_path / "ordinary").items():
        torch.testing.assert_close(replayed[name], weight, atol=1e-6, rtol=1e-5, msg=name)


def test_on_a_gpu_a_recorded_step_copies_nothing_from_the_cpu_and_reads_nothing_back(scheme, monkeypatch):
    monkeypatch.setattr(StepGraph, "_full_precision", lambda graph: nullcontext())  # meta has no autocast
    settings = settings_of(*TINY, "augment=strong", "augment.blur=1", "augment.erase=1", "optimizer=muon")
    data = FaceData(draw_faces(6, 0, scheme), np.arange(6) % 3, 0, "full", 4, settings.augment, seed=0)
    model = on_meta(KeypointModel(scheme, (96, 96), settings.model, settings.loss.activation, settings.decoder))
    optimizer = build_optimizer(list(model.parameters()), 1e-3, settings.optimizer)
    make_capturable(optimizer)
    loss = build_loss(settings.loss)

    def losses(batch):
        raw = model(batch["image"])[-1]
        target, cells = model.target(model.spread(batch["points"], batch["source"]))
        total = labelled_mean(loss(raw, target, cells), ~cells[..., 0].isnan())
        return total, total

    data._resident(META)  # once per training
    inputs = data.inputs(torch.empty(4, dtype=torch.int64, device=META), step_generator(0, 0, 0))
    graph = StepGraph(SimpleNamespace(device=META, losses=losses), data.assemble_inputs, optimizer)
    with CopiesToDevice() as copies:
        graph(inputs)
    assert copies.by == []
    assert all(tensor.device == META for state in optimizer.state.values() for tensor in state.values())


def test_a_step_that_can_t_be_recorded_is_an_error_with_its_reason():
    def refuse(step, inputs):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCUDA kernel errors ...")

    scale = nn.Parameter(torch.ones(2))
    model = SimpleNamespace(device=torch.device("cpu"), losses=lambda batch: 2 * ((scale * batch["row"]).sum(),))
    graph = StepGraph(model, dict, torch.optim.SGD([scale], lr=0.5), record=refuse)
    for _ in range(step_graph.WARM_UP):
        loss, _ = graph({"row": torch.ones(2)})
    assert scale.tolist() == [1 - 0.5 * step_graph.WARM_UP] * 2
    assert loss.item() == 2 * (1 - 0.5 * (step_graph.WARM_UP - 1))
    message = (
        r"a step can't be recorded \(CUDA error: operation not permitted when stream is capturing\); set it to false"
    )
    with pytest.raises(UserError, match=f"^trainer.cuda_graph: {message}$"):
        graph({"row": torch.ones(2)})


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        (["trainer=cpu"], "needs an NVIDIA GPU"),
        (["trainer.devices=2"], "needs one process, trainer.devices=1"),
        (["trainer.accumulate_grad_batches=2"], "needs trainer.accumulate_grad_batches=1"),
        (["trainer.precision=16-mixed"], "needs trainer.precision=bf16-mixed or 32-true, "),
        (["trainer.compile=reduce-overhead"], "trainer.compile=reduce-overhead records graphs of its own; "),
    ],
)
def test_where_steps_can_t_be_recorded_auto_does_not_and_true_is_an_error(monkeypatch, choices, problem):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settings = settings_of("trainer=gpu", *choices)
    check_refused(settings.trainer, build_optimizer([weight()], 0.1, settings.optimizer), problem)


def check_refused(trainer, optimizer, problem):
    assert not records_steps(trainer.replaced(cuda_graph="auto"), optimizer)
    assert not records_steps(trainer.replaced(cuda_graph=False), optimizer)
    message = f"^trainer.cuda_graph=true: {problem}.*; set trainer.cuda_graph=auto or false$"
    with pytest.raises(UserError, match=message):
        records_steps(trainer.replaced(cuda_graph=True), optimizer)


def weight():
    return nn.Parameter(torch.ones(2, 2))


def test_an_optimizer_of_a_plug_in_that_a_graph_can_t_hold_trains_without(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    class Lion(torch.optim.Optimizer):
        def __init__(self, params, **defaults):
            super().__init__(params, {"lr": 0.1, **defaults})

    trainer = settings_of("trainer=gpu").trainer
    check_refused(trainer, Lion([weight()]), "needs an optimizer whose groups have capturable, .*; Lion has not")
    assert records_steps(trainer, Lion([weight()], capturable=False))


@pytest.mark.parametrize(
    "choices",
    [
        *([f"optimizer={name}"] for name in ("sgd", "adam", "adamw", "muon")),
        ["trainer.compile=true"],
        ["trainer.precision=32-true"],
    ],
)
def test_on_one_gpu_steps_are_recorded_unless_they_shall_not(monkeypatch, choices):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settings = settings_of("trainer=gpu", *choices)
    trainer, optimizer = settings.trainer, build_optimizer([weight()], 0.1, settings.optimizer)
    assert records_steps(trainer, optimizer)
    assert records_steps(trainer.replaced(cuda_graph=True), optimizer)
    assert not records_steps(trainer.replaced(cuda_graph=False), optimizer)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not records_steps(trainer, optimizer)
