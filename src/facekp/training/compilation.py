"""Compiles the steps of a training by `torch.compile`."""

from __future__ import annotations

from typing import Literal

import torch

from facekp.data.datamodule import FaceData
from facekp.training.estimator import KeypointEstimator
from facekp.training.settings import CompileMode


def compile_steps(estimator: KeypointEstimator, data: FaceData, mode: Literal[True] | CompileMode) -> None:
    """Compile network and losses, forward and backward, and the augmentation of recorded steps.

    The first steps then take a minute or more. Validation stays as it is: its last batches are smaller than the first,
    and each size would be compiled again.

    Args:
        estimator: of the training; changed.
        data: of the training; changed.
        mode: of `torch.compile`; True: its default.
    """
    torch.compiler.reset()  # forget earlier trainings: torch compiles the same code only eight times in a process
    of_torch = None if mode is True else mode
    estimator.mean_losses = torch.compile(estimator.mean_losses, mode=of_torch)
    data.assemble_inputs = torch.compile(data.assemble_inputs, mode=of_torch)  # type: ignore[method-assign]
