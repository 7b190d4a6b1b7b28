"""Optimisers and learning-rate schedules by name: plain settings come in, torch objects go out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from facekp.errors import UserError

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


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
