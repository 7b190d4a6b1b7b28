"""How well models predict corrupted images, and whether their expected errors still hold there.

A table of faces and the settings of `facekp.data.corruptions` come in; a table of figures for each corruption and
strength goes out. Axes: C conditions (a corruption at a strength), N faces, K points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from facekp.data.corruptions import Condition, CorruptionSettings, corrupted_table
from facekp.data.table import FaceTable
from facekp.functional.metrics import MAIN, METRICS, MetricInput, compute_figures, trimmed_mean
from facekp.models.calibration_fit import RELIABILITY_PARTS, reliability
from facekp.models.ensemble import LoadedModel, PredictTable, predict_table
from facekp.models.prediction import Prediction

TRIMMED = "rmse/trimmed"
CLEAN = Condition("none", 0.0)  # the images as they are


class CorruptedFaces(NamedTuple):
    """Predictions for the faces of a table under each condition, one condition after the other.

    Errors are in pixels of the images as they were, so that those of shrunk faces can be compared with the others.

    Attributes:
        conditions: C.
        table: the C * N corrupted faces.
        prediction: for them.
    """

    conditions: list[Condition]
    table: FaceTable
    prediction: Prediction[np.ndarray]

    def scored(self) -> dict[str, list[MetricInput]]:
        """What metrics are computed from: for each corruption an entry for each strength."""
        by_corruption: dict[str, list[MetricInput]] = {}
        for condition, rows in self._rows():
            points, truth = (condition.enlargement * each[rows] for each in (self.prediction.points, self.table.points))
            part = MetricInput(points, truth, self.table.source[rows], self.table.keypoints)
            by_corruption.setdefault(condition.corruption, []).append(part)
        return by_corruption

    def errors(self) -> Iterator[tuple[Condition, np.ndarray | None]]:
        """Each condition with the expected errors (N, K) of its faces; None where the models are not calibrated."""
        expected = self.prediction.expected_error
        for condition, rows in self._rows():
            yield condition, None if expected is None else condition.enlargement * expected[rows]

    def _rows(self) -> Iterator[tuple[Condition, slice]]:
        faces = len(self.table) // len(self.conditions)
        for c, condition in enumerate(self.conditions):
            yield condition, slice(c * faces, (c + 1) * faces)


def predict_corrupted(
    models: Sequence[LoadedModel],
    table: FaceTable,
    settings: CorruptionSettings,
    predict: PredictTable = predict_table,
) -> CorruptedFaces | None:
    """Predict the faces of a table under each condition; None where the settings name none.

    Args:
        models: checkpoints or exported files.
        table: N labelled rows that none of them was trained on.
        settings: the corruptions and their strengths.
        predict: predicts a table.

    Raises:
        UserError: a strength does not fit the size of the images.
    """
    conditions = settings.conditions()
    if not conditions:
        return None
    model = models[0].model
    corrupted = corrupted_table(table, conditions, settings.seed, model.keypoints.offsets(model.offsets))
    return CorruptedFaces(conditions, corrupted, predict(models, corrupted))


def corruptions_frame(table: FaceTable, prediction: Prediction[np.ndarray], corrupted: CorruptedFaces) -> pd.DataFrame:
    """The figures of corruptions.csv: a row for the images as they are, then a row for each condition.

    Args:
        table: N faces.
        prediction: for them.
        corrupted: predictions for the corrupted faces.

    Returns:
        columns corruption, strength, points (labelled ones that count), rmse, rmse/trimmed, rmse/SOURCE for each
        source, error (mean without the worst hundredth, pixels) and, of calibrated models, expected_error.
    """
    clean = MetricInput(prediction.points, table.points, table.source, table.keypoints)
    scored = [clean, *(part for parts in corrupted.scored().values() for part in parts)]
    conditions = [(CLEAN, prediction.expected_error), *corrupted.errors()]
    return pd.DataFrame(
        [_row(condition, part, errors) for (condition, errors), part in zip(conditions, scored, strict=True)]
    )


def _row(condition: Condition, scored: MetricInput, expected: np.ndarray | None) -> dict[str, Any]:
    figures = compute_figures(scored) if scored.labelled.any() else {}
    keys = [MAIN, TRIMMED, *(METRICS[MAIN].key(source) for source in scored.keypoints.source_names)]
    distance = scored.distance[scored.labelled]
    row = {
        "corruption": condition.corruption,
        "strength": condition.strength,
        "points": int(scored.labelled.sum()),
        **{key: figures.get(key, np.nan) for key in keys},
        "error": trimmed_mean(distance) if len(distance) else np.nan,
    }
    if expected is not None:
        row["expected_error"] = float(expected[scored.labelled].mean()) if len(distance) else np.nan
    return row


def corrupted_reliability(corrupted: CorruptedFaces) -> dict[str, Any] | None:
    """Expected and measured errors of all corrupted faces together, in ten equal parts by expected error.

    Returns:
        as `facekp.models.calibration_fit.reliability`, and ``largest_deviation``: by how much the measured error of a
        part differs from the expected one at most, as a fraction of the expected one. None where the models are not
        calibrated for their decoder, or where too few points count.
    """
    if corrupted.prediction.expected_error is None or corrupted.table.mask.sum() < RELIABILITY_PARTS:
        return None
    enlarged = np.concatenate([errors for _, errors in corrupted.errors() if errors is not None])
    distance = [part.distance for parts in corrupted.scored().values() for part in parts]
    tenths = reliability(enlarged, np.concatenate(distance))
    ratio = np.array(tenths["measured"]) / np.array(tenths["expected"])
    return {**tenths, "largest_deviation": float(np.abs(ratio - 1).max())}
