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

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from facekp.core.errors import UserError
from facekp.core.registry import Registry
from facekp.core.settings import Fraction, FractionBelowOne, NonNegative, Settings

Parameters = Iterable[nn.Parameter]
Betas = Annotated[list[FractionBelowOne], Field(min_length=2, max_length=2)]

# Coefficients and number of steps as published with Muon.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


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
def sgd(params: Parameters, lr: float, momentum: FractionBelowOne, weight_decay: NonNegative) -> SGD:
    """Stochastic gradient descent with momentum."""
    return SGD(params, lr=lr, momentum=momentum, weight_decay=weight_decay)


@OPTIMIZERS.register("adam")
def adam(params: Parameters, lr: float, betas: Betas, weight_decay: NonNegative) -> Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980)."""
    return Adam(params, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay)


@OPTIMIZERS.register("adamw")
def adamw(params: Parameters, lr: float, betas: Betas, weight_decay: NonNegative) -> AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""
    return AdamW(params, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay)


@OPTIMIZERS.register("muon")
class Muon(Optimizer):
    """Orthogonalised momentum for weight matrices; AdamW for vectors (biases, scales).

    The weight of a convolution is treated as a matrix: outputs by everything else (K. Jordan et al. 2024, "Muon: an
    optimizer for hidden layers"). Steps have the size of AdamW's at the same rate (Liu et al. 2025, arXiv:2502.16982).
    `torch.optim.Muon` accepts matrices only and computes in bfloat16, which is slow on most CPUs. This version
    computes in float32 and batches matrices of equal shape.

    Args:
        params: the parameters to optimise.
        lr: learning rate, as for AdamW.
        momentum: of the gradients of matrices.
        betas: of AdamW, for vectors.
        weight_decay: decoupled, for all parameters.
    """

    def __init__(
        self, params: Parameters, lr: float, momentum: FractionBelowOne, betas: Betas, weight_decay: NonNegative
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "betas": tuple(betas), "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            matrices = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                if parameter.ndim < 2:
                    self._adam_step(parameter, group)
                else:
                    matrices[parameter.flatten(1).shape].append(parameter)
            for shape, parameters in matrices.items():
                momentum = torch.stack([self._momentum(parameter, group["momentum"]) for parameter in parameters])
                for parameter, step in zip(parameters, _orthogonal(momentum), strict=True):
                    parameter.add_(step.view_as(parameter), alpha=-group["lr"] * 0.2 * math.sqrt(max(shape)))
        return loss

    def _momentum(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """The Nesterov momentum of a parameter's gradient, as a matrix (A, B)."""
        state = self.state[parameter]
        if not state:
            state["average"] = torch.zeros_like(parameter)
        assert parameter.grad is not None
        state["average"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["average"], momentum).flatten(1)

    def _adam_step(self, parameter: nn.Parameter, group: Mapping[str, Any]) -> None:
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            state |= {"step": 0, "average": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
        assert parameter.grad is not None
        state["step"] += 1
        state["average"].lerp_(parameter.grad, 1 - first)
        state["square"].lerp_(parameter.grad.square(), 1 - second)
        average = state["average"] / (1 - first ** state["step"])
        square = state["square"] / (1 - second ** state["step"])
        parameter.addcdiv_(average, square.sqrt() + 1e-8, value=-group["lr"])


def _orthogonal(matrices: Tensor) -> Tensor:
    """Orthogonalise matrices (N, A, B) by Newton-Schulz steps: their singular values become 0.7 to 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.float().transpose(1, 2) if tall else matrices.float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


def build_optimizer(parameters: Parameters, lr: float, settings: OptimizerSettings) -> Optimizer:
    """The optimiser that the settings name.

    Args:
        parameters: to optimise.
        lr: the highest learning rate.
        settings: of `OPTIMIZERS.parse`.

    Raises:
        UserError: the optimiser refuses a setting.
    """
    try:
        return OPTIMIZERS[settings.name](parameters, lr=lr, **OPTIMIZERS.arguments(settings))
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer={settings.name}: {error}") from error


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


def build_scheduler(optimizer: Optimizer, steps: int, settings: ScheduleSettings) -> LambdaLR:
    """A schedule over ``steps`` optimiser steps, to be advanced after each of them.

    Args:
        optimizer: whose learning rate is scheduled.
        steps: of the whole training.
        settings: of `SCHEDULES.parse`.

    Raises:
        UserError: the schedule refuses a setting.
    """
    factor = SCHEDULES.partial(settings)
    try:
        factor(0.0)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"scheduler={settings.name}: {error}") from error
    return LambdaLR(optimizer, lambda step: factor(step / max(steps, 1)))
