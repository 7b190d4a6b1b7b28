"""An optimiser: steps of equal size in the direction of the averaged gradient's sign."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from facekp.core.settings import FractionBelowOne
from facekp.training.optim import OPTIMIZERS


@OPTIMIZERS.register("example_signsgd")
class SignSGD(torch.optim.Optimizer):
    """Signum (Bernstein et al. 2018, arXiv:1802.04434).

    Args:
        params: what is optimised; facekp gives it.
        lr: learning rate; facekp gives it.
        momentum: of the gradient's average.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: FractionBelowOne = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                state = self.state[parameter]
                average = state.setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                parameter.add_(average.sign(), alpha=-group["lr"])
        return loss
