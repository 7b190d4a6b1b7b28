"""The work of ``facekp.evaluate``: scores checkpoints, shows the figures, and writes them into a folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from facekp.core.console import count, show
from facekp.core.errors import CannotWrite, UserError
from facekp.core.outputs import output_folder
from facekp.data.digests import is_data_of
from facekp.data.readers.read import read_table
from facekp.data.settings import DataSettings
from facekp.data.split import inseparable_groups
from facekp.data.table import FaceTable
from facekp.functional.metrics import check_normaliser
from facekp.models.checkpoint import load_checkpoint
from facekp.models.command_settings import EvaluateSettings
from facekp.models.ensemble import LoadedModel, load_models, predict_table
from facekp.models.prediction import Prediction
from facekp.models.robustness import CorruptedFaces, corrupted_reliability, corruptions_frame, predict_corrupted
from facekp.models.scoring import score_models, unseen_rows
from facekp.models.training_data import labelled_points, warn_of_other_data, warn_of_untrained
from facekp.photos.table_refining import predict_refined
from facekp.reporting.console_tables import corruptions_table, metrics_table, reliability_table
from facekp.runs.folder import RunFolder
from facekp.runs.frames import predictions_frame

log = logging.getLogger(__name__)


class Scores(NamedTuple):
    """What an evaluation measures.

    Attributes:
        metrics: content of metrics.json.
        held_out: the rows that were scored.
        prediction: for them.
        corrupted: predictions for corrupted images; None: none were asked for.
        corruptions: figures for them, of `facekp.models.robustness.corruptions_frame`.
        reliability: expected and measured errors for them; None: the checkpoint is not calibrated.
        run: folder of the run whose report may show the figures for corrupted images; None: they belong to none.
    """

    metrics: dict[str, Any]
    held_out: FaceTable
    prediction: Prediction[np.ndarray]
    run: RunFolder | None
    corrupted: CorruptedFaces | None = None
    corruptions: pd.DataFrame | None = None
    reliability: dict[str, Any] | None = None


def evaluate(settings: EvaluateSettings) -> dict[str, Any]:
    """Score checkpoints, print the metrics, and write them if ``out`` is a folder.

    Returns:
        the content of metrics.json.

    Raises:
        UserError: ``out`` is the folder of a run, or no row is left to score.
    """
    if settings.out is None:
        scores = _score(settings)
    elif RunFolder(settings.out).has_begun():
        raise UserError(f"out={settings.out}: holds a training, whose results are kept; choose another folder")
    else:
        with output_folder(settings.out, overwrite=settings.overwrite) as path:
            scores = _score(settings)
            _write(RunFolder(path), scores, settings.data)
        log.info("written: %s", path)
    if scores.run is not None and scores.corruptions is not None:
        try:
            scores.run.write_corruptions(scores.corruptions, scores.reliability)
        except CannotWrite as error:  # for example in a read-only folder
            log.warning("the run's report will not show this: %s", error)
        else:
            log.info("written: %s; facekp.report shows it", scores.run.corruptions)
    return scores.metrics


def _score(settings: EvaluateSettings) -> Scores:
    """Score the checkpoints and print the figures.

    Raises:
        UserError: no row is left to score.
    """
    models = load_models(settings.ckpt, settings.decoder, settings.views)
    check_normaliser(settings.metrics, models[0].model.keypoints)
    table = read_table(settings.data, models[0].model.keypoints)
    if np.isnan(table.points).all():
        raise UserError("data: no point is labelled, so nothing can be scored; give data with labels")
    warn_of_other_data(models, settings.data)
    groups = inseparable_groups(table, settings.data.cache_folder)
    rows = unseen_rows(models, table, settings.data, groups)
    held_out, others = table.take(rows), table.without(rows)
    if not held_out.mask.any():
        raise UserError(
            f"data: none of the {len(held_out)} rows that no checkpoint was trained on has a labelled point; "
            "give data with labels that they were not trained on"
        )
    warn_of_untrained(models, labelled_points(held_out))
    scores = _score_rows(settings, models, held_out, others if others.mask.any() else held_out, groups[rows])
    run = None if scores.corruptions is None else scores.run
    if run is not None and (reason := _why_not_of_run(models[0], settings.refine, run, table)):
        log.info("not written into %s, whose report would show it: %s", run, reason)
        scores = scores._replace(run=None)
    _show(scores)
    return scores


def _why_not_of_run(loaded: LoadedModel, refined: bool, run: RunFolder, table: FaceTable) -> str:
    """Why figures for corrupted images do not belong to the run that trained the checkpoint; empty: they do."""
    if refined or loaded.model.decoder != load_checkpoint(loaded.path).model.decoder:
        return "decoder=, views= or refine= was changed"
    return "" if is_data_of(run.read_data(), table) else "the data are not those of the run"


def _score_rows(
    settings: EvaluateSettings,
    models: Sequence[LoadedModel],
    held_out: FaceTable,
    others: FaceTable,
    group: np.ndarray,
) -> Scores:
    """Score the rows as they are, and corrupted.

    Args:
        settings: of the command.
        models: loaded checkpoints.
        held_out: the rows that are scored.
        others: the rows whose mean face is the baseline.
        group: int (N,), the groups of the scored rows, of which intervals draw whole ones.
    """
    predict = predict_refined if settings.refine else predict_table
    corrupted = predict_corrupted(models, held_out, settings.corruptions, predict)
    metrics, prediction = score_models(
        models, held_out, others, corrupted and corrupted.scored(), predict, settings.metrics, group
    )
    run = RunFolder.of_best_checkpoint(models[0].path) if len(models) == 1 else None
    if corrupted is None:
        return Scores(metrics, held_out, prediction, run)
    corruptions = corruptions_frame(held_out, prediction, corrupted)
    return Scores(metrics, held_out, prediction, run, corrupted, corruptions, corrupted_reliability(corrupted))


def _show(scores: Scores) -> None:
    """Print the metrics, and the figures for corrupted images."""
    held_out = scores.held_out
    show(metrics_table(scores.metrics, held_out.keypoints, f"{count(len(held_out), 'face')}, RMSE in pixels"))
    if scores.corruptions is None:
        return
    show(corruptions_table(scores.corruptions))
    if scores.reliability is None:
        log.info("no expected errors: not calibrated for this decoder (python -m facekp.calibrate)")
    else:
        show(reliability_table(scores.reliability))


def _write(folder: RunFolder, scores: Scores, data: DataSettings) -> None:
    """Write all results, metrics.json last."""
    points, confidence = scores.prediction.points, scores.prediction.confidence
    folder.clear_evaluation()
    folder.write_origin()
    folder.write_predictions(predictions_frame(scores.held_out, "unseen", points, confidence))
    folder.write_coco(scores.held_out, points, confidence, data)
    if scores.corrupted is not None and scores.corruptions is not None:
        from facekp.reporting.corruption_pictures import write_corruption_pictures  # it imports matplotlib

        folder.write_corruptions(scores.corruptions, scores.reliability)
        write_corruption_pictures(folder, scores.corrupted, scores.corruptions)
    folder.write_metrics(scores.metrics)
