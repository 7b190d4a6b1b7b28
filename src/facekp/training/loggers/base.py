"""`RunLogger`: a logger that also gets the final figures of a run, and is closed when the run ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from pytorch_lightning.callbacks import Checkpoint

from facekp.data.table import FaceTable
from facekp.models.keypoint_model import KeypointModel


class RunLogger(Checkpoint):
    """Base class of facekp's loggers, which are callbacks.

    It is a `Checkpoint` so that Lightning calls it after all other callbacks, when the epoch's metrics are complete.
    """

    def log_end(self, figures: dict[str, Any], model: KeypointModel, table: FaceTable, points: np.ndarray) -> None:
        """Log the results of a finished run.

        Args:
            figures: content of metrics.json.
            model: model of the best checkpoint.
            table: N validation rows.
            points: (N, K, 2) predictions for them, in pixels.
        """

    def close(self) -> None:
        """Send or write everything; called once, after success and after failure."""


def flat_figures(figures: dict[str, Any]) -> dict[str, Any]:
    """metrics.json on one level and without curves; an interval is two figures, ``low`` and ``high``.

    Example:
        >>> flat_figures({"rmse": 1.5, "mean_face": {"rmse": 3.0}, "curve": {"pixels": [0.1], "share": [0.0]}})
        {'rmse': 1.5, 'mean_face/rmse': 3.0}
        >>> flat_figures({"intervals": {"rmse": [1.4, 1.7]}})
        {'intervals/rmse/low': 1.4, 'intervals/rmse/high': 1.7}
    """
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if name == "intervals":
            for key, bounds in value.items():
                flat |= {f"{name}/{key}/{end}": bound for end, bound in zip(("low", "high"), bounds, strict=True)}
        elif isinstance(value, dict):
            flat |= {f"{name}/{key}": number for key, number in value.items() if isinstance(number, (int, float))}
        else:
            flat[name] = value
    return flat
