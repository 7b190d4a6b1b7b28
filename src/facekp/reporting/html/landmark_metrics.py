"""Sections of the page that compares runs: metrics of landmark papers with their intervals, and scores of subsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from facekp.functional.metrics import Metric
from facekp.reporting.html import page
from facekp.reporting.html.cells import meaning, metrics_in, names_of
from facekp.reporting.html.collect import Run
from facekp.reporting.html.page import Section

WHICH = (
    "Errors are divided by a length of the face, metrics.normaliser. Failure rate and AUC: of the NME of faces, at a "
    "threshold."
)
INTERVAL = "95 % interval over resampled faces"


def landmarks_section(runs: Sequence[Run]) -> Section:
    """NME, AUC, failure rate and PCK of each run with their 95 % intervals."""
    metrics = metrics_in("landmarks", dict.fromkeys(key for run in runs for key in run.numbers))
    rows = [{**names_of(run), **_cells(run, metrics)} for run in runs]
    titles = {key: metric.title(key) for key, metric in metrics.items()}
    columns = [page.column("name", "run"), *_columns(titles, metrics, rows)]
    table = page.table("landmarks", columns, rows) if metrics else None
    return page.section("NME, failure rate, AUC, PCK", WHICH, table)


def subsets_section(runs: Sequence[Run]) -> Section:
    """The scores of each run for each subset."""
    keys = metrics_in("subsets", dict.fromkeys(key for run in runs for key in run.numbers))
    metrics = {metric.name: metric for metric in keys.values()}
    subsets = dict.fromkeys(key.removeprefix(f"{metric.name}/") for key, metric in keys.items())
    rows = [
        {**names_of(run), "subset": subset, **_cells(run, metrics, subset)}
        for subset in subsets
        for run in runs
        if any(metric.key(subset) in run.numbers for metric in metrics.values())
    ]
    titles = {name: metric.title(name) for name, metric in metrics.items()}
    columns = [page.column("name", "run"), page.column("subset", "subset"), *_columns(titles, metrics, rows)]
    note = f"A face belongs to a subset by its labels. {WHICH} Here: the last of metrics.thresholds."
    return page.section("Subsets", note, page.table("subsets", columns, rows))


def _columns(
    titles: dict[str, str], metrics: dict[str, Metric], rows: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """A column for each figure, and one for its interval if a row has one."""
    for key, title in titles.items():
        yield page.column(key, title, metrics[key].digits, hint=meaning(metrics[key]))
        if any(row[f"interval {key}"] for row in rows):
            yield _interval_column(key)


def _interval_column(key: str) -> dict[str, Any]:
    return page.column(f"interval {key}", "95 %", hint=INTERVAL)


def _cells(run: Run, metrics: dict[str, Metric], part: str = "") -> dict[str, Any]:
    """The figures of a run and their intervals, by column.

    Args:
        run: of the row.
        metrics: by column.
        part: of each metric; empty: the columns are keys of metrics.json.
    """
    cells: dict[str, Any] = {}
    for column, metric in metrics.items():
        key = metric.key(part) if part else column
        interval = run.metrics.get("intervals", {}).get(key, ())
        cells[column] = run.numbers.get(key)
        cells[f"interval {column}"] = " to ".join(map(metric.text, interval))
    return cells
