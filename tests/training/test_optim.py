"""Optimisers and schedules by name."""

import pytest
import torch
from torch import nn

from facekp.core.errors import UserError
from facekp.training.optim import OPTIMIZERS, build_optimizer, build_scheduler
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


def quadratic(shape):
    torch.manual_seed(0)
    return nn.Parameter(torch.randn(shape)), torch.randn(shape)


def muon(parameters, **changed):
    return build_optimizer(parameters, **{"lr": 0.02, "settings": config_of("optimizer=muon")["optimizer"]} | changed)


def test_muon_s_first_step_of_a_matrix_is_orthogonal_and_of_adamw_s_size():
    weight, _ = quadratic((8, 4, 3, 3))
    before = weight.detach().clone()
    optimizer = muon([weight], settings={**config_of("optimizer=muon")["optimizer"], "weight_decay": 0.0})
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    step = (before - weight.detach()).flatten(1) / (0.02 * 0.2 * 6)  # 6: root of the matrix's longer side
    singular = torch.linalg.svdvals(step)
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    assert (step * weight.grad.flatten(1)).sum() > 0


def test_muon_moves_vectors_as_adamw_does():
    (ours, goal), (theirs, _) = quadratic((5,)), quadratic((5,))
    optimizers = muon([ours]), torch.optim.AdamW([theirs], lr=0.02, weight_decay=0.02)
    for _ in range(4):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            (parameter - goal).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("channels_last", [False, True])
def test_muon_finds_a_minimum_in_any_memory_format(channels_last):
    weight, goal = quadratic((6, 3, 3, 3))
    if channels_last:
        weight = nn.Parameter(weight.detach().to(memory_format=torch.channels_last))
    optimizer = muon([weight])
    start = (weight - goal).square().sum().item()
    for step in range(200):
        for group in optimizer.param_groups:
            group["lr"] = 0.2 * (1 - step / 200)
        optimizer.zero_grad()
        (weight - goal).square().sum().backward()
        optimizer.step()
    assert (weight - goal).square().sum().item() < 1e-2 * start


def test_muon_goes_on_from_its_saved_state():
    def advance(weight, goal, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            (weight - goal).square().sum().backward()
            optimizer.step()

    (whole, goal), (half, _) = quadratic((4, 6)), quadratic((4, 6))
    through, first = muon([whole]), muon([half])
    advance(whole, goal, through, 6)
    advance(half, goal, first, 3)
    second = muon([half])
    second.load_state_dict(first.state_dict())
    advance(half, goal, second, 3)
    assert torch.equal(whole, half)
