"""`python -m facekp.calibrate ckpt=FILE out=FILE`: a checkpoint that predicts the error of each point as well.

Rows that trained the checkpoint are left out. One half of the others is fitted on, the other half checked on;
near-duplicates and faces of one photo stay in the same half. If a checkpoint was trained on all rows, give its twin
(``twin=FILE``), which is measured instead: the same recipe, trained without one fold.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from facekp.models.calibration import Calibration

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> Calibration:
    """Fit, check, and write the checkpoint and the comparison of expected and measured errors; the calibration."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.core.outputs import output_file
    from facekp.data.readers.read import read_table
    from facekp.models.calibration_fit import calibrate, load_twin, read_calibratable, write_calibration
    from facekp.models.checkpoint import load_checkpoint
    from facekp.models.command_settings import CalibrateSettings
    from facekp.models.scoring import unseen_rows
    from facekp.runs.folder import RunFolder
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(read_settings(cfg, CalibrateSettings))
    out = output_file(settings.out, overwrite=settings.overwrite)
    picture = None if settings.reliability is None else Path(settings.reliability)
    for path in () if picture is None else (picture, picture.with_suffix(".json")):
        output_file(str(path), overwrite=settings.overwrite, key="reliability")
    loaded = load_checkpoint(settings.ckpt)
    read_calibratable(loaded.path)  # refused before anything is measured
    measured = loaded if settings.twin is None else load_twin(loaded, settings.twin)
    table = read_table(settings.data, loaded.model.keypoints)
    fitted = calibrate(
        measured, table.take(unseen_rows([measured], table, settings.data.cache_folder)), settings.data.split_seed
    )

    write_calibration(loaded.path, out, fitted)
    _show(fitted.reliability)
    log.info("ckpt: %s (%.1f MB)", out, out.stat().st_size / 1e6)
    if picture is not None:
        _write_picture(picture, fitted.reliability)
    if (folder := RunFolder.of_checkpoint(loaded.path)) is not None:
        folder.write_reliability(fitted.reliability)  # facekp.report shows it
    return fitted


def _write_picture(path: Path, reliability: dict[str, Any]) -> None:
    """The picture, and its values beside it as JSON."""
    from facekp.core.files import atomic, write_json
    from facekp.reporting.pictures import draw_reliability

    with atomic(path) as draft:
        draw_reliability(reliability).savefig(draft, dpi=110, format="png")
    write_json(path.with_suffix(".json"), reliability)
    log.info("written: %s", path)


def _show(reliability: dict[str, Any]) -> None:
    """Print expected and measured errors, and warn where they differ."""
    from rich.table import Table

    from facekp.core.console import show
    from facekp.models.calibration import GOAL

    table = Table(title=f"{reliability['points']} points of faces that were not fitted on, by expected error")
    for heading in ("tenth", "expected, px", "measured, px", "ratio"):
        table.add_column(heading, justify="right")
    pairs = list(zip(reliability["expected"], reliability["measured"], strict=True))
    for i, (expected, measured) in enumerate(pairs, start=1):
        table.add_row(str(i), f"{expected:.2f}", f"{measured:.2f}", f"{measured / expected:.2f}")
    show(table)
    off = sum(abs(measured / expected - 1) > GOAL for expected, measured in pairs)
    if off:
        log.warning(
            "%d of %d tenths differ by more than %.0f %%; calibrate with more faces", off, len(pairs), 100 * GOAL
        )


if __name__ == "__main__":
    run_command("calibrate", main)
