"""The LightningModule: joins model, loss, metrics and optimiser."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import SumMetric

from facekp.core.errors import UserError
from facekp.data.datamodule import Batch, FaceData
from facekp.functional.finite import first_not_finite
from facekp.functional.losses import LossSettings, build_loss, labelled_mean
from facekp.functional.pooled_errors import KeypointErrors
from facekp.models.checkpoint import KEY, RESUMED_STATE, describe, upgrade_names
from facekp.models.keypoint_model import KeypointModel
from facekp.networks.base import check_output
from facekp.training.optim import OptimizerSettings, Parameters, ScheduleSettings, build_optimizer, build_scheduler
from facekp.training.step_graph import StepGraph, make_capturable


class KeypointEstimator(LightningModule):
    """Trains a model on batches of `facekp.data.datamodule`.

    Axes: N images, C heatmap channels, K points.

    Args:
        model: the model to train.
        loss: compares heatmaps with labels.
        lr: highest learning rate.
        optimizer: name and settings of the optimiser.
        scheduler: name and settings of the learning-rate schedule.
        teacher_weight: weight of the loss on a teacher's predictions; the loss on labels has weight 1.
        trained_before: hashes of the images that the initial weights were trained on; None: unknown.
        labels_before: int64 (S, K), labels that the initial weights were trained on, as in
            `facekp.models.checkpoint.LoadedCheckpoint`; None: unknown.
        config: the resolved config as plain values; saved in the checkpoint.

    Attributes:
        mean_losses: network and losses of a training step, which may be compiled (`facekp.training.compilation`).
        cuda_graph: whether training steps are recorded (`facekp.training.step_graph`).
        loss_sum: sum of the losses on labels over the `batches` of the epoch so far.
        batches: number of training batches in it.
        infinite_maps: number of batches of the validation whose heatmaps are not finite.

    Raises:
        UserError: the optimiser or the schedule refuses a setting, or the network of a plug-in has a wrong output.
    """

    def __init__(
        self,
        model: KeypointModel,
        loss: LossSettings,
        lr: float,
        optimizer: OptimizerSettings,
        scheduler: ScheduleSettings,
        teacher_weight: float,
        trained_before: np.ndarray | None,
        labels_before: np.ndarray | None,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        network = model.settings.network.name
        check_output(model.network, network, len(model.mirrored_channels), model.image_channels, model.size)
        self.model = model
        self.loss = build_loss(loss)
        self.lr, self.optimizer_settings, self.scheduler_settings = lr, optimizer, scheduler
        self.teacher_weight = teacher_weight
        self.trained_before, self.labels_before, self.config = trained_before, labels_before, config
        self.errors = KeypointErrors(model.keypoints)
        build_scheduler(self.new_optimizer(), 1, scheduler)  # bad settings fail here
        # A search for NaN would wait for a GPU in every batch. MeanMetric ignores weights where it does not search.
        self.val_loss, self.val_maps = SumMetric(nan_strategy="disable"), SumMetric(nan_strategy="disable")
        self.mean_losses = self._mean_losses
        self.cuda_graph = False
        self.step_graph: StepGraph | None = None  # while it trains
        self.loss_sum, self.batches = torch.tensor(0.0), 0
        self.infinite_maps = torch.tensor(0.0)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch. With `cuda_graph`, it takes the batch's inputs and makes the whole step."""
        loss, on_labels = self.losses(batch) if self.step_graph is None else self.step_graph(batch)
        self.loss_sum, self.batches = self.loss_sum + on_labels.detach(), self.batches + 1
        return loss

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss to minimise, and its part on labels, without the teacher's.

        Both are weighted so that every labelled map of an optimiser step counts the same.
        """
        step = self._step_labels(batch)
        (loss, mask), *of_teacher = self.mean_losses(batch)
        on_labels = total = loss * self._weight(mask, step.get("points"))
        for taught, mask in of_teacher:
            total = total + self.teacher_weight * taught * self._weight(mask, step.get("teacher_points"))
        return total, on_labels

    def _mean_losses(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """What `_loss` gives for the labels of a batch, and for its teacher's points if it has them."""
        raw = self.model(batch["image"])  # one (N, C, h, w) per stack
        labels = [self.model.labels_by_channel(batch["points"], batch["source"])]
        if "teacher_points" in batch:
            labels.append(self.model.all_labels_by_channel(batch["teacher_points"]))
        return [self._loss(raw, each) for each in labels]

    def _loss(self, raw: list[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss over all stacks, given labels by channel (N, C, 2), and the mask of labelled maps, bool (N, C)."""
        target, cells = self.model.target(labels)
        mask = ~cells[..., 0].isnan()
        with torch.autocast(labels.device.type, enabled=False):  # mixed precision is meant for the network alone
            losses = [labelled_mean(self.loss(maps.float(), target, cells), mask) for maps in raw]
        return torch.stack(losses).mean(), mask

    def _step_labels(self, batch: Batch) -> dict[str, Tensor]:
        """Labels by channel (M, C, 2) of all M images of the optimiser step; empty where the step is one batch."""
        if "step_points" not in batch:
            return {}
        labels = {"points": self.model.labels_by_channel(batch["step_points"], batch["step_source"])}
        if "step_teacher_points" in batch:
            labels["teacher_points"] = self.model.all_labels_by_channel(batch["step_teacher_points"])
        return labels

    def _weight(self, mask: Tensor, step_labels: Tensor | None) -> Tensor | float:
        """Factor of a batch's mean loss.

        Lightning averages gradients over the batches of a step and over processes. With this factor the result is the
        sum over all labelled maps of the step, divided by their number.

        Args:
            mask: bool (N, C), the labelled maps of this batch.
            step_labels: (M, C, 2), labels by channel of the whole step; None: the step is one batch per process.
        """
        processes = self.trainer.world_size
        if step_labels is not None:
            labelled = (~step_labels[..., 0].isnan()).sum()
            return mask.sum() * self.trainer.accumulate_grad_batches * processes / labelled.clamp_min(1)
        if processes == 1:
            return 1.0
        mean = self.trainer.strategy.reduce(mask.sum().float(), reduce_op="mean")
        return mask.sum() / mean.clamp_min(1)

    def on_train_epoch_start(self) -> None:
        self.loss_sum, self.batches = torch.zeros((), device=self.device), 0

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        trainer = self.trainer
        ends_early = trainer.should_stop and trainer.current_epoch >= (trainer.min_epochs or 0)
        ends_early |= trainer.global_step == trainer.max_steps
        if trainer.is_last_batch or ends_early:  # once an epoch, as `log` takes half a millisecond
            mean = self.loss_sum / self.batches
            self.log("train/loss", mean, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def on_train_epoch_end(self) -> None:
        loss = self.trainer.callback_metrics.get("train/loss", self.loss_sum)  # a Trainer may log nothing (barebones)
        if not loss.isfinite():
            self._refuse_divergence(f"the loss is {loss:g}")
        if (name := first_not_finite(self.model.state_dict())) is not None:
            self._refuse_divergence(f"the weights {name} are not finite")

    def _refuse_divergence(self, what: str) -> None:
        raise UserError(f"training diverged: {what} in epoch {self.current_epoch + 1}; lower lr={self.lr}")

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Predicted points (N, K, 2) in pixels and their confidence (N, K), for callbacks."""
        raw = self.model(batch["image"])[-1]
        self.infinite_maps += (~raw.isfinite()).any().float()
        loss, mask = self._loss([raw], self.model.labels_by_channel(batch["points"], batch["source"]))
        self.val_loss.update(loss * mask.sum())
        self.val_maps.update(mask.sum())
        prediction = self.model.decode(self.model.heatmaps(batch["image"], raw), batch["source"])
        self.errors.update(prediction.points, batch["points"], batch["source"])
        return {"points": prediction.points, "confidence": prediction.confidence}

    def on_validation_epoch_start(self) -> None:
        self.infinite_maps = torch.zeros((), device=self.device)

    def on_validation_epoch_end(self) -> None:
        if self.trainer.strategy.reduce(self.infinite_maps, reduce_op="sum") > 0:  # the mean face would hide it
            self._refuse_divergence("the network's heatmaps are not finite")
        found = {name: value for name, value in self.errors.compute().items() if name.startswith(("rmse", "nme"))}
        loss = self.val_loss.compute() / self.val_maps.compute()
        metrics = {"val/loss": loss, **{f"val/{name}": value for name, value in found.items()}}
        self.log_dict({name: value for name, value in metrics.items() if not value.isnan()})  # NaN: no label
        self.errors.reset()
        self.val_loss.reset()
        self.val_maps.reset()

    def setup(self, stage: str) -> None:
        precision = str(self.trainer.precision)
        if precision.endswith("-true") and precision != "32-true":
            raise UserError(f"Trainer(precision={precision!r}): weights stay in float32; use 32-true or bf16-mixed")
        if stage == "fit" and self.trainer.checkpoint_callbacks:
            self._face_data()  # refused here, not at the first checkpoint

    def on_train_start(self) -> None:
        if self.cuda_graph:
            data, optimizer = self.trainer.datamodule, self.trainer.optimizers[0]  # type: ignore[attr-defined]
            make_capturable(optimizer)
            clip = self._clip if self.trainer.gradient_clip_val else None
            self.step_graph = StepGraph(self, data.assemble_inputs, optimizer, clip)

    def on_train_end(self) -> None:
        self.step_graph = None

    def _clip(self) -> None:
        """Limit the gradients by norm or value, as Lightning does."""
        limit, parameters = self.trainer.gradient_clip_val, list(self.model.parameters())
        assert limit is not None
        if self.trainer.gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, limit)
        else:
            torch.nn.utils.clip_grad_norm_(parameters, limit)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        if self.step_graph is None:  # otherwise part of the step
            super().backward(loss, *args, **kwargs)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        if self.step_graph is None:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        else:
            optimizer_closure()  # the whole step

    def configure_optimizers(self) -> Any:
        lightning_clips = self.trainer.gradient_clip_val and not self.cuda_graph
        if lightning_clips and getattr(self.optimizer_settings, "fused", True) is None:
            # In mixed precision Lightning refuses to clip the gradients of a fused optimiser.
            self.optimizer_settings = self.optimizer_settings.replaced(fused=False)
        optimizer = self.new_optimizer()
        steps = self.trainer.estimated_stepping_batches
        if steps == math.inf and self.scheduler_settings.name != "constant":
            raise UserError(
                f"scheduler={self.scheduler_settings.name}: spans the whole training, whose length is unknown; give "
                "the Trainer max_epochs or max_steps"
            )
        schedule = build_scheduler(optimizer, steps, self.scheduler_settings)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def new_optimizer(self) -> Optimizer:
        """The optimiser that the settings name, before its first step."""
        return build_optimizer(self._parameters_by_rate(), self.lr, self.optimizer_settings)

    def _parameters_by_rate(self) -> Parameters:
        """What the optimiser trains: all parameters, those with another learning rate in groups of their own."""
        groups = [(list(parameters), factor) for parameters, factor in self.model.network.parameter_groups()]
        if not groups:
            return self.model.parameters()
        grouped = {id(parameter) for parameters, _ in groups for parameter in parameters}
        others = [parameter for parameter in self.model.parameters() if id(parameter) not in grouped]
        by_rate: list[dict[str, Any]] = [{"params": others}]
        return by_rate + [{"params": parameters, "lr": factor * self.lr} for parameters, factor in groups]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add facekp's entry; Lightning calls it last, with all that is saved.

        Raises:
            UserError: weights, averaged weights or the optimiser's state are not finite, or the data are no `FaceData`.
        """
        if (name := first_not_finite({part: checkpoint.get(part) for part in RESUMED_STATE})) is not None:
            self._refuse_divergence(f"{name} is not finite")
        data, before = self._face_data(), self.trained_before
        trained_on = None if before is None else np.concatenate((data.train_hashes, before))
        checkpoint[KEY] = describe(self.model, trained_on, self.config, self.trained_labels(data))

    def _face_data(self) -> FaceData:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, FaceData):
            raise UserError(
                "a checkpoint states its training images, which only a FaceData lists; call Trainer.fit(estimator, "
                "datamodule=FaceData(...)), or set Trainer(enable_checkpointing=False)"
            )
        return data

    def trained_labels(self, data: FaceData) -> np.ndarray | None:
        """int64 (S, K), labels of this training and those before, as in `facekp.models.checkpoint.LoadedCheckpoint`."""
        if self.labels_before is None:
            return None
        # Not the sum: a resumed run's labels are among those before.
        return np.maximum(self.model.labels_by_heatmap(data.train_labels), self.labels_before)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        upgrade_names(checkpoint)
        groups = self.new_optimizer().param_groups
        for state in checkpoint.get("optimizer_states", ()):
            for saved, group in zip(state["param_groups"], groups, strict=True):
                if "capturable" in group:  # as this training needs it, not the one that saved it
                    saved["capturable"] = self.cuda_graph
