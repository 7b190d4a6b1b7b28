"""`python -m facekp.submit ckpt=FILE data.dir=DIR out=FILE.csv`: predicts test.csv in the competition's format."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from facekp.config.command import read_settings, run_command, warn_of_unused

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> Path:
    """Read the test images, predict, write the submission, and return its path."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.core.outputs import output_file
    from facekp.data.competition import competition_files, write_submission
    from facekp.data.readers.read import read_test
    from facekp.models.command_settings import OF_TRAININGS, SubmitSettings
    from facekp.models.ensemble import load_models, predict_table
    from facekp.models.training_data import points_of_sources, warn_of_other_data, warn_of_untrained
    from facekp.photos.table_refining import predict_refined
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(read_settings(cfg, SubmitSettings))
    of_labelled_rows = ("data.rows", "data.rows_from", "data.only", "data.group_by")
    warn_of_unused((*OF_TRAININGS, *of_labelled_rows), "every test image is predicted, by the checkpoint's offsets")
    checkpoints = [settings.ckpt] if isinstance(settings.ckpt, str) else settings.ckpt
    folder = getattr(settings.data, "dir", None)  # other data are refused by read_test
    inputs: list[str | Path] = [*checkpoints, *(competition_files(Path(folder)) if folder else [])]
    with output_file(settings.out, "submission.csv", settings.overwrite, inputs=inputs) as out:
        models = load_models(settings.ckpt, settings.decoder, settings.views)
        table, lookup = read_test(settings.data, models[0].model.keypoints)
        warn_of_other_data(models, settings.data)
        warn_of_untrained(models, points_of_sources(table.keypoints, table.source))
        predict = predict_refined if settings.refine else predict_table
        write_submission(out, table, predict(models, table).points, lookup)
    log.info("written: %s (%d values of %d images)", out, len(lookup), len(table))
    return out


if __name__ == "__main__":
    run_command("submit", main)
