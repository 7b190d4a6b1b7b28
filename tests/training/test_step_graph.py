"""Training steps as CUDA graphs: the same training, with a step that is recorded once.

A CPU has no CUDA graphs. `OnCpu` stands in: like a graph, it makes a step of the inputs that it was recorded with, and
recording one has no effect. ``make gpu-check`` tests real ones.
"""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import StochasticWeightAveraging, Timer
from torch import nn

from facekp.core.errors import UserError
from facekp.data.datamodule import FaceData, step_generator
from facekp.data.synthetic.faces import draw_faces
from facekp.functional.losses import LOSSES, build_loss, labelled_mean
from facekp.models.keypoint_model import KeypointModel
from facekp.networks.base import build_network
from facekp.runs.folder import RunFolder
from facekp.training import estimator as estimator_module
from facekp.training import setup, step_graph
from facekp.training.optim import build_optimizer
from facekp.training.setup import train
from facekp.training.step_graph import (
    StepGraph,
    _is_known,
    _problem_of_parts,
    check_cuda_graph,
    make_capturable,
    records_steps,
)
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


def records_on_cpu(settings, network, optimizer, callbacks):
    assert not _problem_of_parts(optimizer, callbacks)  # none of facekp's callbacks prevents a recording
    return _is_known(network, settings.loss.name)


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Trains as on a GPU; returns the last weights and what was recorded."""
    monkeypatch.setattr(setup, "records_steps", records_on_cpu)
    prepared = []
    monkeypatch.setattr(estimator_module, "make_capturable", prepared.append)  # torch's need a GPU for that

    def run(settings, name):
        monkeypatch.setattr(step_graph, "record_cuda_graph", recorder := OnCpu())
        prepared.clear()
        train(settings, tmp_path / name)
        assert len(prepared) == 1
        return weights_of(tmp_path / name), recorder

    return run


def weights_of(folder):
    return torch.load(RunFolder(folder).last_checkpoint, weights_only=True)["state_dict"]


SMALL = [*TINY, "data.rows=60", "data.batch_size=8"]  # 2 epochs of 6 steps


@pytest.mark.parametrize(
    "choices",
    [
        ["optimizer=adam", "augment=strong", "scheduler=onecycle"],
        ["optimizer=muon", "augment=wild", "callbacks.ema=0.9", "callbacks.patience=5"],
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
        pytest.param(
            ["trainer.gradient_clip_val=0.001", "trainer.gradient_clip_algorithm=value"], marks=pytest.mark.slow
        ),
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
        target, cells = model.target(model.labels_by_channel(batch["points"], batch["source"]))
        total = labelled_mean(loss(raw, target, cells), ~cells[..., 0].isnan())
        return total, total

    data._resident(META)  # once per training
    inputs = data.inputs(torch.empty(4, dtype=torch.int64, device=META), step_generator(0, 0, 0))
    graph = StepGraph(SimpleNamespace(device=META, losses=losses), data.assemble_inputs, optimizer)
    with CopiesToDevice() as copies:
        graph(inputs)
    assert copies.by == []
    assert all(tensor.device == META for state in optimizer.state.values() for tensor in state.values())


class Noting(torch.optim.SGD):
    """Notes what its learning rate is in each step."""

    rates: list

    def step(self, closure=None):
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


@pytest.fixture
def tiny_step():
    """A graph of steps that move one weight by the learning rate, and its optimiser."""
    scale = nn.Parameter(torch.ones(()))
    model = SimpleNamespace(device=torch.device("cpu"), losses=lambda batch: 2 * (scale * batch["row"].sum(),))
    optimizer = Noting([scale], lr=0.5)
    optimizer.rates = []
    return StepGraph(model, dict, optimizer), optimizer


def test_a_graph_reads_its_learning_rate_from_a_tensor_and_schedules_keep_theirs(tiny_step, monkeypatch):
    monkeypatch.setattr(step_graph, "record_cuda_graph", OnCpu())
    graph, optimizer = tiny_step
    for lr in (0.5, 0.25, 2.0, 4.0, 8.0, 1.0):
        optimizer.param_groups[0]["lr"] = lr
        before = optimizer.param_groups[0]["params"][0].item()
        loss, on_labels = graph({"row": torch.ones(1)})
        assert loss.item() == on_labels.item() == before
        assert optimizer.param_groups[0]["params"][0].item() == before - lr
        assert optimizer.param_groups[0]["lr"] == lr
        assert optimizer.rates[-1] is graph.rates[0]
    assert len(optimizer.rates) == 6


class Capture:
    """As `torch.cuda.graph` where the step does what no recording allows: its end fails too."""

    def __init__(self, graph, capture_error_mode):
        assert capture_error_mode == "thread_local"

    def __enter__(self):
        pass

    def __exit__(self, *error):
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


def test_a_step_that_can_t_be_recorded_is_an_error_with_its_reason_and_another_can_follow(tiny_step, monkeypatch):
    entered = []

    @contextmanager
    def stream(current):
        entered.append(current)
        try:
            yield
        finally:
            entered.append("left")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "current")
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    graph, _ = tiny_step
    for _ in range(step_graph.WARM_UP):
        graph({"row": torch.ones(1)})

    def refuse():
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCUDA kernel errors ...")

    graph.clip = refuse
    reason = "CUDA error: operation not permitted when stream is capturing"
    message = f"trainer.cuda_graph: a step can't be recorded ({reason}); set trainer.cuda_graph=false"
    with pytest.raises(UserError) as error:
        graph({"row": torch.ones(1)})
    assert str(error.value) == message
    assert entered == ["current", "left"]


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
    check_refused(settings, problem)
    with pytest.raises(UserError, match=f"^trainer.cuda_graph=true: {problem}"):  # before data are read
        check_cuda_graph(with_setting(settings, True).trainer)


def with_setting(settings, cuda_graph):
    return settings.replaced(trainer=settings.trainer.replaced(cuda_graph=cuda_graph))


def check_refused(settings, problem, optimizer=None, callbacks=()):
    parts = nn.Conv2d(1, 1, 1), optimizer or build_optimizer([weight()], 0.1, settings.optimizer), callbacks
    assert not records_steps(with_setting(settings, "auto"), *parts)
    assert not records_steps(with_setting(settings, False), *parts)
    message = f"^trainer.cuda_graph=true: {problem}.*; set trainer.cuda_graph=auto or false$"
    with pytest.raises(UserError, match=message):
        records_steps(with_setting(settings, True), *parts)


def weight():
    return nn.Parameter(torch.ones(2, 2))


def test_an_optimizer_of_a_plug_in_that_a_graph_can_t_hold_trains_without(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    class Lion(torch.optim.Optimizer):
        def __init__(self, params, **defaults):
            super().__init__(params, {"lr": 0.1, **defaults})

    settings = settings_of("trainer=gpu")
    check_refused(settings, r"optimizer Lion does not support CUDA graphs \(.*capturable", Lion([weight()]))
    assert records_steps(settings, nn.Conv2d(1, 1, 1), Lion([weight()], capturable=False), ())


class GradientNorm(pl.Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        pass


@pytest.mark.parametrize(
    ("callback", "problem"),
    [
        (GradientNorm(), "callback GradientNorm has on_before_optimizer_step, which lies inside the step"),
        (StochasticWeightAveraging(0.1), "callback StochasticWeightAveraging changes the step"),
    ],
)
def test_a_callback_that_a_recorded_step_would_not_call_is_called(monkeypatch, callback, problem):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_refused(settings_of("trainer=gpu"), problem, callbacks=[Timer(), callback])


@pytest.mark.parametrize("of_plug_in", ["network", "loss"])
def test_a_network_or_a_loss_of_a_plug_in_is_recorded_only_where_that_is_said(monkeypatch, caplog, of_plug_in):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    caplog.set_level("INFO")
    settings = settings_of("trainer=gpu")
    network: nn.Module = nn.Sequential(nn.Conv2d(1, 1, 1))
    if of_plug_in == "network":
        network = nn.Sequential(type("OfPlugIn", (nn.Module,), {"__module__": "facekp_example"})())
    else:
        monkeypatch.setitem(LOSSES.entries, settings.loss.name, lambda raw, target, cells: raw)
    parts = network, build_optimizer([weight()], 0.1, settings.optimizer), ()
    assert not records_steps(settings, *parts)
    assert "steps are not recorded: the network or the loss is of a plug-in" in caplog.text
    assert records_steps(with_setting(settings, True), *parts)


@pytest.mark.parametrize(
    "choices",
    [
        *([f"optimizer={name}"] for name in ("sgd", "adam", "adamw", "muon")),
        *([f"model={name}"] for name in ("hourglass_seed", "hourglass_fast", "regression", "simcc")),
        ["trainer.compile=true"],
        ["trainer.precision=32-true"],
    ],
)
def test_on_one_gpu_steps_are_recorded_unless_switched_off(monkeypatch, choices):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settings = settings_of("trainer=gpu", *choices)
    network = build_network(settings.model.network, heatmaps=15)
    parts = network, build_optimizer(list(network.parameters()), 0.1, settings.optimizer), [Timer()]
    assert records_steps(settings, *parts)
    assert records_steps(with_setting(settings, True), *parts)
    assert not records_steps(with_setting(settings, False), *parts)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not records_steps(settings, *parts)


def test_sgd_is_fused_to_be_recorded_and_others_become_capturable():
    sgd = torch.optim.SGD([weight()], lr=0.1)
    make_capturable(sgd)
    assert sgd.param_groups[0]["fused"]
    adam = torch.optim.Adam([weight()])
    make_capturable(adam)
    assert (adam.param_groups[0]["capturable"], adam.param_groups[0]["fused"]) == (True, None)
