"""`python -m facekp.evaluate ckpt=FILE`: scores checkpoints on the rows that trained none of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

    from facekp.models.command_settings import EvaluateSettings

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> dict[str, Any]:
    """Score, print the metrics, and write them if a folder was named; the metrics."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.core.errors import UserError
    from facekp.core.outputs import output_folder
    from facekp.models.command_settings import EvaluateSettings
    from facekp.runs.folder import RunFolder
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(read_settings(cfg, EvaluateSettings))
    if settings.out is None:
        return _score(settings)[0]
    if RunFolder(settings.out).has_begun():
        raise UserError(f"out={settings.out}: holds a training, whose results are kept; choose another folder")
    with output_folder(settings.out, overwrite=settings.overwrite) as path:
        metrics, predictions = _score(settings)
        folder = RunFolder(path)
        folder.write_origin()
        folder.write_predictions(predictions)
        folder.write_metrics(metrics)
    log.info("written: %s", folder)
    return metrics


def _score(settings: EvaluateSettings) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score the checkpoints and print the metrics; these, and the predictions of every labelled point.

    Raises:
        UserError: no row is left to score.
    """
    import numpy as np

    from facekp.core.console import show
    from facekp.core.errors import UserError
    from facekp.data.readers.read import read_table
    from facekp.models.ensemble import load_models
    from facekp.models.scoring import score_models, unseen_rows
    from facekp.models.training_data import labelled_points, warn_of_other_data, warn_of_untrained
    from facekp.reporting.console_tables import metrics_table
    from facekp.runs.frames import predictions_frame

    models = load_models(settings.ckpt, settings.decoder, settings.views)
    table = read_table(settings.data, models[0].model.keypoints)
    if np.isnan(table.points).all():
        raise UserError("data: no point is labelled, so nothing can be scored")
    warn_of_other_data(models, settings.data)
    rows = unseen_rows(models, table, settings.data.cache_folder)
    held_out, others = table.take(rows), table.without(rows)
    if not held_out.mask.any():
        raise UserError(f"data: none of the {len(held_out)} rows that trained no checkpoint has a labelled point")
    warn_of_untrained(models, labelled_points(held_out))
    metrics, prediction = score_models(models, held_out, others if others.mask.any() else held_out)
    show(metrics_table(metrics, held_out.keypoints, f"{len(held_out)} faces, RMSE in pixels"))
    return metrics, predictions_frame(held_out, "unseen", prediction.points, prediction.confidence)


if __name__ == "__main__":
    run_command("evaluate", main)
