"""Optimisers and schedules by name."""

import pytest
import torch
from torch import nn

from facekp.errors import UserError
from facekp.optim import OPTIMIZERS, build_optimizer, build_scheduler
from tests.conftest import config_of


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_choice_builds_with_its_config_and_the_rate_asked_for(name):
    settings = config_of(f"optimizer={name}", "lr=5e-4")
    optimizer = build_optimizer([nn.Parameter(torch.zeros(1))], settings["lr"], settings["optimizer"])
    assert type(optimizer) is OPTIMIZERS[name]
    assert optimizer.param_groups[0]["lr"] == 5e-4


def rates(name, steps=20, lr=0.1):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = build_scheduler(optimizer, steps, config_of(f"scheduler={name}")["scheduler"])
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*seen, optimizer.param_groups[0]["lr"]]


def test_constant_stays():
    assert rates("constant") == [0.1] * 21


def test_onecycle_warms_up_to_the_rate_and_ends_near_nothing():
    seen = rates("onecycle")
    assert seen[0] == pytest.approx(0.1 * 0.04)
    assert seen[2] == pytest.approx(0.1)  # a tenth of the way
    assert seen[2:] == sorted(seen[2:], reverse=True)
    assert seen[-1] == pytest.approx(0.1 * 1e-3)


def test_cosine_is_half_way_down_half_way_through():
    seen = rates("cosine")
    assert seen[0] == pytest.approx(0.1)
    assert seen[10] == pytest.approx(0.1 * (1 + 1e-3) / 2)
    assert seen[-1] == pytest.approx(0.1 * 1e-3)


@pytest.mark.parametrize(
    ("lr", "settings", "told"),
    [
        (-1, {"name": "adam"}, "lr=-1"),
        ("fast", {"name": "adam"}, "lr=fast"),
        (1e-3, {"name": "lion"}, "choose one of sgd, adam, adamw"),
        (1e-3, {"name": "sgd", "beta": 1}, "optimizer=sgd"),
    ],
)
def test_a_bad_setting_is_named(lr, settings, told):
    with pytest.raises(UserError, match=told):
        build_optimizer([nn.Parameter(torch.zeros(1))], lr, settings)
