"""What tables of runs have in common: names, settings, metrics and intervals as columns and cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from facekp.core.keypoints import Keypoints
from facekp.functional.metrics import MAIN, Metric, keys_of, metrics_shown
from facekp.reporting.html import page
from facekp.reporting.html.collect import Run
from facekp.reporting.html.compare import Interval

DIGITS = 7  # decimals in the page's data: more than a page shows, so that a figure is not rounded twice


def names_of(run: Run) -> dict[str, str]:
    """``name`` is shown; ``title`` appears while the pointer rests on it."""
    return {"name": run.short_name, "title": run.name}


def interval_cells(interval: Interval | None) -> dict[str, float | None]:
    """The lower and upper end of a 95 % interval as cells; both are None without an interval."""
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def meaning(metric: Metric) -> str:
    """What a metric is, and whether lower or higher is better."""
    text = (metric.__doc__ or "").strip().split("\n")[0]
    better = f"{metric.better} is better" if metric.better else ""
    return "; ".join(part for part in (text.removesuffix("."), better) if part)


def metric_column(key: str, metric: Metric) -> dict[str, Any]:
    """The column of a metric: its title, digits, and what it means while the pointer rests on the title."""
    return page.column(key, metric.title(key), metric.digits, hint=meaning(metric))


def metrics_in(section: str, keys: Iterable[str]) -> dict[str, Metric]:
    """Those keys of metrics.json whose metric is shown in a section, with this metric.

    Args:
        section: in `Metric.sections`.
        keys: of metrics.json.
    """
    keys = list(keys)
    shown = [metric for metric in metrics_shown("report") if section in metric.sections]
    return {key: metric for metric in shown for key in keys_of(metric, keys)}


def other_metrics(runs: Sequence[Run], *sections: str) -> dict[str, Metric]:
    """Keys of metrics.json that are numbers of a metric besides the RMSE, with this metric.

    Args:
        runs: runs with metrics.json read.
        sections: where the metrics are shown.
    """
    keys = dict.fromkeys(key for run in runs for key in run.numbers)
    metrics = {key: metric for section in sections for key, metric in metrics_in(section, keys).items()}
    return {key: metric for key, metric in metrics.items() if metric.name != MAIN}


def rmse_keys(runs: Sequence[Run]) -> dict[str, str]:
    """Keys of the RMSE in metrics.json, with short titles: all rows, then sources, then keypoints."""
    schemes = [Keypoints.from_dict(run.config["keypoints"]) for run in runs]
    sources = dict.fromkeys(source for scheme in schemes for source in scheme.sources)
    names = dict.fromkeys(name for scheme in schemes for name in scheme.names)
    parts = {f"{MAIN}/{part}": part.replace("_", " ") for part in [*sources, *names]}
    measured = {key for run in runs for key in run.metrics}
    return {MAIN: "all", **{key: title for key, title in parts.items() if key in measured}}


def scores_of(run: Run, keys: Sequence[str] | dict[str, Any]) -> dict[str, float]:
    """The metrics of a run that it has."""
    numbers = run.numbers  # a metric of a plug-in may be a number in one run and a curve in another
    return {key: round(numbers[key], DIGITS) for key in keys if key in numbers}
