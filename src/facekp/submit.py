"""`python -m facekp.submit ckpt=FILE data.dir=DIR out=FILE.csv`: answers test.csv as IdLookupTable.csv asks."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from facekp.config.command import plain, run_command
from facekp.core.errors import UserError
from facekp.data.readers.competition import write_submission
from facekp.data.readers.registry import read_test
from facekp.models.ensemble import load_models, predict_points

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> Path:
    """Hydra's task: read, answer, write."""
    config = plain(cfg)
    trained = load_models(config["ckpt"], config["decoder"])
    if "dir" not in config["data"]:
        raise UserError("submit answers files: take data=kaggle data.dir=DIR")
    table, lookup = read_test(config["data"], trained[0].model.keypoints)
    points, _ = predict_points(trained, table)
    out = Path(config["out"])
    write_submission(out, table, points, lookup)
    log.info("written: %s (%d values of %d images)", out, len(lookup), len(table))
    return out


if __name__ == "__main__":
    run_command("submit", main)
