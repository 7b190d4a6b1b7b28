"""`trainer.compile`: what is compiled, and that it computes the same."""

from functools import partial

import pytest
import torch

from facekp.data.datamodule import step_generator
from facekp.data.readers.read import read_table
from facekp.training.compilation import compile_steps
from facekp.training.dataset import build_data
from facekp.training.initial import build_estimator
from tests.conftest import TINY, settings_of


def parts(*overrides):
    """Data and estimator of a training, and the inputs of a step."""
    settings = settings_of(*TINY, *overrides)
    dataset = build_data(read_table(settings.data, settings.keypoints), settings)
    estimator = build_estimator(dataset, settings, None)
    return dataset.module, estimator, dataset.module.inputs(torch.arange(4), step_generator(0, 0, 0, 0))


@pytest.fixture
def without_graph_breaks(monkeypatch):
    """torch.compile as it traces, without the minute of generating code; an error where a part would stay as it is."""
    calls = []

    def compiled(function, mode):
        calls.append((function.__name__, mode))
        return real(function, backend="aot_eager", fullgraph=True)

    real = torch.compile
    monkeypatch.setattr(torch.compiler, "reset", partial(calls.append, "reset"))
    monkeypatch.setattr(torch, "compile", compiled)
    return calls


@pytest.mark.parametrize(("mode", "of_torch"), [(True, None), ("reduce-overhead", "reduce-overhead")])
def test_what_earlier_trainings_compiled_is_forgotten_then_losses_and_augmentation_are_compiled(
    without_graph_breaks, mode, of_torch
):
    data, estimator, _ = parts()
    compile_steps(estimator, data, mode)
    assert without_graph_breaks == ["reset", ("_mean_losses", of_torch), ("assemble_inputs", of_torch)]


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param([], id="default"),
        pytest.param(
            ["augment=strong", "model.network.block=bottleneck", "loss=euclidean"], id="others", marks=pytest.mark.slow
        ),
    ],
)
def test_compiled_steps_give_the_same_batch_losses_and_gradients(without_graph_breaks, overrides):
    data, estimator, inputs = parts(*overrides)
    estimator.train()
    plain_batch = data.assemble_inputs(inputs)
    ((plain, _),) = estimator.mean_losses(plain_batch)
    plain.backward()
    gradients = [parameter.grad.clone() for parameter in estimator.parameters()]
    estimator.zero_grad()

    compile_steps(estimator, data, True)
    batch = data.assemble_inputs(inputs)
    ((loss, mask),) = estimator.mean_losses(batch)
    loss.backward()

    for name, tensor in plain_batch.items():
        torch.testing.assert_close(batch[name], tensor, equal_nan=True)
    assert mask.any()
    torch.testing.assert_close(loss, plain)
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    for parameter, gradient in zip(estimator.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5 * largest)
