"""The LightningModule: ties model, loss, metrics and optimiser together; nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torchmetrics import MeanMetric

from facekp.core.errors import UserError
from facekp.data.datamodule import Batch, FaceData
from facekp.functional.losses import build_loss, labelled_mean
from facekp.functional.metrics import KeypointErrors
from facekp.models.checkpoint import KEY, describe, upgrade_names
from facekp.models.keypoint_model import KeypointModel
from facekp.training.optim import build_optimizer, build_scheduler


class KeypointEstimator(LightningModule):
    """Trains a model on batches of `facekp.data.datamodule`.

    Args:
        model: what is trained.
        loss: ``name`` in `facekp.functional.losses.LOSSES` and its settings.
        lr: highest learning rate.
        optimizer: ``name`` in `facekp.training.optim.OPTIMIZERS` and its settings.
        scheduler: ``name`` in `facekp.training.optim.SCHEDULES` and its settings.
        teacher_weight: how much the loss on a teacher's answers counts beside the one on labels.
        trained_before: hashes of images that trained the weights this training starts from; None: nobody knows.
        config: the resolved config; rides in the checkpoint.
    """

    def __init__(
        self,
        model: KeypointModel,
        loss: Mapping[str, Any],
        lr: float,
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        teacher_weight: float,
        trained_before: np.ndarray | None,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = build_loss(loss)
        self.lr, self.optimizer_settings, self.scheduler_settings = lr, optimizer, scheduler
        self.teacher_weight = teacher_weight
        self.trained_before, self.config = trained_before, config
        self.errors = KeypointErrors(model.keypoints)
        build_scheduler(build_optimizer(model.parameters(), lr, optimizer), 1, scheduler)  # mistakes show at once
        self.val_loss = MeanMetric()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        answers = self.model(batch["image"])
        loss, mask = self._cost(answers, self.model.spread(batch["points"], batch["source"]))
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(mask))
        loss = loss * self._share(mask)
        if "taught" in batch:
            lesson, mask = self._cost(answers, self.model.spread_all(batch["taught"]))
            loss = loss + self.teacher_weight * lesson * self._share(mask)
        return loss

    def _cost(self, answers: list[Tensor], spread: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of every stack's maps beside labels by channel (N, C, 2), and which are labelled, bool (N, C)."""
        target, cells = self.model.target(spread)
        mask = ~cells[..., 0].isnan()
        return torch.stack([labelled_mean(self.loss(raw.float(), target, cells), mask) for raw in answers]).mean(), mask

    def _share(self, mask: Tensor) -> Tensor | float:
        """Weight of this process's loss, so that the mean over processes is divided by all that is labelled."""
        if self.trainer.world_size == 1:
            return 1.0
        mean = self.trainer.strategy.reduce(mask.sum().float(), reduce_op="mean")
        return mask.sum() / mean.clamp_min(1)

    def on_train_epoch_end(self) -> None:
        loss = self.trainer.callback_metrics["train/loss"]
        if not loss.isfinite():
            raise UserError(
                f"training broke down: the loss is {loss:g} in epoch {self.current_epoch}; lower lr={self.lr}"
            )

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Points (N, K, 2) and confidence (N, K), for whoever wants to keep them."""
        raw = self.model(batch["image"])[-1]
        loss, mask = self._cost([raw], self.model.spread(batch["points"], batch["source"]))
        self.val_loss.update(loss, weight=mask.sum())
        points, confidence = self.model.decode(self.model.heatmaps(batch["image"], raw), batch["source"])
        self.errors.update(points, batch["points"], batch["source"])
        return {"points": points, "confidence": confidence}

    def on_validation_epoch_end(self) -> None:
        found = {name: value for name, value in self.errors.compute().items() if name.startswith(("rmse", "nme"))}
        figures = {f"val/{name}": value for name, value in found.items() if not value.isnan()}
        self.log_dict({"val/loss": self.val_loss.compute(), **figures})
        self.errors.reset()
        self.val_loss.reset()

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model.parameters(), self.lr, self.optimizer_settings)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = build_scheduler(optimizer, steps, self.scheduler_settings)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, FaceData)
        before = self.trained_before
        trained_on = None if before is None else np.concatenate((data.train_hashes, before))
        checkpoint[KEY] = describe(self.model, trained_on, self.config)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        upgrade_names(checkpoint)
