"""What a finished training achieved, in a line or two: against the mean face, and against the last run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from facekp.core.errors import UserError
from facekp.functional.metrics import MAIN, METRICS
from facekp.runs.comparable import last_comparable_run
from facekp.runs.folder import RunFolder

log = logging.getLogger(__name__)


def log_outcome(run: RunFolder, metrics: Mapping[str, Any]) -> None:
    """Compare a run with the mean face and with the last run on the same data; a job of a sweep with the mean face.

    Args:
        run: finished.
        metrics: content of its metrics.json.
    """
    if MAIN not in metrics:
        log.warning("nothing was scored, as no validation row has a label")
        return
    rmse, baseline = metrics[MAIN], metrics["mean_face"].get(MAIN, math.nan)
    log.log(logging.INFO if rmse < baseline else logging.WARNING, "%s", against_mean_face(rmse, baseline))
    other = None if run.status.is_file() else last_comparable_run(run)
    if other is not None:
        with suppress(UserError, OSError):  # it has just been removed
            log.info("%s", against_run(rmse, float(other.read_metrics()[MAIN]), str(other)))


def against_mean_face(rmse: float, baseline: float) -> str:
    """
    Example:
        >>> against_mean_face(2.0, 5.0)
        'better than the mean face by 60 %: RMSE 2.000 px, mean face 5.000 px'
    """
    text = METRICS[MAIN].text
    figures = f"RMSE {text(rmse)} px, mean face {text(baseline)} px"
    if rmse < baseline:
        return f"better than the mean face by {100 * (1 - rmse / baseline):.0f} %: {figures}"
    return f"not better than the mean face: {figures}; train longer (trainer.max_epochs), or try another lr"


def against_run(rmse: float, before: float, name: str) -> str:
    """
    Example:
        >>> against_run(2.0, 2.25, "outputs/first")
        'better than the last run with the same data by 0.250 px: outputs/first has 2.250 px'
    """
    text = METRICS[MAIN].text
    if text(rmse) == text(before):
        return f"as good as the last run with the same data: {name} has {text(before)} px"
    word = "better" if rmse < before else "worse"
    return f"{word} than the last run with the same data by {text(abs(rmse - before))} px: {name} has {text(before)} px"
