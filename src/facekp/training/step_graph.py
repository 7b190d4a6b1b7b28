"""A whole training step as a CUDA graph: its kernels are recorded once, and then started by one call.

A step of a small network is about a thousand short kernels. Starting them one by one takes the CPU longer than the GPU
needs to run them. The graph holds everything from the inputs of a batch (row numbers and random numbers) to the new
weights: it collects and augments images and labels, and makes forward pass, loss, backward pass and optimiser step. The
random numbers, the learning rate and the logging remain on the CPU.

A graph runs on the memory that it was recorded with. Inputs are therefore copied to where it reads them, and the
learning rate is a number on the GPU. All batches of a training have the same size (`facekp.data.datamodule`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import (
    BaseFinetuning,
    GradientAccumulationScheduler,
    ModelPruning,
    StochasticWeightAveraging,
)
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from facekp.core.errors import UserError, first_line
from facekp.data.datamodule import Batch
from facekp.functional.losses import LOSSES
from facekp.training.settings import TrainerSettings, TrainSettings

log = logging.getLogger(__name__)

WARM_UP = 3  # steps before one is recorded: libraries set themselves up, and the network is compiled

NO_GPU = "needs an NVIDIA GPU"
HOOKS_INSIDE_STEPS = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
CHANGE_STEPS = (BaseFinetuning, GradientAccumulationScheduler, ModelPruning, StochasticWeightAveraging)

Losses = tuple[Tensor, Tensor]
Step = Callable[[Batch], Losses]


class Graphable(Protocol):
    """What a `StepGraph` needs to know of a training."""

    @property
    def device(self) -> torch.device: ...

    def losses(self, batch: Batch) -> Losses:
        """The loss to minimise and the loss on labels."""


def check_cuda_graph(settings: TrainerSettings) -> None:
    """Refuse ``trainer.cuda_graph=true`` where steps can't be recorded.

    Raises:
        UserError: ``trainer.cuda_graph=true``, but steps can't be recorded with these settings.
    """
    if settings.cuda_graph is True:
        _refuse(_problem_of_settings(settings))


def records_steps(
    settings: TrainSettings, network: nn.Module, optimizer: Optimizer, callbacks: Sequence[Callback]
) -> bool:
    """Whether the steps of a training are recorded.

    ``auto`` records where nothing speaks against it, and no step of a plug-in's network or loss: these may decide by
    numbers on the GPU, or count on the CPU, which a graph would repeat unchanged.

    Args:
        settings: of the training.
        network: the network that is trained.
        optimizer: as that of the training; its parameters may still lie on the CPU.
        callbacks: callbacks of the Trainer; some can't run inside a recorded step.

    Raises:
        UserError: ``trainer.cuda_graph=true``, but they can't be.
    """
    if not (setting := settings.trainer.cuda_graph):
        return False
    problem = _problem_of_settings(settings.trainer) or _problem_of_parts(optimizer, callbacks)
    if setting is True:
        _refuse(problem)
        return True
    if not problem and not _is_known(network, settings.loss.name):
        problem = "the network or the loss is of a plug-in or of transformers; true records its steps too"
    if problem not in ("", NO_GPU):
        log.info("trainer.cuda_graph=auto: steps are not recorded: %s", problem)
    return not problem


def _refuse(problem: str) -> None:
    if problem:
        raise UserError(f"trainer.cuda_graph=true: {problem}; set trainer.cuda_graph=auto or false")


def _problem_of_settings(settings: TrainerSettings) -> str:
    """Why no steps can be recorded; empty where they can be."""
    if settings.accelerator == "cpu" or not torch.cuda.is_available():
        return NO_GPU
    if settings.is_distributed:
        return "needs one process, trainer.devices=1"
    if settings.accumulate_grad_batches > 1:
        return "needs trainer.accumulate_grad_batches=1"
    if settings.precision == "16-mixed":
        return "needs trainer.precision=bf16-mixed or 32-true, as the CPU decides which steps of 16-mixed count"
    if isinstance(settings.compile, str):
        return f"trainer.compile={settings.compile} records graphs of its own; use trainer.compile=true or false"
    return ""


def _problem_of_parts(optimizer: Optimizer, callbacks: Sequence[Callback]) -> str:
    """Why steps with this optimiser and these callbacks can't be recorded; empty where they can be."""
    if not (isinstance(optimizer, SGD) or all("capturable" in group for group in optimizer.param_groups)):
        return f"optimizer {type(optimizer).__name__} does not support CUDA graphs (its groups have no `capturable`)"
    for callback in callbacks:
        hooks = [hook for hook in HOOKS_INSIDE_STEPS if is_overridden(hook, callback, Callback)]
        if hooks or isinstance(callback, CHANGE_STEPS):
            reason = f"has {hooks[0]}, which lies inside the step" if hooks else "changes the step"
            return f"callback {type(callback).__name__} {reason}"
    return ""


def _is_known(network: nn.Module, loss: str) -> bool:
    """Whether all parts of the network are facekp's or torch's, and the loss is facekp's."""
    of_network = (type(module).__module__.startswith(("facekp.", "torch.")) for module in network.modules())
    return LOSSES[loss].__module__.startswith("facekp.") and all(of_network)


def make_capturable(optimizer: Optimizer) -> None:
    """Let a CUDA graph hold the optimiser's steps: all its numbers that change lie on the GPU."""
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True
        else:
            group["fused"] = True  # SGD, which otherwise reads its learning rate back


class StepGraph:
    """Runs training steps as CUDA graphs. The first `WARM_UP` steps run as usual.

    Args:
        model: gives the losses of a batch, inside its own precision.
        assemble: makes the batch of inputs (`facekp.data.datamodule.FaceData.assemble_inputs`).
        optimizer: after `make_capturable`. Of its settings only the learning rate may change.
        clip: limits the gradients in place; None: no limit.
    """

    def __init__(
        self,
        model: Graphable,
        assemble: Callable[[Batch], Batch],
        optimizer: Optimizer,
        clip: Callable[[], Any] | None = None,
    ) -> None:
        self.model, self.assemble, self.optimizer, self.clip = model, assemble, optimizer, clip
        self.rates = [torch.zeros((), device=model.device) for _ in optimizer.param_groups]
        self.steps = 0
        self.inputs: Batch = {}  # that the recorded step reads
        self.replay: Callable[[], Losses] | None = None

    def __call__(self, inputs: Batch) -> Losses:
        """Make one training step.

        Args:
            inputs: of `facekp.data.datamodule.FaceData.inputs`.

        Returns:
            the loss that was minimised and the loss on labels; the next step may overwrite both.

        Raises:
            UserError: the step can't be recorded, because it reads a number back from the GPU, for example.
        """
        for rate, group in zip(self.rates, self.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        self.steps += 1
        if self.steps <= WARM_UP:
            return self._step(inputs)
        if self.replay is None:
            self.inputs = {name: tensor.clone() for name, tensor in inputs.items()}
            self.replay = record_cuda_graph(self._step, self.inputs)
        torch._foreach_copy_(list(self.inputs.values()), list(inputs.values()))
        return self.replay()

    def _step(self, inputs: Batch) -> Losses:
        self.optimizer.zero_grad(set_to_none=True)
        with self._full_precision():
            batch = self.assemble(inputs)
        loss, on_labels = self.model.losses(batch)
        with self._full_precision():
            loss.backward()
            if self.clip is not None:
                self.clip()
            with self._rates_on_device():
                self.optimizer.step()
        return loss.detach(), on_labels.detach()

    def _full_precision(self) -> torch.autocast:
        """Where Lightning's mixed precision does not hold: it is meant for the losses alone."""
        return torch.autocast(self.model.device.type, enabled=False)

    @contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """Learning rates that a graph reads again in every replay; numbers elsewhere, for schedules and checkpoints."""
        groups = self.optimizer.param_groups
        numbers = [group["lr"] for group in groups]
        _set_rates(groups, self.rates)
        try:
            yield
        finally:
            _set_rates(groups, numbers)


def _set_rates(groups: Sequence[dict[str, Any]], rates: Sequence[Any]) -> None:
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate


def record_cuda_graph(step: Step, inputs: Batch) -> Callable[[], Losses]:
    """Record a step as a CUDA graph.

    Args:
        step: that reads the inputs; recording it has no effect on weights and other tensors.
        inputs: that every replay reads again.

    Returns:
        what replays the step, and returns its outputs.

    Raises:
        UserError: the step can't be recorded, because it reads a number back from the GPU, for example.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        with (
            torch.cuda.stream(torch.cuda.current_stream()),  # after an error torch does not return to this stream
            torch.cuda.graph(graph, capture_error_mode="thread_local"),  # threads of loggers may use the GPU
        ):
            outputs = step(inputs)
    except RuntimeError as error:
        cause = error.__context__ or error  # the end of a failed recording fails too
        raise UserError(
            f"trainer.cuda_graph: a step can't be recorded ({first_line(cause)}); set trainer.cuda_graph=false"
        ) from error

    def replay() -> Losses:
        graph.replay()
        return outputs

    return replay
