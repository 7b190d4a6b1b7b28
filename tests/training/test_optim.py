"""Optimisers and schedules by name, and those of plug-ins."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from facekp.core.errors import UserError
from facekp.core.settings import Fraction
from facekp.training.optim import (
    OPTIMIZERS,
    SCHEDULES,
    Muon,
    _fused,
    _newton_schulz,
    _newton_schulz_fused,
    _orthogonal,
    build_optimizer,
    build_scheduler,
    cosine,
    onecycle,
)
from tests.conftest import config_of

CLASSES = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "muon": Muon}


def optimizer_settings(*overrides):
    return OPTIMIZERS.parse(config_of(*overrides)["optimizer"])


def parameter():
    return nn.Parameter(torch.zeros(1))


@pytest.fixture
def plug_ins(monkeypatch):
    """Registries that forget what a test registers."""
    for registry in (OPTIMIZERS, SCHEDULES):
        monkeypatch.setattr(registry, "entries", dict(registry.entries))
        monkeypatch.setattr(registry, "own_settings", dict(registry.own_settings))


def test_every_built_in_name_has_a_test_here():
    assert set(OPTIMIZERS) == set(CLASSES)
    assert set(SCHEDULES) == {"constant", "onecycle", "cosine"}


@pytest.mark.parametrize("name", CLASSES)
def test_every_choice_builds_its_class_with_its_config_and_the_given_rate(name):
    config = config_of(f"optimizer={name}")["optimizer"]
    optimizer = build_optimizer([parameter()], 5e-4, OPTIMIZERS.parse(config))
    assert type(optimizer) is CLASSES[name]
    group = optimizer.param_groups[0]
    assert group["lr"] == 5e-4
    for key in config.keys() - {"name"}:
        assert (list(group[key]) if key == "betas" else group[key]) == config[key]


def rates(name, steps=20, lr=0.1):
    optimizer = torch.optim.SGD([parameter()], lr=lr)
    schedule = build_scheduler(optimizer, steps, SCHEDULES.parse(config_of(f"scheduler={name}")["scheduler"]))
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*seen, optimizer.param_groups[0]["lr"]]


def test_constant_stays():
    assert rates("constant") == [0.1] * 21


def test_onecycle_warms_up_to_the_rate_and_ends_near_zero():
    seen = rates("onecycle")
    assert seen[0] == pytest.approx(0.1 * 0.04)
    assert seen[2] == pytest.approx(0.1)  # after a tenth of the steps
    assert seen[2:] == sorted(seen[2:], reverse=True)
    assert seen[-1] == pytest.approx(0.1 * 1e-3)


def test_a_schedule_of_no_steps_is_at_its_start():
    assert rates("cosine", steps=0) == [0.1]


def test_cosine_is_half_way_down_after_half_the_steps():
    seen = rates("cosine")
    assert seen[0] == pytest.approx(0.1)
    assert seen[10] == pytest.approx(0.1 * (1 + 1e-3) / 2)
    assert seen[-1] == pytest.approx(0.1 * 1e-3)


def test_onecycle_without_a_warm_up_starts_at_the_rate():
    assert onecycle(0.0, warmup=0.0, start=0.04, end=0.0) == 1
    assert onecycle(0.5, warmup=0.0, start=0.04, end=0.0) == pytest.approx(0.5)


def test_after_its_end_a_schedule_stays_at_its_end():
    assert cosine(1.5, end=0.2) == pytest.approx(0.2)
    assert onecycle(1.5, warmup=0.1, start=0.0, end=0.2) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "lion"}, r"optimizer: there is no optimizer 'lion'; choose one of adam, adamw, muon, sgd"),
        ({"name": "sgd", "momentum": 0.9, "weight_decay": 0.0, "beta": 1}, r"optimizer\.beta: unknown key"),
        ({"name": "sgd", "momentum": 1.0, "weight_decay": 0.0}, r"optimizer\.momentum=1\.0: must be less than 1"),
        ({"name": "adam", "betas": [0.9], "weight_decay": 0.0}, r"optimizer\.betas=\[0\.9\]: must have at least 2"),
        ({"name": "adam", "betas": [0.9, "b"], "weight_decay": 0.0}, r"optimizer\.betas\.1=b: must be a number"),
        ({"name": "adamw", "betas": [0.9, 0.99], "weight_decay": -1.0}, r"optimizer\.weight_decay=-1\.0: must be at"),
    ],
)
def test_a_bad_setting_is_named(values, message):
    with pytest.raises(UserError, match=message):
        OPTIMIZERS.parse(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "step"}, "scheduler: there is no schedule 'step'; choose one of constant, cosine, onecycle"),
        ({"name": "cosine", "end": 2.0}, r"scheduler\.end=2\.0: must be at most 1"),
        ({"name": "onecycle", "warmup": 1.0, "start": 0.0, "end": 0.0}, r"scheduler\.warmup=1\.0: must be less than 1"),
        ({"name": "constant", "end": 0.0}, r"scheduler\.end: unknown key"),
    ],
)
def test_a_bad_setting_of_a_schedule_is_named(values, message):
    with pytest.raises(UserError, match=message):
        SCHEDULES.parse(values)


@pytest.mark.usefixtures("plug_ins")
def test_a_plug_in_adds_an_optimiser_and_a_schedule_with_settings_of_their_own():
    @OPTIMIZERS.register("signed")
    class Signed(torch.optim.SGD):
        def __init__(self, params, lr, damping: Fraction = 0.5) -> None:
            super().__init__(params, lr=lr * damping)

    @SCHEDULES.register("linear")
    def linear(fraction, end: Fraction = 0.0) -> float:
        return 1 + (end - 1) * fraction

    optimizer = build_optimizer([parameter()], 1.0, OPTIMIZERS.parse({"name": "signed", "damping": 0.25}))
    assert type(optimizer) is Signed
    assert optimizer.param_groups[0]["lr"] == 0.25
    schedule = build_scheduler(optimizer, 4, SCHEDULES.parse({"name": "linear"}))
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25 * 0.75)
    with pytest.raises(UserError, match=r"optimizer\.damping=2\.0: must be at most 1"):
        OPTIMIZERS.parse({"name": "signed", "damping": 2.0})


@pytest.mark.usefixtures("plug_ins")
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no such thing"), "no such thing"),
        (RuntimeError("no such thing"), "no such thing"),
        (KeyError("beta"), "KeyError: 'beta'"),
        (AttributeError("no Adamm"), "AttributeError: no Adamm"),
    ],
)
def test_what_a_plug_in_s_optimiser_refuses_is_one_line(error, message):
    @OPTIMIZERS.register("picky")
    def picky(params, lr):
        raise error

    with pytest.raises(UserError, match=f"optimizer=picky: {message}"):
        build_optimizer([parameter()], 1.0, OPTIMIZERS.parse({"name": "picky"}))


@pytest.mark.usefixtures("plug_ins")
def test_an_optimiser_whose_step_takes_no_closure_is_refused():
    @OPTIMIZERS.register("plain")
    class Plain(torch.optim.SGD):
        def __init__(self, params, lr):
            super().__init__(params, lr=lr)

        def step(self):
            super().step()

    with pytest.raises(UserError, match=r"optimizer=plain: Plain\.step has no argument closure; write step\(self, clo"):
        build_optimizer([parameter()], 1.0, OPTIMIZERS.parse({"name": "plain"}))


@pytest.mark.usefixtures("plug_ins")
@pytest.mark.parametrize("returned", [None, [], "sgd"])
def test_what_is_no_optimiser_is_refused(returned):
    OPTIMIZERS.register("broken")(lambda params, lr: returned)
    with pytest.raises(UserError, match=rf"optimizer=broken: the plug-in returned {type(returned).__name__}; it must"):
        build_optimizer([parameter()], 1.0, OPTIMIZERS.parse({"name": "broken"}))


@pytest.mark.usefixtures("plug_ins")
@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (lambda fraction: None, "0 of the training: returned NoneType; a schedule returns the factor on lr"),
        (lambda fraction: "1", "0 of the training: returned str"),
        (lambda fraction: True, "0 of the training: returned bool"),
        (lambda fraction: math.nan, "0 of the training: returned nan; the factor on lr must be a finite number"),
        (lambda fraction: math.inf if fraction == 0.25 else 1, "0.25 of the training: returned inf"),
        (lambda fraction: 0.6 - fraction, "0.75 of the training: returned -0.15"),
        (lambda fraction: 1 / (fraction - 0.5), "0 of the training: returned -2.0"),
        (lambda fraction: 1 / (1 - fraction), "1 of the training: ZeroDivisionError"),
        (lambda fraction: {0.0: 1.0}[fraction], "0.25 of the training: KeyError"),
    ],
)
def test_a_schedule_is_tried_over_the_whole_training(factor, message):
    SCHEDULES.register("broken")(factor)
    optimizer = torch.optim.SGD([parameter()], lr=0.1)
    with pytest.raises(UserError, match=f"scheduler=broken: at the fraction {message}"):
        build_scheduler(optimizer, 10, SCHEDULES.parse({"name": "broken"}))


@pytest.mark.usefixtures("plug_ins")
def test_a_factor_between_those_that_were_tried_is_checked_in_its_step():
    SCHEDULES.register("broken")(lambda fraction: math.nan if fraction == 0.1 else torch.tensor(0.5))
    optimizer = torch.optim.SGD([parameter()], lr=0.1)
    schedule = build_scheduler(optimizer, 10, SCHEDULES.parse({"name": "broken"}))
    assert optimizer.param_groups[0]["lr"] == 0.05
    optimizer.step()
    with pytest.raises(UserError, match=r"scheduler=broken: at the fraction 0\.1 of the training: returned nan"):
        schedule.step()


def quadratic(shape):
    torch.manual_seed(0)
    return nn.Parameter(torch.randn(shape)), torch.randn(shape)


def muon(parameters, *overrides):
    return build_optimizer(parameters, 0.02, optimizer_settings("optimizer=muon", *overrides))


def test_muon_s_first_step_of_a_matrix_is_orthogonal_and_of_adamw_s_size():
    weight, _ = quadratic((8, 4, 3, 3))
    before = weight.detach().clone()
    optimizer = muon([weight], "optimizer.weight_decay=0")
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    step = (before - weight.detach()).flatten(1) / (0.02 * 0.2 * 6)  # 6: root of the matrix's longer side
    singular = torch.linalg.svdvals(step)
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    assert (step * weight.grad.flatten(1)).sum() > 0


def test_muon_leaves_a_matrix_without_a_slope_where_it_is():
    weight, _ = quadratic((4, 6))
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    muon([weight], "optimizer.weight_decay=0").step()
    assert torch.equal(weight, before)


def test_muon_moves_vectors_as_adamw_does():
    (weight, goal), (expected, _) = quadratic((5,)), quadratic((5,))
    optimizers = muon([weight]), torch.optim.AdamW([expected], lr=0.02, weight_decay=0.02)
    for _ in range(4):
        for vector, optimizer in zip((weight, expected), optimizers, strict=True):
            optimizer.zero_grad()
            (vector - goal).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(weight, expected)


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


def test_muon_continues_from_its_saved_state():
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


class PlainMuon(torch.optim.Optimizer):
    """The reference: Muon written as a loop over parameters."""

    def __init__(self, params, lr, momentum, betas, weight_decay):
        super().__init__(params, {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        (group,) = self.param_groups
        matrices = defaultdict(list)
        for p in group["params"]:
            if p.grad is None:
                continue
            p.mul_(1 - group["lr"] * group["weight_decay"])
            if p.ndim < 2:
                self.move_vector(p, group)
            else:
                matrices[p.flatten(1).shape].append(p)
        for shape, parameters in matrices.items():
            momenta = torch.stack([self.momentum(p, group["momentum"]) for p in parameters])
            for p, step in zip(parameters, _orthogonal(momenta), strict=True):
                p.add_(step.view_as(p), alpha=-group["lr"] * 0.2 * math.sqrt(max(shape)))

    def momentum(self, p, momentum):
        average = self.state[p].setdefault("average", torch.zeros_like(p))
        average.lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(average, momentum).flatten(1)

    def move_vector(self, p, group):
        state, (first, second) = self.state[p], group["betas"]
        state["step"] = state.get("step", 0) + 1
        average, square = (state.setdefault(name, torch.zeros_like(p)) for name in ("average", "square"))
        average.lerp_(p.grad, 1 - first)
        square.lerp_(p.grad.square(), 1 - second)
        scale = (square / (1 - second ** state["step"])).sqrt() + 1e-8
        p.addcdiv_(average / (1 - first ** state["step"]), scale, value=-group["lr"])


SHAPES = [(8, 4, 3, 3), (5,), (8, 36), (36, 8), (7,), (4, 4, 1, 1), (8, 4, 3, 3)]


def random_parameters():
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=generator) for shape in SHAPES]
    return [nn.Parameter(v.to(memory_format=torch.channels_last) if v.ndim == 4 else v) for v in values]


def test_muon_s_batched_steps_equal_those_of_a_loop_over_the_parameters_to_the_last_bit():
    batched, plain = random_parameters(), random_parameters()
    settings = {"lr": 0.02, "momentum": 0.9, "betas": (0.9, 0.99), "weight_decay": 0.05}
    optimizers = Muon(batched, **settings), PlainMuon(plain, **settings)
    generator = torch.Generator().manual_seed(1)
    for step in range(4):
        for i, (p, q) in enumerate(zip(batched, plain, strict=True)):
            p.grad = q.grad = (
                None if step == i == 1 else torch.randn(p.shape, generator=generator)
            )  # one has no gradient
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(batched, plain, strict=True))
    assert not torch.equal(batched[1], random_parameters()[1])


def test_the_newton_schulz_step_of_gpus_equals_that_of_cpus_but_for_rounding():
    x = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0)) / 5
    torch.testing.assert_close(_newton_schulz_fused(x), _newton_schulz(x))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("fused", [None, False, True])
def test_fused_kernels_are_chosen_or_on_a_cpu_torch_s_default(name, fused):
    optimizer = build_optimizer(
        [parameter()],
        1e-3,
        optimizer_settings(f"optimizer={name}", f"optimizer.fused={'null' if fused is None else fused}"),
    )
    assert optimizer.param_groups[0]["fused"] is (True if fused else None)


def test_fused_kernels_are_the_default_where_all_weights_are_on_a_gpu():
    on_gpu, on_cpu = SimpleNamespace(is_cuda=True), SimpleNamespace(is_cuda=False)
    assert _fused([on_gpu, on_gpu], None) is True
    assert _fused([{"params": [on_gpu]}, {"params": [on_gpu]}], None) is True
    assert _fused([on_gpu, on_cpu], None) is None
    assert _fused([{"params": [on_gpu]}, {"params": [on_cpu]}], None) is None
    assert _fused([on_gpu], False) is None


@pytest.mark.parametrize("steps", [1, 7])
def test_muon_moves_alike_with_numbers_that_a_cuda_graph_can_hold(steps):
    torch.manual_seed(0)
    start = [torch.randn(6, 4, 3, 3), torch.randn(4, 4), torch.randn(5)]
    gradients = [[torch.randn_like(tensor) for tensor in start] for _ in range(steps)]
    moved = []
    for capturable in (False, True):
        parameters = [nn.Parameter(tensor.clone()) for tensor in start]
        optimizer = build_optimizer(parameters, 0.02, optimizer_settings("optimizer=muon"))
        group = optimizer.param_groups[0]
        group["capturable"], group["lr"] = capturable, torch.tensor(0.02) if capturable else 0.02
        for of_step in gradients:
            for parameter, gradient in zip(parameters, of_step, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()
        moved.append(parameters)
    for ordinary, recorded in zip(*moved, strict=True):
        torch.testing.assert_close(recorded, ordinary, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("capturable", [False, True])
def test_muon_s_step_numbers_are_tensors_only_where_a_cuda_graph_needs_them(capturable):
    vector = nn.Parameter(torch.ones(3))
    saved = build_optimizer([vector], 0.02, optimizer_settings("optimizer=muon"))
    saved.param_groups[0]["capturable"] = not capturable
    vector.grad = torch.ones(3)
    saved.step()
    saved.step()
    state = saved.state_dict()
    state["param_groups"][0]["capturable"] = capturable
    loaded = build_optimizer([vector], 0.02, optimizer_settings("optimizer=muon"))
    loaded.load_state_dict(state)
    step = loaded.state[vector]["step"]
    assert isinstance(step, torch.Tensor) == capturable
    assert step == 2
    del state["param_groups"][0]["capturable"]  # checkpoints of earlier versions
    loaded.load_state_dict(state)
    assert loaded.state[vector]["step"] == 2
    assert isinstance(loaded.state[vector]["step"], int)
