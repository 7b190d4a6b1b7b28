"""`python -m facekp.calibrate ckpt=FILE out=FILE`: a checkpoint that knows how far off its points are.

Of the rows that trained none of it one half is fitted on and the other checked on; near-duplicates and one photo's
faces stay together. Where it was trained on all rows, its twin, the same recipe without one fold, is measured in its
place (``twin=FILE``). What is fitted is told in `facekp.calibration`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.table import Table

from facekp import cli, runs
from facekp.calibration import GOAL, RELIABILITY, Calibration, fit, reliability
from facekp.checkpoint import KEY, Trained, load_checkpoint, read_tensors
from facekp.data.reader import read_table
from facekp.data.split import assign_folds, inseparable_groups
from facekp.data.table import FaceTable
from facekp.errors import UserError
from facekp.evaluate import unseen_rows
from facekp.files import atomic
from facekp.inference import batches, make_ready
from facekp.tables import show

log = logging.getLogger(__name__)


def calibrate(trained: Trained, table: FaceTable, seed: int) -> Calibration:
    """Fit on one half of a table and check on the other.

    Args:
        trained: the checkpoint; its own decoder is what is calibrated.
        table: N labelled rows that trained none of it.
        seed: of the halves.

    Raises:
        UserError: too few labelled points.
    """
    points, deviation = measure(trained, table)
    error = np.linalg.norm(points - table.points, axis=-1)
    half = assign_folds(inseparable_groups(table), table.source, 2, seed)
    one, other = half == 0, half == 1
    knots, curve, factor = fit(deviation[one], error[one], table.source[one], len(table.keypoints.source_names))
    fitted = Calibration(dict(trained.detector.decoder), knots, curve, factor, {})
    expected = fitted.expected(torch.from_numpy(deviation[other]), torch.from_numpy(table.source[other]).long())
    fitted.reliability.update(reliability(expected.numpy(), error[other]))
    return fitted


@torch.inference_mode()
def measure(trained: Trained, table: FaceTable) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, K, 2) and the deviations (N, K) of their heatmaps, in pixels, of a table's N rows."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make_ready(trained, device)
    found = [trained.detector.measure(images, source) for _, images, source in batches(table, device)]
    return torch.cat([one[0] for one in found]).cpu().numpy(), torch.cat([one[2] for one in found]).cpu().numpy()


def draw_reliability(figures: dict[str, Any]) -> Figure:
    """Measured against expected error of the tenths; the band is what `GOAL` allows."""
    expected, measured = np.array(figures["expected"]), np.array(figures["measured"])
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    end = 1.1 * max(expected.max(), measured.max())
    line = np.array([0.0, end])
    axes.fill_between(
        line, (1 - GOAL) * line, (1 + GOAL) * line, color="#1f6feb", alpha=0.12, label=f"within {GOAL:.0%}"
    )
    axes.plot(line, line, color="#57606a", linewidth=1)
    axes.plot(expected, measured, "o-", color="#1f6feb", label=f"tenths of {figures['points']} points")
    axes.set(xlabel="expected error, px", ylabel="measured error, px", xlim=(0, end), ylim=(0, end))
    axes.legend(loc="upper left")
    return figure


def read_own(source: Path) -> dict[str, Any]:
    """What a checkpoint file holds.

    Raises:
        UserError: it is the starting system's, which has no place for a calibration.
    """
    raw = read_tensors(source)
    if KEY not in raw:
        raise UserError(
            f"{source}: is the starting system's, which holds nothing but weights; train one, or start from it"
        )
    return raw


def write(source: Path, target: Path, fitted: Calibration) -> None:
    """The checkpoint with its calibration.

    Raises:
        UserError: ``source`` has no place for it (`read_own`).
    """
    raw = read_own(source)
    with atomic(target) as draft:
        torch.save({**raw, KEY: {**raw[KEY], "calibration": fitted.to_dict()}}, draft)


def main(cfg: DictConfig) -> Calibration:
    """Hydra's task: fit, check, write and tell."""
    config = cli.plain(cfg)
    if not isinstance(config["ckpt"], str):
        raise UserError(f"ckpt={config['ckpt']}: a calibration is one checkpoint's; name one file")
    trained = load_checkpoint(config["ckpt"])
    read_own(trained.path)  # refused before anything is measured
    measured = trained if config["twin"] is None else _twin(trained, config["twin"])
    table = read_table(config["data"], trained.detector.keypoints)
    fitted = calibrate(measured, table.take(unseen_rows([measured], table)), config["data"]["split_seed"])
    target = Path(config["out"])
    write(trained.path, target, fitted)
    _tell(fitted.reliability)
    log.info("ckpt: %s (%.1f MB)", target, target.stat().st_size / 1e6)
    if config["reliability"] is not None:
        picture = Path(config["reliability"])
        with atomic(picture) as draft:
            draw_reliability(fitted.reliability).savefig(draft, dpi=110, format="png")
        runs.write_json(picture.with_suffix(".json"), fitted.reliability)
        log.info("written: %s", picture)
    folder = trained.path.parent.parent
    if (folder / "metrics.json").is_file():  # a run's: the page of facekp.report shows it
        runs.write_json(folder / RELIABILITY, fitted.reliability)
    return fitted


def _twin(trained: Trained, path: str) -> Trained:
    """The checkpoint measured in another's place.

    Raises:
        UserError: it answers in another way, or for other points.
    """
    twin = load_checkpoint(path)
    for name in ("decoder", "keypoints", "size"):
        ours, theirs = (getattr(one.detector, name) for one in (trained, twin))
        if ours != theirs:
            raise UserError(f"twin={path}: its {name} is {theirs}, that of {trained.path} {ours}; pack both alike")
    return twin


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
    cli.run("calibrate", main)
