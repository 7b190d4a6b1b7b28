"""The LightningModule: ties detector, loss, metrics and optimiser together; nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torchmetrics import MeanMetric

from facekp.checkpoint import KEY, describe
from facekp.data.datamodule import Batch, FaceData
from facekp.detector import Detector
from facekp.loss import build_loss
from facekp.metrics import KeypointErrors
from facekp.optim import build_optimizer, build_scheduler


class KeypointEstimator(LightningModule):
    """Trains a detector on batches of `facekp.data.datamodule`.

    Args:
        detector: what is trained.
        loss: name in `facekp.loss.LOSSES`.
        lr: highest learning rate.
        optimizer: ``name`` in `facekp.optim.OPTIMIZERS` and its settings.
        scheduler: ``name`` in `facekp.optim.SCHEDULES` and its settings.
        mean_face: (S, K, 2) of the rows outside validation; rides in the checkpoint.
        trained_before: hashes of images that trained the weights this training starts from; None: nobody knows.
        config: the resolved config; rides in the checkpoint.
    """

    def __init__(
        self,
        detector: Detector,
        loss: str,
        lr: float,
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        mean_face: np.ndarray,
        trained_before: np.ndarray | None,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        self.detector = detector
        self.loss = build_loss(loss)
        self.lr, self.optimizer_settings, self.scheduler_settings = lr, optimizer, scheduler
        self.mean_face, self.trained_before, self.config = mean_face, trained_before, config
        self.errors = KeypointErrors(detector.keypoints)
        self.val_loss = MeanMetric()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        target, mask = self._target(batch)
        loss = torch.stack([self.loss(raw, target, mask) for raw in self.detector(batch["image"])]).mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(mask))
        return loss

    def _target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Heatmaps (N, C, h, w) of the labels and which of them are labelled (N, C)."""
        points = self.detector.spread(batch["points"], batch["source"])
        return self.detector.codec.encode(points), ~points[..., 0].isnan()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        raw = self.detector(batch["image"])[-1]
        target, mask = self._target(batch)
        self.val_loss.update(self.loss(raw.float(), target, mask), weight=mask.sum())
        heatmaps = self.detector.heatmaps(batch["image"], raw)
        points, _ = self.detector.decode(heatmaps, batch["source"])
        self.errors.update(self.fill(points, batch["source"]), batch["points"], batch["source"])

    def fill(self, points: Tensor, source: Tensor) -> Tensor:
        """The mean face where a map was empty, as in every answer that leaves facekp."""
        return points.where(~points.isnan(), torch.from_numpy(self.mean_face).to(points)[source])

    def on_validation_epoch_end(self) -> None:
        found = {name: value for name, value in self.errors.compute().items() if name.startswith(("rmse", "nme"))}
        figures = {f"val/{name}": value for name, value in found.items() if not value.isnan()}
        self.log_dict({"val/loss": self.val_loss.compute(), **figures})
        self.errors.reset()
        self.val_loss.reset()

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.detector.parameters(), self.lr, self.optimizer_settings)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = build_scheduler(optimizer, steps, self.scheduler_settings)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, FaceData)
        before = self.trained_before
        trained_on = None if before is None else np.concatenate((data.train_hashes, before))
        checkpoint[KEY] = describe(self.detector, trained_on, self.mean_face, self.config)
