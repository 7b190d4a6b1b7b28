"""`python -m facekp.calibrate ckpt=FILE out=FILE`: makes a checkpoint predict the error of each point.

It is calibrated for one view, with and without its mirror image, and for all views of its decoder, on faces as they are
and corrupted (``corruptions=standard``). Training rows of the checkpoint are left out. One half of the others is used
to fit, the other half to check; near-duplicates and faces of one photo stay in the same half. If a checkpoint was
trained on all rows, give its twin (``twin=FILE``), which is measured instead: the same recipe, trained without one
fold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facekp.config.command import read_settings, run_command, warn_of_unused

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from facekp.models.calibration import Calibration


def main(cfg: DictConfig) -> list[Calibration]:
    """Fit, check, and write the checkpoint and the comparison of expected and measured errors; the calibrations."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.models.command_settings import OF_TRAININGS, CalibrateSettings
    from facekp.reporting.calibration import calibrate
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(read_settings(cfg, CalibrateSettings))
    unused = [key for key in OF_TRAININGS if key != "data.split_seed"]
    warn_of_unused(unused, "the rows that no checkpoint was trained on are divided into two halves")
    return calibrate(settings)


if __name__ == "__main__":
    run_command("calibrate", main)
