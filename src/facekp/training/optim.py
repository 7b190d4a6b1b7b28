"""Optimisers and learning-rate schedules by name; a plug-in adds its own.

An optimiser is a class or function ``(params, lr, **settings) -> torch.optim.Optimizer``::

    from facekp.training.optim import OPTIMIZERS

    @OPTIMIZERS.register("lion")
    class Lion(torch.optim.Optimizer):
        def __init__(self, params, lr: float, beta: FractionBelowOne = 0.9) -> None: ...

A schedule is a function ``(fraction, **settings) -> factor``. ``fraction`` goes from 0 to 1 over the training, and the
learning rate is ``lr * factor``::

    from facekp.training.optim import SCHEDULES

    @SCHEDULES.register("linear")
    def linear(fraction: float, end: Fraction = 0.0) -> float:
        return 1 + (end - 1) * fraction

The arguments after ``lr`` or ``fraction`` are the settings under ``optimizer`` and ``scheduler``. Their annotations are
checked when the command starts.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from facekp.core.errors import UserError
from facekp.core.registry import Registry
from facekp.core.settings import Fraction, FractionBelowOne, NonNegative, Settings

Parameters = Iterable[nn.Parameter] | list[dict[str, Any]]  # or groups, as of `torch.optim.Optimizer`
Betas = Annotated[list[FractionBelowOne], Field(min_length=2, max_length=2)]

# Coefficients and number of steps as published with Muon.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5

TRIED_FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the training, at which a schedule is tried before it starts


class OptimizerSettings(Settings):
    """``optimizer``: its name; each optimiser adds its own settings."""

    name: str


class ScheduleSettings(Settings):
    """``scheduler``: its name; each schedule adds its own settings."""

    name: str


OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry(
    "optimizer",
    key="optimizer",
    base=OptimizerSettings,
    entry_points="facekp.optimizers",
    inputs=2,  # params, lr
    config_group="optimizer",
)
SCHEDULES: Registry[Callable[..., float]] = Registry(
    "schedule",
    key="scheduler",
    base=ScheduleSettings,
    entry_points="facekp.schedules",
    inputs=1,  # fraction
    config_group="scheduler",
)


@OPTIMIZERS.register("sgd")
def sgd(
    params: Parameters, lr: float, momentum: FractionBelowOne, weight_decay: NonNegative, fused: bool | None = None
) -> SGD:
    """Stochastic gradient descent with momentum; ``fused`` as for `adamw`."""
    given: Any = list(params)
    return SGD(given, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=_fused(given, fused))


@OPTIMIZERS.register("adam")
def adam(params: Parameters, lr: float, betas: Betas, weight_decay: NonNegative, fused: bool | None = None) -> Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); ``fused`` as for `adamw`."""
    given: Any = list(params)
    return Adam(given, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay, fused=_fused(given, fused))


@OPTIMIZERS.register("adamw")
def adamw(params: Parameters, lr: float, betas: Betas, weight_decay: NonNegative, fused: bool | None = None) -> AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

    Args:
        params: the parameters to optimise.
        lr: learning rate.
        betas: decay of the running means of gradients and of their squares.
        weight_decay: fraction of the learning rate by which weights shrink per step.
        fused: one kernel for many parameters; None: where they are on a GPU.
    """
    given: Any = list(params)
    return AdamW(given, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay, fused=_fused(given, fused))


def _fused(params: Sequence[Any], fused: bool | None) -> bool | None:
    """The ``fused`` of torch; None is its default, which False is not: that would be one kernel per parameter."""
    if fused is None:
        groups = [each["params"] if isinstance(each, dict) else [each] for each in params]
        fused = bool(groups) and all(parameter.is_cuda for group in groups for parameter in group)
    return fused or None


@OPTIMIZERS.register("muon")
class Muon(Optimizer):
    """Orthogonalised momentum for weight matrices; AdamW for vectors (biases, scales).

    The weight of a convolution is treated as a matrix: outputs by everything else (K. Jordan et al. 2024, "Muon: an
    optimizer for hidden layers"). Steps have the size of AdamW's at the same rate (Liu et al. 2025, arXiv:2502.16982).
    `torch.optim.Muon` accepts matrices only and computes in bfloat16, which is slow on most CPUs. This version
    computes in float32. It batches matrices of equal shape, and all vectors, so that a GPU runs few kernels.

    Args:
        params: the parameters to optimise.
        lr: learning rate, as for AdamW.
        momentum: of the gradients of matrices.
        betas: of AdamW, for vectors.
        weight_decay: decoupled, for all parameters.

    As in torch's optimisers, ``lr`` of a group may be a tensor, and a CUDA graph can hold the step of a ``capturable``
    group, whose number is a tensor too.
    """

    def __init__(
        self, params: Parameters, lr: float, momentum: FractionBelowOne, betas: Betas, weight_decay: NonNegative
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "betas": tuple(betas), "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "capturable": False})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            on_device = group.setdefault("capturable", False)  # missing in checkpoints of earlier versions
            for parameter in group["params"]:
                if "step" in (of_parameter := self.state.get(parameter, {})):
                    number = int(of_parameter["step"])
                    tensor = torch.tensor(float(number), device=parameter.device)
                    of_parameter["step"] = tensor if on_device else number

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            matrices = [parameter for parameter in parameters if parameter.ndim > 1]
            vectors = [parameter for parameter in parameters if parameter.ndim < 2]
            if matrices:
                self._muon_step(matrices, group)
            if vectors:
                self._adam_step(vectors, group)
        return loss

    def _muon_step(self, parameters: Sequence[nn.Parameter], group: Mapping[str, Any]) -> None:
        by_shape = defaultdict(list)
        for parameter, momentum in zip(parameters, self._momenta(parameters, group["momentum"]), strict=True):
            by_shape[parameter.flatten(1).shape].append((parameter, momentum.flatten(1)))
        for shape, pairs in by_shape.items():
            moved, momenta = zip(*pairs, strict=True)
            steps = _orthogonal(torch.stack(momenta))
            shaped = [step.view_as(parameter) for parameter, step in zip(moved, steps, strict=True)]
            factor = -group["lr"] * 0.2 * math.sqrt(max(shape))
            if isinstance(factor, Tensor):
                torch._foreach_add_(moved, torch._foreach_mul(shaped, factor))
            else:
                torch._foreach_add_(moved, shaped, alpha=factor)

    def _momenta(self, parameters: Sequence[nn.Parameter], momentum: float) -> Sequence[Tensor]:
        """The Nesterov momentum of each parameter's gradient."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["average"] = torch.zeros_like(parameter)
        gradients, averages = _gradients(parameters), [self.state[parameter]["average"] for parameter in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, averages, momentum)

    def _adam_step(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state |= {"average": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
                state["step"] = torch.zeros((), device=parameter.device) if group["capturable"] else 0
            state["step"] += 1
        states, gradients = [self.state[parameter] for parameter in parameters], _gradients(parameters)
        averages, squares = ([state[name] for state in states] for name in ("average", "square"))
        (first, second), steps = group["betas"], [state["step"] for state in states]
        torch._foreach_lerp_(averages, gradients, 1 - first)
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - second)
        if group["capturable"]:
            directions, scales = (
                torch._foreach_div(sums, (1 - beta ** steps[0].double()).float())  # all have made as many steps
                for sums, beta in ((averages, first), (squares, second))
            )
            torch._foreach_mul_(directions, -group["lr"])
        else:
            directions = torch._foreach_div(averages, [1 - first**step for step in steps])
            scales = torch._foreach_div(squares, [1 - second**step for step in steps])
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, 1e-8)
        torch._foreach_addcdiv_(parameters, directions, scales, value=1.0 if group["capturable"] else -group["lr"])


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _orthogonal(matrices: Tensor) -> Tensor:
    """Orthogonalise matrices (N, A, B) by Newton-Schulz steps: their singular values become 0.7 to 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.float().transpose(1, 2) if tall else matrices.float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    step = _newton_schulz_fused if x.is_cuda else _newton_schulz
    for _ in range(NEWTON_SCHULZ_STEPS):
        x = step(x)
    return x.transpose(1, 2) if tall else x


def _newton_schulz(x: Tensor) -> Tensor:
    """a X + (b G + c G G) X with G = X X^T, for each matrix X of (N, A, B)."""
    a, b, c = NEWTON_SCHULZ
    gram = x @ x.transpose(1, 2)
    return a * x + (b * gram + c * gram @ gram) @ x


def _newton_schulz_fused(x: Tensor) -> Tensor:
    """`_newton_schulz` in three kernels instead of eight; rounds otherwise, so CPUs keep the bits of earlier runs."""
    a, b, c = NEWTON_SCHULZ
    gram = x @ x.transpose(1, 2)
    return torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)


def build_optimizer(parameters: Parameters, lr: float, settings: OptimizerSettings) -> Optimizer:
    """The optimiser that the settings name.

    Args:
        parameters: to optimise.
        lr: the highest learning rate.
        settings: of `OPTIMIZERS.parse`.

    Raises:
        UserError: the optimiser refuses a setting or fails, or the plug-in returns something else than an optimiser, or
            one whose ``step`` takes no ``closure``.
    """
    try:
        optimizer: Any = OPTIMIZERS[settings.name](parameters, lr=lr, **OPTIMIZERS.arguments(settings))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"optimizer={settings.name}: {error}") from error
    except Exception as error:  # of a plug-in's code
        raise UserError(f"optimizer={settings.name}: {type(error).__name__}: {error}") from error
    if not isinstance(optimizer, Optimizer):
        raise UserError(
            f"optimizer={settings.name}: the plug-in returned {type(optimizer).__name__}; it must return a "
            "torch.optim.Optimizer"
        )
    try:
        inspect.signature(optimizer.step).bind(closure=None)
    except TypeError as error:
        raise UserError(
            f"optimizer={settings.name}: {type(optimizer).__name__}.step has no argument closure; write "
            "step(self, closure=None), and call closure(), which computes the gradients, before the weights change"
        ) from error
    return optimizer


@SCHEDULES.register("constant")
def constant(fraction: float) -> float:
    """Always 1."""
    return 1.0


@SCHEDULES.register("onecycle")
def onecycle(fraction: float, warmup: FractionBelowOne, start: Fraction, end: Fraction) -> float:
    """Linear from ``start`` to 1 over the first ``warmup`` of the training, then a cosine to ``end``.

    >>> onecycle(0.05, warmup=0.1, start=0.0, end=0.0)
    0.5
    """
    if fraction < warmup:
        return start + (1 - start) * fraction / warmup
    return cosine((fraction - warmup) / (1 - warmup), end)


@SCHEDULES.register("cosine")
def cosine(fraction: float, end: Fraction) -> float:
    """From 1 along half a cosine to ``end``.

    >>> round(cosine(0.5, end=0.2), 6)
    0.6
    """
    return end + (1 - end) * (1 + math.cos(math.pi * min(fraction, 1.0))) / 2


def build_scheduler(optimizer: Optimizer, steps: float, settings: ScheduleSettings) -> LambdaLR:
    """A schedule over ``steps`` optimiser steps, to be advanced after each of them.

    Args:
        optimizer: whose learning rate is scheduled.
        steps: optimiser steps of the whole training; infinity: not known.
        settings: of `SCHEDULES.parse`.

    Raises:
        UserError: the schedule fails, or a factor is not a finite number of at least 0. It is tried at
            `TRIED_FRACTIONS` here, and checked in every step.
    """
    schedule = SCHEDULES.partial(settings)
    for fraction in TRIED_FRACTIONS:
        _factor(schedule, settings.name, fraction)
    return LambdaLR(optimizer, lambda step: _factor(schedule, settings.name, step / max(steps, 1)))


def _factor(schedule: Callable[[float], Any], name: str, fraction: float) -> float:
    """The factor of the learning rate at a fraction of the training."""
    where = f"scheduler={name}: at the fraction {fraction:g} of the training"
    try:
        factor = schedule(fraction)
    except Exception as error:  # perhaps another package's code
        raise UserError(f"{where}: {type(error).__name__}: {error}") from error
    if isinstance(factor, (Tensor, np.ndarray)) and math.prod(factor.shape) == 1:
        factor = factor.item()
    if isinstance(factor, bool) or not isinstance(factor, Real):
        raise UserError(f"{where}: returned {type(factor).__name__}; a schedule returns the factor on lr, a number")
    number = float(factor)
    if not (math.isfinite(number) and number >= 0):
        raise UserError(f"{where}: returned {number}; the factor on lr must be a finite number of at least 0")
    return number
