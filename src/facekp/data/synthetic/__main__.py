"""`python -m facekp.data.synthetic out=DIR`: writes drawn faces in the competition's format."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> Path:
    """Write training.csv, test.csv and IdLookupTable.csv; return their folder."""
    from dataclasses import replace  # imported here: --help and mistakes in a key must answer within a second

    import numpy as np

    from facekp.core.console import count
    from facekp.core.outputs import output_folder
    from facekp.data.competition import write_test, write_training
    from facekp.data.synthetic.command_settings import SyntheticCommandSettings
    from facekp.data.synthetic.faces import draw_faces

    settings = read_settings(cfg, SyntheticCommandSettings)
    data = settings.data
    with output_folder(settings.out, overwrite=settings.overwrite) as folder:
        write_training(folder / "training.csv", draw_faces(data.rows, data.seed, settings.keypoints))
        test = draw_faces(settings.test_rows, data.seed + 1, settings.keypoints)
        write_test(folder, replace(test, row=np.arange(1, len(test) + 1)), test.mask)
    log.info("written: %s (%s, %s)", folder, count(data.rows, "training row"), count(len(test), "test row"))
    return folder


if __name__ == "__main__":
    run_command("synthetic", main)
