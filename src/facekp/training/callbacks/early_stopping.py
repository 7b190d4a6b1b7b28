"""Ends a training whose RMSE no longer falls; also one that is resumed after it had ended so."""

from __future__ import annotations

import logging

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping

from facekp.runs.folder import RunFolder

log = logging.getLogger(__name__)


class PatientStopping(EarlyStopping):
    """Lightning's early stopping by the validation RMSE.

    - Before ``trainer.min_epochs`` it only counts. Lightning's asks for the end then, and the training ends after
      ``min_epochs`` even if the RMSE falls again.
    - A training that was killed after its last epoch is not trained further when it is resumed. A finished run is, as
      more epochs were asked for.
    - A training whose validation rows have no label, and so no RMSE, is never ended.

    Args:
        patience: number of validations without a lower RMSE after which the training ends.
        run: the folder of the run.
    """

    def __init__(self, patience: int, run: RunFolder) -> None:
        self.run = run
        super().__init__("val/rmse", patience=patience, strict=False, check_on_train_epoch_end=False)

    @property
    def state_key(self) -> str:
        """Lightning's, as in checkpoints since 0.1."""
        return super().state_key.replace(type(self).__qualname__, EarlyStopping.__qualname__, 1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        has_stopped = self.wait_count >= self.patience and trainer.current_epoch >= (trainer.min_epochs or 0)
        if has_stopped and not self.run.is_finished():
            log.info(
                "the RMSE did not fall in the last %d validations (callbacks.patience); the training ends",
                self.patience,
            )
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        asked = trainer.should_stop  # by another callback
        super().on_validation_end(trainer, pl_module)
        if not asked and trainer.current_epoch + 1 < (trainer.min_epochs or 0):
            trainer.should_stop = False
