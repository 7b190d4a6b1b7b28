"""Metrics as a table on the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from facekp.core.keypoints import Keypoints
from facekp.functional.metrics import MAIN, METRICS, keys_of, metric_of, metrics_shown


def metrics_table(metrics: dict[str, Any], keypoints: Keypoints, title: str) -> Table:
    """RMSE of all rows, of each source and of each keypoint, then the other metrics, each beside the mean face's.

    Args:
        metrics: of `facekp.models.scoring.score_predictions`.
        keypoints: gives the order of the rows.
        title: what was scored.
    """
    table = Table(title=title)
    for heading in ("", "network", "mean face"):
        table.add_column(heading, justify="left" if not heading else "right")
    sources = keypoints.source_names if len(keypoints.sources) > 1 else []
    for parts in ([""], sources, keypoints.names):
        for part in parts:
            _add_row(table, METRICS[MAIN].key(part), part or "all", metrics)
        table.add_section()
    numbers = [key for key, value in metrics.items() if isinstance(value, (int, float))]
    for metric in metrics_shown("console"):
        if metric.name != MAIN:
            for key in keys_of(metric, numbers):
                _add_row(table, key, metric.title(key), metrics)
    return table


def _add_row(table: Table, key: str, label: str, metrics: dict[str, Any]) -> None:
    """A row with the network's figure and that of the baseline; none for a figure that does not exist."""
    metric = metric_of(key)
    if key in metrics and metric is not None:
        table.add_row(label, metric.text(metrics[key]), metric.text(metrics["mean_face"].get(key)))
