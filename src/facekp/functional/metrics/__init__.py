r"""Metrics: how far predicted points lie from the labels.

Predictions and labels of a whole evaluation come in (`MetricInput`), figures for metrics.json go out. A metric is
declared once, by `metric`, and then appears in metrics.json, metrics.csv, the console, the report, sweep.csv and W&B.
Another package adds one in the same way and declares an entry point, or is named by ``plugins=[mymodule]``::

    from facekp.functional.metrics import MetricInput, metric

    @metric("failures", label="faces off by more than 5 px", unit="fraction", digits=4, better="lower")
    def failures(scored: MetricInput) -> float:
        worst = np.nanmax(scored.distance, axis=1, initial=0)  # (N,)
        return float((worst > 5).mean())

A metric that returns a `Ratio` of sums over faces also has a 95 % interval over resampled faces.
RMSE = :math:`\sqrt{\sum e^2 / n}` over all labelled coordinates, as the competition scores it.
`facekp.functional.pooled_errors` keeps sums and counts, never a mean of per-batch figures, so uneven batches and
several processes give the same result. Axes: N faces, K points, S sources, B bins.
"""

from facekp.functional.metrics import normalised, subsets  # noqa: F401  they declare metrics
from facekp.functional.metrics.baseline import mean_face
from facekp.functional.metrics.declaration import (
    MAIN,
    METRICS,
    PLACES,
    RESERVED,
    Curve,
    Metric,
    Place,
    Ratio,
    Value,
    metric,
)
from facekp.functional.metrics.intervals import compute_intervals
from facekp.functional.metrics.lookup import (
    POOLED,
    all_metrics,
    compute_figures,
    epoch_metrics,
    figures_and_ratios,
    keys_of,
    metric_of,
    metrics_shown,
)
from facekp.functional.metrics.metric_input import MetricInput
from facekp.functional.metrics.pixels import trimmed_mean
from facekp.functional.metrics.settings import ScoreSettings, check_normaliser

__all__ = [
    "MAIN",
    "METRICS",
    "PLACES",
    "POOLED",
    "RESERVED",
    "Curve",
    "Metric",
    "MetricInput",
    "Place",
    "Ratio",
    "ScoreSettings",
    "Value",
    "all_metrics",
    "check_normaliser",
    "compute_figures",
    "compute_intervals",
    "epoch_metrics",
    "figures_and_ratios",
    "keys_of",
    "mean_face",
    "metric",
    "metric_of",
    "metrics_shown",
    "trimmed_mean",
]
