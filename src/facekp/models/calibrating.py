"""`python -m facekp.calibrate ckpt=FILE out=FILE`: a checkpoint that knows how far off its points are.

Of the rows that trained none of it one half is fitted on and the other checked on; near-duplicates and one photo's
faces stay together. Where it was trained on all rows, its twin, the same recipe without one fold, is measured in its
place (``twin=FILE``). What is fitted is told in `facekp.models.calibration`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.data.split import assign_folds, inseparable_groups
from facekp.data.table import FaceTable
from facekp.models.calibration import Calibration, fit, reliability
from facekp.models.checkpoint import KEY, LoadedCheckpoint, load_checkpoint, read_tensors
from facekp.models.ensemble import batches, make_ready


def calibrate(trained: LoadedCheckpoint, table: FaceTable, seed: int) -> Calibration:
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
    fitted = Calibration(dict(trained.model.decoder), knots, curve, factor, {})
    expected = fitted.expected(torch.from_numpy(deviation[other]), torch.from_numpy(table.source[other]).long())
    fitted.reliability.update(reliability(expected.numpy(), error[other]))
    return fitted


@torch.inference_mode()
def measure(trained: LoadedCheckpoint, table: FaceTable) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, K, 2) and the deviations (N, K) of their heatmaps, in pixels, of a table's N rows."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make_ready(trained, device)
    found = [trained.model.measure(images, source) for _, images, source in batches(table, device)]
    return torch.cat([one[0] for one in found]).cpu().numpy(), torch.cat([one[2] for one in found]).cpu().numpy()


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


def load_twin(trained: LoadedCheckpoint, path: str) -> LoadedCheckpoint:
    """The checkpoint measured in another's place.

    Raises:
        UserError: it answers in another way, or for other points.
    """
    twin = load_checkpoint(path)
    for name in ("decoder", "keypoints", "size"):
        ours, theirs = (getattr(one.model, name) for one in (trained, twin))
        if ours != theirs:
            raise UserError(f"twin={path}: its {name} is {theirs}, that of {trained.path} {ours}; pack both alike")
    return twin
