"""Metrics as tables on the terminal."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from rich.table import Table

from facekp.core.keypoints import Keypoints
from facekp.data.corruptions import UNITS
from facekp.functional.metrics import MAIN, METRICS, keys_of, metric_of, metrics_shown

ROUNDING = 1e-9  # per cent; a bound of 7 % may be a little more after floating-point arithmetic


def metrics_table(metrics: dict[str, Any], keypoints: Keypoints, title: str) -> Table:
    """RMSE of all rows, of each source and of each keypoint, then the other metrics, each beside the mean face's.

    Args:
        metrics: of `facekp.models.scoring.score_predictions`.
        keypoints: gives the order of the rows.
        title: what was scored.
    """
    table = Table(title=title)
    intervals = ["95 % interval"] if metrics.get("intervals") else []
    for heading in ("", "network", *intervals, "mean face"):
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
        intervals = metrics.get("intervals")
        interval = [" to ".join(map(metric.text, intervals.get(key, [])))] if intervals else []
        table.add_row(label, metric.text(metrics[key]), *interval, metric.text(metrics["mean_face"].get(key)))


def corruptions_table(corruptions: pd.DataFrame) -> Table:
    """The RMSE of each corruption and strength, and how many labelled points count.

    Args:
        corruptions: of `facekp.models.robustness.corruptions_frame`.
    """
    keys = [str(column) for column in corruptions if str(column).startswith(MAIN)]
    keys.sort(key=lambda key: key != "rmse/trimmed")  # the figure that wrong labels do not decide comes first
    table = Table(title="corrupted images, RMSE in pixels")
    table.add_column("corruption")
    for heading in ("strength", *(key.replace("rmse/trimmed", "without worst 1 %") for key in keys), "points"):
        table.add_column(heading.removeprefix(f"{MAIN}/").replace(MAIN, "all"), justify="right")
    before = ""
    for row in corruptions.to_dict("records"):
        if row["corruption"] != before:
            table.add_section()
        shown = "" if row["corruption"] == before else row["corruption"]
        before = row["corruption"]
        figures = ["" if math.isnan(row[key]) else f"{row[key]:.3f}" for key in keys]
        table.add_row(shown, strength_text(row["corruption"], row["strength"]), *figures, str(row["points"]))
    return table


def strength_text(corruption: str, strength: float) -> str:
    """A strength with its unit; empty for images as they are.

    Example:
        >>> strength_text("rotation", 15.0), strength_text("contrast", 0.5), strength_text("none", 0.0)
        ('15 °', '0.5', '')
    """
    return f"{strength:g} {UNITS.get(corruption, '')}".strip() if strength else ""


def reliability_table(reliability: dict[str, Any]) -> Table:
    """Expected and measured errors of ten equal parts of the points.

    Args:
        reliability: of `facekp.models.robustness.corrupted_reliability`.
    """
    bound = math.ceil(100 * reliability["largest_deviation"] - ROUNDING)
    table = Table(
        title=f"{reliability['points']} points of corrupted images, also of faces that calibrate may have fitted on: "
        f"at most {bound} % off"
    )
    for heading in ("tenth", "expected, px", "measured, px", "difference"):
        table.add_column(heading, justify="right")
    pairs = zip(reliability["expected"], reliability["measured"], strict=True)
    for i, (expected, measured) in enumerate(pairs, start=1):
        table.add_row(str(i), f"{expected:.2f}", f"{measured:.2f}", f"{measured / expected - 1:+.0%}")
    return table
