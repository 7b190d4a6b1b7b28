"""`train`: trains one network and writes the folder of the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl

from facekp.core.console import count, show
from facekp.core.errors import UserError, first_line
from facekp.data.datamodule import FaceData
from facekp.data.readers.read import read_table
from facekp.data.table import FaceTable
from facekp.models.checkpoint import load_checkpoint
from facekp.models.scoring import score_models, try_metrics
from facekp.networks.precision import fastest_precision
from facekp.reporting.console_tables import metrics_table
from facekp.reporting.outcome import log_outcome
from facekp.runs.environment import environment
from facekp.runs.folder import FIND, RunFolder
from facekp.runs.frames import predictions_frame
from facekp.training.callbacks.stopping import FolderGuard, StopAtSignal
from facekp.training.callbacks.validation_results import ValidationResults, training_summary
from facekp.training.compilation import compile_steps
from facekp.training.dataset import build_data
from facekp.training.ending import reported_end
from facekp.training.estimator import KeypointEstimator
from facekp.training.initial import build_estimator
from facekp.training.label_offsets import warn_of_offsets
from facekp.training.learning_rate import RateCurve, find_learning_rate
from facekp.training.loggers.base import RunLogger
from facekp.training.observers import build_callbacks, build_loggers, check_observers
from facekp.training.rerun import compare, warn_of_changed_data
from facekp.training.resume import checkpoint_to_resume, data_digests
from facekp.training.settings import AUTO, TrainSettings
from facekp.training.step_graph import check_cuda_graph, records_steps
from facekp.training.trainer import build_trainer, check_limits, trainer_errors

log = logging.getLogger(__name__)


def train(
    settings: TrainSettings,
    folder: Path,
    resume: bool = False,
    callbacks: Sequence[pl.Callback] = (),
    repeats: RunFolder | None = None,
) -> dict[str, Any]:
    """Train one network, and write the folder of the run.

    Args:
        settings: all settings of ``facekp.train``.
        folder: where the run is written; must not hold a run yet, unless it is resumed.
        resume: continue after the last completed epoch of the run in the folder.
        callbacks: called after the run's own.
        repeats: the run that this one repeats; differences are reported.

    Returns:
        the content of metrics.json: metrics of the best checkpoint on the validation rows, and those of the mean-face
        baseline. Empty in all processes but the first.

    Raises:
        UserError: the data or a setting is not valid, a file can't be written, or the folder was removed.
        Stopped: a signal came.
    """
    if settings.trainer.is_child_process:
        logging.getLogger().setLevel(logging.ERROR)
    run = RunFolder(folder)
    started = time.monotonic() - (60 * run.minutes() if resume else 0)
    check_observers(settings.callbacks, settings.logger)
    check_cuda_graph(settings.trainer)
    settings = _with_precision(settings)
    pl.seed_everything(settings.seed, workers=True, verbose=False)

    # data and model
    table = read_table(settings.data, settings.keypoints)
    dataset = build_data(table, settings)
    data = dataset.module
    check_limits(settings.trainer, data.steps_per_epoch * data.accumulate, data.val_batches)
    try_metrics(table, data.val_rows, settings.metrics)
    digests = data_digests(table, settings)
    last = checkpoint_to_resume(run, dataset.split, digests, settings.trainer.max_epochs) if resume else None
    if last is not None:
        log.info("resume=%s: continues from %s", run, last)
    if repeats is not None:
        warn_of_changed_data(repeats, digests, dataset.split)
    estimator = build_estimator(dataset, settings, last)
    settings, rate_curve = _with_searched_lr(estimator, data, settings)
    if settings.trainer.compile:
        compile_steps(estimator, data, settings.trainer.compile)

    # trainer
    results = ValidationResults(run, table, table.without(data.val_rows), started, settings.metrics)
    observers = build_callbacks(settings.callbacks, settings.logger, settings.with_references(), run, results)
    loggers = build_loggers(settings.logger, run)
    run_loggers = [callback for callback in observers if isinstance(callback, RunLogger)]
    stop = StopAtSignal()
    callbacks = [FolderGuard(run), *observers, *callbacks, stop]
    network, optimizer = estimator.model.network, estimator.new_optimizer()
    estimator.cuda_graph = data.yields_inputs = records_steps(settings, network, optimizer, callbacks)
    trainer = build_trainer(settings.trainer, folder, callbacks, loggers)

    # training
    try:
        with reported_end(run, settings.plugins, trainer, stop):
            if trainer.is_global_zero and resume:
                run.remove_parts()
                run.update_config(settings.with_references())
            elif trainer.is_global_zero:
                _write_first_files(run, settings, dataset.split, digests, rate_curve)
            with trainer_errors():
                trainer.fit(estimator, data, ckpt_path=last, weights_only=True)
            stop.raise_if_asked()
            if not trainer.is_global_zero:
                return {}
            if not run.best_checkpoint.is_file():
                raise UserError(
                    f"{run}: the training was stopped before its first epoch was validated, so it has no results; "
                    "let the callback that stopped it allow more time"
                )
            group = dataset.split["group"].to_numpy()[data.val_rows]
            metrics = _finish(run, table.take(data.val_rows), group, trainer, results, settings, run_loggers)
            if repeats is not None:
                compare(repeats, metrics)
            return metrics
    finally:
        _close(run_loggers)


def _close(loggers: Sequence[RunLogger]) -> None:
    """Close all of them; what fails is a warning, as the training has ended, or its own error is reported."""
    for logger in loggers:
        try:
            logger.close()
        except Exception as error:  # of another package's logger, or of a full disk
            log.warning("%s could not be closed: %s", type(logger).__name__, first_line(error))


def _with_precision(settings: TrainSettings) -> TrainSettings:
    """The settings, with what is fastest on the device for ``trainer.precision=auto``; config.yaml records it."""
    if settings.trainer.precision != AUTO:
        return settings
    precision = fastest_precision(settings.trainer.accelerator)
    log.info("trainer.precision=auto: %s on this device", precision)
    return settings.replaced(trainer=settings.trainer.replaced(precision=precision))


def _with_searched_lr(
    estimator: KeypointEstimator, data: FaceData, settings: TrainSettings
) -> tuple[TrainSettings, RateCurve | None]:
    """The settings and the estimator with the learning rate that ``lr=find`` finds; unchanged for another ``lr``."""
    if settings.lr != FIND:
        return settings, None
    rate_curve = find_learning_rate(estimator, data, settings.trainer)
    settings = settings.replaced(lr=rate_curve.suggestion)
    estimator.lr, estimator.config = rate_curve.suggestion, settings.with_references()
    return settings, rate_curve


def _write_first_files(
    run: RunFolder,
    settings: TrainSettings,
    split: pd.DataFrame,
    digests: dict[str, Any],
    rate_curve: RateCurve | None,
) -> None:
    run.remove_parts()
    run.clear()
    run.write_environment(environment())
    run.write_data(digests)
    run.write_start(settings.with_references(), split)
    if rate_curve is not None:
        rate_curve.draw(run.rate_curve)


def _finish(
    run: RunFolder,
    held_out: FaceTable,
    group: np.ndarray,
    trainer: pl.Trainer,
    results: ValidationResults,
    settings: TrainSettings,
    run_loggers: Sequence[RunLogger],
) -> dict[str, Any]:
    """Score the best checkpoint, write the final files of the run, and log the results.

    Args:
        run: the folder.
        held_out: the N validation rows.
        group: int (N,), the groups of these rows, of which intervals draw whole ones.
        trainer: after the training.
        results: of the best epoch so far.
        settings: of the training.
        run_loggers: log the results.
    """
    from facekp.reporting.pictures import draw_run  # imported here: the first step need not wait for matplotlib

    best = load_checkpoint(run.best_checkpoint)
    evaluation = score_models([best], held_out, results.others, settings=settings.metrics, group=group)
    points = evaluation.prediction.points
    metrics = {**evaluation.metrics, **training_summary(trainer, run, results.started), "finished": True}
    run.write_predictions(predictions_frame(held_out, "val", points, evaluation.prediction.confidence))
    run.write_coco(held_out, points, evaluation.prediction.confidence, settings.data)
    run.write_metrics(metrics)
    draw_run(run, best.model, held_out, points, metrics, settings.callbacks.pictures)
    for logger in run_loggers:
        logger.log_end(metrics, best.model, held_out, points)
    show(metrics_table(metrics, held_out.keypoints, f"{count(len(held_out), 'validation face')}, RMSE in pixels"))
    log_outcome(run, metrics)
    if settings.augment.flip:
        warn_of_offsets(held_out, points, results.others, settings.data.offsets)
    log.info("run: %s\nckpt: %s", run, best.path)
    return metrics
