"""The part of a search that runs inside a job: it reports every epoch's RMSE, and ends a job that falls behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from facekp.runs.folder import RunFolder
from facekp.runs.searches.study import FOLDER, open_study
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.validated_epoch import ValidatedEpoch

if TYPE_CHECKING:
    from optuna.trial import Trial


class PruningCallback(ValidatedEpoch, Checkpoint):
    """Reports a trial's RMSE after every validated epoch, and stops its training when the study says so.

    A `Checkpoint`, so that Lightning calls it after the callback that writes last.ckpt: no epoch is reported twice.

    Args:
        trial: Optuna's trial of the job.
        percentile: ``hparams_search.prune.percentile``, for the message.
        unreported: RMSE by epoch, from 1, of an earlier start of this job, which was killed after it saved a
            checkpoint and before it reported.

    Attributes:
        message: why the trial was ended; empty if it was not.
    """

    def __init__(self, trial: Trial, percentile: float | None, unreported: Mapping[int, float] | None = None) -> None:
        self.trial, self.percentile = trial, percentile
        self.unreported = dict(unreported or {})
        self.message = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for epoch, rmse in self.unreported.items():
            if epoch <= trainer.current_epoch:  # later ones are trained again
                self.trial.report(rmse, epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.validated or "val/rmse" not in trainer.callback_metrics:  # no validation row has a label
            return
        rmse, epochs = trainer.callback_metrics["val/rmse"].item(), trainer.current_epoch + 1
        self.trial.report(rmse, epochs)
        if epochs != trainer.max_epochs and self.trial.should_prune():
            self.message = (
                f"after epoch {epochs} its RMSE was above percentile {self.percentile:g} of the finished trials"
            )
            trainer.should_stop = True


def pruning_callback(folder: RunFolder) -> PruningCallback | None:
    """The callback of a job's training; None if the job belongs to no search, or its trial has ended.

    Args:
        folder: of the job.

    Raises:
        UserError: Optuna is not installed, or the study can't be opened.
    """
    sweep = SweepFolder(folder.path.parent)
    settings = sweep.read_search()
    if settings is None:
        return None
    study = open_study(sweep, settings)
    from optuna.trial import Trial, TrialState  # imported after open_study, which says how to install it

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(FOLDER) == folder.path.name:
            rmse = {epoch: rmse for epoch, rmse in _validated(folder) if epoch not in trial.intermediate_values}
            return PruningCallback(Trial(study, trial._trial_id), settings.prune.percentile, rmse)
    return None


def _validated(folder: RunFolder) -> list[tuple[int, float]]:
    """The epochs of a run, from 1, and their RMSE; empty before the first."""
    curves = folder.read_curves().reindex(columns=["epoch", "val/rmse"]).dropna()
    return [(int(epoch), float(rmse)) for epoch, rmse in zip(curves["epoch"], curves["val/rmse"], strict=True)]
