"""All metrics: which are shown where, which one a key of metrics.json belongs to, and their figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from facekp.core.errors import UserError
from facekp.functional.metrics.declaration import METRICS, Metric, Place, Ratio
from facekp.functional.metrics.metric_input import MetricInput

POOLED = ("rmse", "nme")  # `KeypointErrors` computes these batch by batch at every validation


def all_metrics() -> list[Metric]:
    """Every metric: facekp's own, those of installed packages, those of ``plugins=``."""
    return [METRICS[name] for name in METRICS.names()]


def metrics_shown(place: Place) -> list[Metric]:
    """The metrics that appear at a place."""
    return [declared for declared in all_metrics() if place in declared.shown]


def epoch_metrics() -> list[Metric]:
    """The metrics that are computed after every epoch in addition to those of `KeypointErrors`."""
    return [declared for declared in metrics_shown("epoch") if declared.name not in POOLED]


def metric_of(key: str) -> Metric | None:
    """The metric that a key of metrics.json belongs to; None where none is declared.

    Example:
        >>> metric_of("rmse/nose_tip").name, metric_of("rmse/trimmed").name, metric_of("minutes")
        ('rmse', 'rmse/trimmed', None)
    """
    declared = METRICS.names()
    name = key
    while name and name not in declared:
        name = name.rpartition("/")[0]
    return METRICS[name] if name else None


def keys_of(declared: Metric, keys: Iterable[str]) -> list[str]:
    """Those keys of metrics.json that belong to a metric, in their order."""
    return [key for key in keys if metric_of(key) is declared]


def compute_figures(scored: MetricInput) -> dict[str, Any]:
    """The figures of every metric, by their key in metrics.json.

    Raises:
        UserError: a metric can't be computed.
    """
    return figures_and_ratios(scored)[0]


def figures_and_ratios(scored: MetricInput) -> tuple[dict[str, Any], dict[str, Ratio]]:
    """As `compute_figures`, and those of the figures that are a `Ratio`, which can be resampled.

    Raises:
        UserError: a metric can't be computed, or returns a key of an earlier metric.
    """
    figures: dict[str, Any] = {}
    ratios: dict[str, Ratio] = {}
    owners: dict[str, Metric] = {}  # by key
    for declared in all_metrics():
        if scored.confidence is not None or not declared.needs_confidence:
            more_figures, more_ratios = declared.figures_and_ratios(scored)
            if taken := next((key for key in more_figures if key in owners), None):
                owner = owners[taken]
                raise UserError(
                    f"metric {declared.name!r} ({declared.where}): its key {taken} is taken by the metric "
                    f"{owner.name!r} ({owner.where}); rename the metric or its part"
                )
            owners |= dict.fromkeys(more_figures, declared)
            figures |= more_figures
            ratios |= more_ratios
    return figures, ratios
