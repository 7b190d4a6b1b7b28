"""`python -m facekp.calibrate ckpt=FILE out=FILE`: a checkpoint that knows how far off its points are.

Of the rows that trained none of it one half is fitted on and the other checked on; near-duplicates and one photo's
faces stay together. Where it was trained on all rows, its twin, the same recipe without one fold, is measured in its
place (``twin=FILE``). What is fitted is told in `facekp.models.calibration`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.table import Table

from facekp.config.command import plain, run_command
from facekp.core.console import show
from facekp.core.errors import UserError
from facekp.core.files import atomic, write_json
from facekp.data.readers.registry import read_table
from facekp.models.calibrating import calibrate, load_twin, read_own, write
from facekp.models.calibration import GOAL, RELIABILITY, Calibration
from facekp.models.checkpoint import load_checkpoint
from facekp.models.scoring import unseen_rows
from facekp.reporting.pictures import draw_reliability

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> Calibration:
    """Hydra's task: fit, check, write and tell."""
    config = plain(cfg)
    if not isinstance(config["ckpt"], str):
        raise UserError(f"ckpt={config['ckpt']}: a calibration is one checkpoint's; name one file")
    trained = load_checkpoint(config["ckpt"])
    read_own(trained.path)  # refused before anything is measured
    measured = trained if config["twin"] is None else load_twin(trained, config["twin"])
    table = read_table(config["data"], trained.model.keypoints)
    fitted = calibrate(measured, table.take(unseen_rows([measured], table)), config["data"]["split_seed"])
    target = Path(config["out"])
    write(trained.path, target, fitted)
    _tell(fitted.reliability)
    log.info("ckpt: %s (%.1f MB)", target, target.stat().st_size / 1e6)
    if config["reliability"] is not None:
        picture = Path(config["reliability"])
        with atomic(picture) as draft:
            draw_reliability(fitted.reliability).savefig(draft, dpi=110, format="png")
        write_json(picture.with_suffix(".json"), fitted.reliability)
        log.info("written: %s", picture)
    folder = trained.path.parent.parent
    if (folder / "metrics.json").is_file():  # a run's: the page of facekp.report shows it
        write_json(folder / RELIABILITY, fitted.reliability)
    return fitted


def _tell(figures: dict[str, Any]) -> None:
    table = Table(title=f"{figures['points']} points of faces that were not fitted on, by expected error")
    for heading in ("tenth", "expected, px", "measured, px", "ratio"):
        table.add_column(heading, justify="right")
    pairs = list(zip(figures["expected"], figures["measured"], strict=True))
    for i, (expected, measured) in enumerate(pairs, start=1):
        table.add_row(str(i), f"{expected:.2f}", f"{measured:.2f}", f"{measured / expected:.2f}")
    show(table)
    off = sum(abs(measured / expected - 1) > GOAL for expected, measured in pairs)
    if off:
        log.warning(
            "%d of %d tenths are off by more than %.0f %%: more faces would tell better", off, len(pairs), 100 * GOAL
        )


if __name__ == "__main__":
    run_command("calibrate", main)
