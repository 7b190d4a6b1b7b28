"""All settings of ``facekp.train``: one typed object, and the rules between settings of different groups."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from facekp.config.command import CommandSettings
from facekp.config.references import with_references
from facekp.core.errors import UserError
from facekp.core.keypoints import KeypointsField
from facekp.core.settings import (
    CheckpointPath,
    CheckpointPaths,
    FilePath,
    NewPath,
    NonNegative,
    Positive,
    PositiveCount,
    Settings,
    Text,
    one_of,
)
from facekp.data.augment import Augmentation
from facekp.data.readers.base import READERS, DataSettings
from facekp.data.settings import Subset
from facekp.functional.losses import LOSSES, LossSettings
from facekp.functional.metrics import ScoreSettings, check_normaliser
from facekp.models.settings import DecoderSettings, ModelSettings
from facekp.networks.base import NETWORKS, check_colour
from facekp.runs.folder import FIND
from facekp.training.callback_settings import CallbackSettings
from facekp.training.logger_settings import LoggerSettings
from facekp.training.optim import OPTIMIZERS, SCHEDULES, OptimizerSettings, ScheduleSettings

CompileMode = Literal["reduce-overhead", "max-autotune"]  # of torch.compile; the first one: CUDA graphs

OF_FACEKP = ("compile", "cuda_graph", "channels_last", "fast_cpu")  # settings of ``trainer`` unknown to Lightning
AUTO = "auto"  # trainer.precision=auto: what is fastest on the device
Limit = PositiveCount | Annotated[float, Field(gt=0, le=1)]  # a number of batches, or a fraction of them

STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")
SHARDED = ("fsdp", "deepspeed", "model_parallel", "xla_fsdp")  # beginnings of names of Lightning's other strategies


def _check_strategy(name: str) -> str:
    """Refuse strategies that shard the weights, and unknown ones.

    Raises:
        ValueError: facekp does not train with this strategy.
    """
    if name.startswith(SHARDED):
        raise ValueError(
            "shards the weights, but checkpoints, averaged weights (callbacks.ema) and checks for finite values need "
            "all weights in every process; use ddp"
        )
    if name not in STRATEGIES:
        raise ValueError(one_of(STRATEGIES, name))
    return name


class TeacherSettings(Settings):
    """``teacher``: learn the predictions of trained networks beside the labels.

    Attributes:
        ckpt: one checkpoint or several, whose mean prediction is learnt; None: no teacher.
        weight: of the loss on the teacher's predictions; the loss on labels has weight 1.
        unlabelled: also learn the predictions for the test images.
        drop: leave out training labels that lie farther than this from the prediction, in pixels; None: keep all.
        seen: allow a teacher that was trained on validation rows; the scores then say nothing about new faces.
    """

    ckpt: CheckpointPaths | None
    weight: NonNegative
    unlabelled: bool
    drop: Positive | None
    seen: bool


class TrainerSettings(Settings):
    """``trainer``: options of Lightning's Trainer with their meaning there; the last four are facekp's.

    Attributes:
        accelerator: ``cpu``, ``gpu``, or ``auto``.
        devices: processes on this machine, a list of device indices, or ``auto``.
        num_nodes: machines.
        strategy: how processes work together: ``ddp``, ``ddp_find_unused_parameters_true``, or ``auto``, by the number
            of processes.
        precision: of the network's arithmetic; ``auto``: see `facekp.networks.precision`.
        max_epochs: length of the training; schedules span all of it.
        min_epochs: early stopping waits for as many.
        accumulate_grad_batches: batches per optimiser step.
        check_val_every_n_epoch: epochs between validations.
        limit_train_batches: batches per epoch, as a number or a fraction.
        limit_val_batches: batches per validation, as a number or a fraction.
        fast_dev_run: number of batches of a short trial run (``true``: 1); ``false``: a full training.
        gradient_clip_val: largest norm or value of the gradient.
        gradient_clip_algorithm: what ``gradient_clip_val`` limits.
        deterministic: use deterministic algorithms only; ``warn``: warn where there is none.
        benchmark: let cuDNN choose the fastest algorithms; None: Lightning's choice.
        sync_batchnorm: batch statistics over all processes.
        profiler: print the time of each part of the training at its end.
        log_every_n_steps: optimiser steps between two logged values of loggers that log steps.
        compile: compile training steps by `torch.compile`, not validation; a mode of it, or ``true`` for its default.
        cuda_graph: record whole training steps as CUDA graphs (`facekp.training.step_graph`); ``auto``: where that is
            possible.
        channels_last: store weights channels-last, as convolutions on GPUs prefer.
        fast_cpu: channels-last weights, and memory that stays in the process.
    """

    accelerator: Text
    devices: PositiveCount | list[int] | Literal["auto"]
    num_nodes: PositiveCount
    strategy: Annotated[Text, AfterValidator(_check_strategy)]
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"]
    max_epochs: PositiveCount
    min_epochs: PositiveCount | None
    accumulate_grad_batches: PositiveCount
    check_val_every_n_epoch: PositiveCount
    limit_train_batches: Limit
    limit_val_batches: Limit
    fast_dev_run: bool | PositiveCount
    gradient_clip_val: Positive | None
    gradient_clip_algorithm: Literal["norm", "value"]
    deterministic: bool | Literal["warn"]
    benchmark: bool | None
    sync_batchnorm: bool
    profiler: Literal["simple", "advanced"] | None
    log_every_n_steps: PositiveCount
    compile: bool | CompileMode
    cuda_graph: bool | Literal["auto"]
    channels_last: bool
    fast_cpu: bool

    @property
    def processes(self) -> int | None:
        """The number of processes; None where Lightning finds it out."""
        if self.devices == "auto":
            return None
        return self.num_nodes * (len(self.devices) if isinstance(self.devices, list) else self.devices)

    @property
    def is_distributed(self) -> bool:
        """Whether Lightning may start more processes than this one."""
        return self.processes != 1 or self.strategy != "auto"

    @property
    def is_child_process(self) -> bool:
        """Whether this is another process than the first one of a distributed training.

        A rank alone does not say so: srun gives one to each of several separate trainings.
        """
        ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"))
        return self.is_distributed and next((rank for rank in ranks if rank is not None), "0") != "0"

    def check_whole_steps(self, batches: int) -> None:
        """Refuse an epoch that ends within an optimiser step: the gradient of that step would be too small.

        Args:
            batches: number of batches in an epoch, which ``limit_train_batches`` gives.

        Raises:
            ValueError: the number is not a multiple of ``accumulate_grad_batches``.
        """
        each = self.accumulate_grad_batches
        if rest := batches % each:
            choices = " or ".join(str(number) for number in (batches - rest, batches - rest + each) if number)
            raise ValueError(
                f"trainer.limit_train_batches={self.limit_train_batches}: the last step of an epoch would have {rest} "
                f"of its trainer.accumulate_grad_batches={each} batches, and too small a gradient; choose {choices}"
            )

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `pytorch_lightning.Trainer`."""
        return {name: value for name, value in self if name not in OF_FACEKP}


class TrainSettings(CommandSettings):
    """Settings of one training, as conf/train.yaml composes them.

    Attributes:
        seed: of weights, shuffling and augmentation.
        lr: highest learning rate; ``find``: search for it first.
        subset: training rows: ``full``, ``complete`` for those with every point labelled, or the values of attributes
            that they have (`facekp.data.subsets`).
        init_from: checkpoint to start the weights from.
        resume: folder of a stopped run to continue.
        out: folder of a new run.
    """

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    lr: Positive | Literal["find"]
    subset: Literal["full", "complete"] | Subset
    init_from: CheckpointPath | None
    resume: FilePath | None
    out: NewPath | None
    data: Annotated[DataSettings, READERS.validator]
    keypoints: KeypointsField
    model: ModelSettings
    loss: Annotated[LossSettings, LOSSES.validator]
    optimizer: Annotated[OptimizerSettings, OPTIMIZERS.validator]
    scheduler: Annotated[ScheduleSettings, SCHEDULES.validator]
    augment: Augmentation
    teacher: TeacherSettings
    decoder: DecoderSettings
    trainer: TrainerSettings
    logger: LoggerSettings
    callbacks: CallbackSettings
    metrics: ScoreSettings

    def with_references(self) -> dict[str, Any]:
        """Plain values for files and loggers, with references to the environment as they were given."""
        return with_references(self.plain())

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_batch_size()
        self._check_teacher()
        self._check_loss()
        self._check_channels()
        self._check_metrics()
        self._check_trainer()
        self._check_rate_search()
        return self

    def _check_batch_size(self) -> None:
        processes = self.trainer.processes
        if processes is not None and self.data.batch_size < processes:
            raise ValueError(
                f"data.batch_size={self.data.batch_size}: must be at least the number of processes, {processes}"
            )

    def _check_teacher(self) -> None:
        adds_gaps = self.teacher.unlabelled or self.teacher.drop is not None
        if self.teacher.ckpt is not None and self.subset == "complete" and adds_gaps:
            raise ValueError(
                "subset=complete: trains on completely labelled rows only, but teacher.drop removes labels and "
                "teacher.unlabelled=true adds rows without labels; set teacher.drop=null teacher.unlabelled=false, or "
                "subset=full"
            )
        if self.teacher.ckpt is not None and isinstance(self.subset, dict) and self.teacher.unlabelled:
            raise ValueError(
                "subset: chooses training rows by their attributes, but the rows that teacher.unlabelled=true adds "
                "have none; set teacher.unlabelled=false, or choose rows by data.only"
            )

    def _check_loss(self) -> None:
        name = self.model.network.name
        needed = getattr(NETWORKS[name], "activation", None)  # a network that has none is refused when it is built
        if needed is not None and self.loss.activation != needed:
            raise ValueError(
                f"loss.activation={self.loss.activation}: the network {name} needs a loss with activation {needed}, "
                "such as loss=cross_entropy"
            )

    def _check_channels(self) -> None:
        try:
            check_colour(self.model.network.name, self.data.channels)
        except UserError as error:
            raise ValueError(str(error)) from error
        for transform in self.augment.transforms:
            if problem := transform.problem(self.data.channels):
                raise ValueError(f"augment.transforms: {problem}")

    def _check_metrics(self) -> None:
        try:
            check_normaliser(self.metrics, self.keypoints)
        except UserError as error:
            raise ValueError(str(error)) from error

    def _check_trainer(self) -> None:
        trainer = self.trainer
        if trainer.check_val_every_n_epoch > trainer.max_epochs:
            raise ValueError(
                f"trainer.check_val_every_n_epoch={trainer.check_val_every_n_epoch}: no epoch would be validated; "
                f"choose at most trainer.max_epochs={trainer.max_epochs}"
            )
        # A fraction is checked once the data are read.
        if isinstance(trainer.limit_train_batches, int) and not trainer.fast_dev_run:
            trainer.check_whole_steps(trainer.limit_train_batches)
        if trainer.accelerator == "cpu" and trainer.precision == "16-mixed":
            raise ValueError("trainer.precision=16-mixed: needs a GPU; choose bf16-mixed or 32-true")
        if trainer.accelerator == "cpu" and trainer.sync_batchnorm:
            raise ValueError("trainer.sync_batchnorm=true: needs GPUs; set trainer.sync_batchnorm=false")

    def _check_rate_search(self) -> None:
        if self.lr != FIND:
            return
        if self.trainer.is_distributed:
            raise ValueError("lr=find: searches in one process; run it with trainer.devices=1, then give lr=VALUE")
        if self.trainer.fast_dev_run:
            raise ValueError("lr=find: needs more batches than trainer.fast_dev_run has; give lr=VALUE")
