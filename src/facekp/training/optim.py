"""Optimisers and learning-rate schedules by name: plain settings come in, torch objects go out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from facekp.core.errors import UserError

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients and number of steps as published with Muon

NEWTON_SCHULZ_STEPS = 5


class Muon(Optimizer):
    """Momentum whose step is made orthogonal for every weight matrix; AdamW for vectors (biases, scales).

    A convolution's weight counts as a matrix of its outputs by everything else (K. Jordan et al. 2024, "Muon: an
    optimizer for hidden layers"). Steps have the size of AdamW's at the same rate (Liu et al. 2025, arXiv:2502.16982).
    `torch.optim.Muon` takes matrices only, in bfloat16, which most CPUs lack; here equal shapes are batched.

    Args:
        params: what it moves.
        lr: learning rate, as for AdamW.
        momentum: of the matrices' gradients.
        betas: of AdamW on the vectors.
        weight_decay: decoupled, of all.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float, betas: Iterable[float], weight_decay: float
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum}: must be from 0 to below 1")
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
            for shape, alike in matrices.items():
                towards = _orthogonal(torch.stack([self._momentum(one, group["momentum"]) for one in alike]))
                for one, step in zip(alike, towards, strict=True):
                    one.add_(step.view_as(one), alpha=-group["lr"] * 0.2 * math.sqrt(max(shape)))
        return loss

    def _momentum(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """The gradient, averaged and a step looked ahead (Nesterov), as a matrix."""
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
    """The nearest matrices (N, A, B) of equal singular values, roughly: Newton-Schulz brings them to 0.7 to 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.float().transpose(1, 2) if tall else matrices.float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "muon": Muon}


def build_optimizer(parameters: Iterable[nn.Parameter], lr: float, settings: Mapping[str, Any]) -> Optimizer:
    """The optimiser that ``settings.name`` names.

    Args:
        parameters: what it moves.
        lr: the highest learning rate.
        settings: ``name`` and its keyword values.

    Raises:
        UserError: an unknown name or setting, or a rate that is not positive.
    """
    keywords = {key: value for key, value in settings.items() if key != "name"}
    make = _choose("optimizer", settings["name"], OPTIMIZERS)
    if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not 0 < lr < math.inf:
        raise UserError(f"lr={lr}: the learning rate must be a positive number, e.g. lr=5e-4")
    try:
        return make(parameters, lr=lr, **keywords)
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer={settings['name']}: {error}") from error


def onecycle(share: float, warmup: float, start: float, end: float) -> float:
    """Linear from ``start`` to 1 over the first ``warmup`` of the way, then a cosine to ``end`` (all shares of lr)."""
    if share < warmup:
        return start + (1 - start) * share / warmup
    return cosine((share - warmup) / (1 - warmup), end)


def cosine(share: float, end: float) -> float:
    """From 1 along half a cosine to ``end``."""
    return end + (1 - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


SCHEDULES: dict[str, Callable[..., float]] = {"constant": lambda share: 1.0, "onecycle": onecycle, "cosine": cosine}


def build_scheduler(optimizer: Optimizer, steps: int, settings: Mapping[str, Any]) -> LambdaLR:
    """A schedule over ``steps`` optimiser steps, to be advanced after each one.

    Raises:
        UserError: an unknown name or setting.
    """
    keywords = {key: value for key, value in settings.items() if key != "name"}
    schedule = _choose("scheduler", settings["name"], SCHEDULES)
    try:
        schedule(0.0, **keywords)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"scheduler={settings['name']}: {error}") from error
    return LambdaLR(optimizer, lambda step: schedule(step / max(steps, 1), **keywords))


def _choose(group: str, name: str, registry: Mapping[str, Any]) -> Any:
    if name not in registry:
        raise UserError(f"{group}.name: {name!r} is unknown; choose one of {', '.join(registry)}")
    return registry[name]
