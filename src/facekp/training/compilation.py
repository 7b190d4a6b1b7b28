"""Compiles the network of a training by `torch.compile`."""

from __future__ import annotations

from typing import Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn

from facekp.training.settings import CompileMode


def compile_network(network: nn.Module, mode: Literal[True] | CompileMode) -> None:
    """Compile the network's forward and backward pass, in place; its first steps take a minute or more.

    Args:
        network: of the training.
        mode: of `torch.compile`; True: its default.
    """
    torch.compiler.reset()  # networks of earlier trainings in this process; with the ninth torch would compile no more
    network.compile(mode=None if mode is True else mode)


class EagerValidation(Callback):
    """Validates by the network as it is, not compiled.

    The last batches of a validation are smaller than the first, and a compiled network would be compiled again for each
    size, a minute each. A mirrored image passes the network while the first output is still needed; CUDA graphs, which
    write every output to the same memory, would overwrite it.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.compiler.set_stance("force_eager")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.compiler.set_stance("default")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        torch.compiler.set_stance("default")
