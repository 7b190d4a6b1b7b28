"""`trainer.compile`: how the network is compiled, and that validation is not."""

import pytest
import torch
from torch import nn

from facekp.training.compilation import EagerValidation, compile_network


@pytest.mark.parametrize(("mode", "of_torch"), [(True, None), ("reduce-overhead", "reduce-overhead")])
def test_networks_of_earlier_trainings_are_forgotten_then_the_network_is_compiled_in_place(monkeypatch, mode, of_torch):
    calls, network = [], nn.Identity()
    monkeypatch.setattr(torch.compiler, "reset", lambda: calls.append("reset"))
    monkeypatch.setattr(nn.Module, "compile", lambda self, **how: calls.append((self, how)))
    compile_network(network, mode)
    assert calls == ["reset", (network, {"mode": of_torch})]


def test_validation_is_eager_and_training_compiled_again_after_it(monkeypatch):
    stances = []
    monkeypatch.setattr(torch.compiler, "set_stance", stances.append)
    callback = EagerValidation()
    callback.on_validation_start(None, None)
    assert stances == ["force_eager"]
    callback.on_validation_end(None, None)
    assert stances[1:] == ["default"]
    callback.on_exception(None, None, ValueError())
    assert stances[2:] == ["default"]
