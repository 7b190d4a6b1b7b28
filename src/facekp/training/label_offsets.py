"""Labels that all lie to one side of the predictions: found at the end of a training, with the setting that helps.

Mirror images keep a network from learning such an offset (`facekp.core.keypoints.Keypoints.offsets`). A network that is
not yet trained also misses to one side, by chance or by its bias. So the advice needs a good network and an offset that
all points share and that other rows would show as well. Axes: N faces, K points.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from facekp.data.split import inseparable_groups
from facekp.data.table import FaceTable
from facekp.functional.metrics import mean_face
from facekp.models.label_shape import rms

log = logging.getLogger(__name__)
MIN_OFFSET = 0.5  # pixels; a smaller offset does not matter
WELL_TRAINED = 0.5  # of the mean face's RMSE; a network above this is not judged
DRAWS = 400  # of the bootstrap
TAIL = 0.5  # per cent on each side of the bootstrap's interval
MIN_GROUPS = 20  # of different images; with fewer the interval is not reliable


def warn_of_offsets(table: FaceTable, points: np.ndarray, others: FaceTable, given: Mapping[str, float] | None) -> None:
    """Warn of labels that lie to one side of the predictions, in one sentence for all sources.

    Args:
        table: N validation rows.
        points: (N, K, 2), their predictions in pixels.
        others: the rows whose mean face is the baseline.
        given: ``data.offsets`` of the training.
    """
    found = find_offsets(table, points, others)
    if not found:
        return
    sides = [
        f"{source}: {abs(right):.1f} px to the {'right' if right > 0 else 'left'}" for source, right in found.items()
    ]
    better = {**(given or {}), **{s: round((given or {}).get(s, 0.0) + right, 2) for s, right in found.items()}}
    log.warning(
        "the labels lie to one side of the predictions (%s), which training with mirror images can't learn; train "
        "again with 'data.offsets={%s}' to correct it",
        ", ".join(sides),
        ",".join(f"{source}:{right:g}" for source, right in better.items()),
    )


def find_offsets(table: FaceTable, points: np.ndarray, others: FaceTable) -> dict[str, float]:
    """How far right of the predictions each source's labels lie, in pixels, where that is certain and matters.

    Args:
        table: N validation rows.
        points: (N, K, 2), their predictions in pixels.
        others: the rows whose mean face is the baseline.
    """
    baseline = table.points - mean_face(others.points, others.source, others.keypoints)[table.source]
    difference = table.points - points  # (N, K, 2)
    groups: np.ndarray | None = None
    found = {}
    for s, source in enumerate(table.keypoints.source_names):
        rows = table.source == s
        if not table.mask[rows].any():
            continue
        right = float(np.nanmedian(difference[rows, :, 0]))
        if abs(right) < MIN_OFFSET or rms(difference[rows] - [right, 0]) > WELL_TRAINED * rms(baseline[rows]):
            continue
        groups = inseparable_groups(table) if groups is None else groups
        if _is_certain(difference[rows, :, 0] * np.sign(right), groups[rows]):
            found[source] = right
    return found


def _is_certain(difference: np.ndarray, groups: np.ndarray) -> bool:
    """Whether labels lie to the right at every point, and would in other rows as well, by half of `MIN_OFFSET`.

    Args:
        difference: (N, K), pixels; NaN where unlabelled.
        groups: int (N,), rows that show the same image or photo; they are drawn together.
    """
    by_point = [np.median(column[~np.isnan(column)]) for column in difference.T if not np.isnan(column).all()]
    first = np.unique(np.sort(groups), return_index=True)[1]
    members = np.split(np.argsort(groups, kind="stable"), first[1:])
    if min(by_point) <= 0 or len(members) < MIN_GROUPS:
        return False
    generator = np.random.default_rng(0)
    medians = []
    for _ in range(DRAWS):
        drawn = np.concatenate([members[i] for i in generator.integers(0, len(members), len(members))])
        medians.append(np.nanmedian(difference[drawn]))
    return bool(np.percentile(medians, TAIL) > MIN_OFFSET / 2)
