"""`train`: trains one network and writes the folder of the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl

from facekp.core.console import show
from facekp.core.errors import UserError
from facekp.data.readers.read import read_table
from facekp.data.table import FaceTable
from facekp.models.checkpoint import load_checkpoint, read_tensors
from facekp.models.scoring import score_models
from facekp.reporting.console_tables import metrics_table
from facekp.reporting.outcome import log_outcome
from facekp.runs.folder import RunFolder
from facekp.runs.frames import predictions_frame
from facekp.runs.resume_arguments import resume_text
from facekp.training.callbacks.validation_results import ValidationResults, training_summary
from facekp.training.dataset import build_data
from facekp.training.initial import build_estimator
from facekp.training.label_offsets import warn_of_offsets
from facekp.training.learning_rate import find_learning_rate
from facekp.training.loggers.base import RunLogger
from facekp.training.observers import build_callbacks, build_loggers, check_observers
from facekp.training.settings import FIND, TrainSettings
from facekp.training.trainer import build_trainer, trainer_errors

log = logging.getLogger(__name__)


def train(
    settings: TrainSettings, folder: Path, resume: bool = False, callbacks: Sequence[pl.Callback] = ()
) -> dict[str, Any]:
    """Train one network.

    Args:
        settings: of the training.
        folder: where the run is written; must not hold a run yet, unless it is resumed.
        resume: continue after the last completed epoch of the run in the folder.
        callbacks: called after the run's own.

    Returns:
        the content of metrics.json: metrics of the best checkpoint on the validation rows, and those of the mean-face
        baseline. Empty in all processes but the first.

    Raises:
        UserError: the data or a setting is not valid.
    """
    run = RunFolder(folder)
    started = time.monotonic() - (60 * run.minutes() if resume else 0)
    check_observers(settings.callbacks, settings.logger)
    pl.seed_everything(settings.seed, workers=True, verbose=False)

    # data and model
    table = read_table(settings.data, settings.keypoints)
    dataset = build_data(table, settings)
    data = dataset.module
    last = _last_checkpoint(run, dataset.split) if resume else None
    estimator = build_estimator(dataset, settings, last)
    rate_curve = None
    if settings.lr == FIND:
        rate_curve = find_learning_rate(estimator, data, settings.trainer)
        settings = settings.replaced(lr=rate_curve.suggestion)
        estimator.lr, estimator.config = rate_curve.suggestion, settings.plain()
    if settings.trainer.compile:
        estimator.model.network.compile()

    # trainer
    results = ValidationResults(run, table, table.without(data.val_rows), started)
    observers = build_callbacks(settings.callbacks, settings.logger, settings.plain(), run, results)
    loggers = build_loggers(settings.logger, run)
    trainer = build_trainer(settings.trainer, folder, [*observers, *callbacks], loggers)
    run_loggers = [callback for callback in observers if isinstance(callback, RunLogger)]

    # training
    try:
        if not resume and trainer.is_global_zero:
            run.clear()
            run.write_start(settings.plain(), dataset.split)
            if rate_curve is not None:
                rate_curve.draw(run.pictures / "lr_find.png")
        elif trainer.is_global_zero:
            run.update_config(settings.plain())
        with trainer_errors():
            trainer.fit(estimator, data, ckpt_path=last, weights_only=True)
        if not trainer.is_global_zero:
            return {}
        return _finish(run, table.take(data.val_rows), trainer, results, settings, run_loggers)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        log.warning("stopped; continue with %s", resume_text(folder, settings.plugins))
        raise
    finally:
        for logger in run_loggers:
            logger.close()


def _last_checkpoint(run: RunFolder, split: pd.DataFrame) -> Path | None:
    """The checkpoint to resume from; None where the run was killed before its first epoch ended.

    Raises:
        UserError: the data have changed since the run began, or a file is damaged.
    """
    try:
        before = run.read_split()
    except UserError as error:
        raise UserError(f"resume={run}: {error}") from error
    if not before.equals(split.astype({"set": str})):
        raise UserError(f"resume={run}: the rows of the data differ from those in {run.split}; start a new run")
    last = run.last_checkpoint
    if not last.is_file():
        _check_nothing_completed(run)
        return None
    missing = {"optimizer_states", "pytorch-lightning_version", "callbacks"} - set(read_tensors(last))
    if missing:
        raise UserError(f"resume={run}: {last} lacks {sorted(missing)[0]}; the run did not write this file")
    return last


def _check_nothing_completed(run: RunFolder) -> None:
    """
    Raises:
        UserError: last.ckpt has been deleted, so training again would overwrite results. A run that was killed at the
            end of its first epoch may lack the file, too, and trains that epoch again to the same result.
    """
    if run.completed_epochs() > 1 or (run.metrics.is_file() and run.is_finished()):
        start = f"out=DIR init_from={run.best_checkpoint}" if run.best_checkpoint.is_file() else "out=DIR"
        raise UserError(f"resume={run}: {run.last_checkpoint} is missing; put it back, or start a new run with {start}")


def _finish(
    run: RunFolder,
    held_out: FaceTable,
    trainer: pl.Trainer,
    results: ValidationResults,
    settings: TrainSettings,
    run_loggers: Sequence[RunLogger],
) -> dict[str, Any]:
    """Score the best checkpoint, write the final files of the run, and log the results."""
    from facekp.reporting.pictures import draw_run  # imported here: the first step need not wait for matplotlib

    best = load_checkpoint(run.best_checkpoint)
    evaluation = score_models([best], held_out, results.others)
    points = evaluation.prediction.points
    metrics = {**evaluation.metrics, **training_summary(trainer, run, results.started), "finished": True}
    run.write_predictions(predictions_frame(held_out, "val", points, evaluation.prediction.confidence))
    run.write_metrics(metrics)
    draw_run(run, best.model, held_out, points, metrics, settings.callbacks.pictures)
    for logger in run_loggers:
        logger.log_end(metrics, best.model, held_out, points)
    show(metrics_table(metrics, held_out.keypoints, f"{len(held_out)} validation faces, RMSE in pixels"))
    log_outcome(run, metrics)
    if settings.augment.flip:
        warn_of_offsets(held_out, points, results.others, settings.data.offsets)
    log.info("run: %s\nckpt: %s", run, best.path)
    return metrics
