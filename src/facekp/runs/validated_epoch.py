"""`ValidatedEpoch`: for callbacks that must know whether the current epoch was validated."""

from __future__ import annotations

from pytorch_lightning import Callback, LightningModule, Trainer


class ValidatedEpoch(Callback):
    """Keeps track of whether the current epoch was validated.

    With ``trainer.check_val_every_n_epoch=N`` most epochs are not, and Lightning's ``callback_metrics`` then still hold
    the metrics of the last validation.

    Attributes:
        validated: whether a validation has ended since the epoch began.
    """

    validated = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = True
