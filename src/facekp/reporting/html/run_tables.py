"""Tables of the page that compares runs: a row per run, a row per group, the RMSE of sources and keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from facekp.core.console import count
from facekp.functional.metrics import MAIN, METRICS, Metric
from facekp.reporting.html import figures, page
from facekp.reporting.html.cells import (
    interval_cells,
    metric_column,
    names_of,
    other_metrics,
    rmse_keys,
    scores_of,
)
from facekp.reporting.html.collect import Run
from facekp.reporting.html.compare import Interval, Pairs
from facekp.reporting.html.grouping import Group, cell, differing, short_names
from facekp.reporting.html.page import Section
from facekp.runs.sweeps.job_names import REPETITION_KEYS

OF_TRAINING = {"minutes": 1, "epochs": 0, "parameters": 0}  # further numbers of metrics.json: decimals


def runs_section(runs: Sequence[Run], bounds: Sequence[Interval | None], pairs: Pairs) -> Section:
    """A row per run, and a figure of how far each is behind the best."""
    settings = differing([run.compared for run in runs])
    metrics = other_metrics(runs, "runs")
    rows = [
        {
            **names_of(run),
            "rank": i + 1,
            "gain": None if run.gain is None else 100 * run.gain,
            "images": len(run.images) or None,
            "state": run.state,
            **interval_cells(bounds[i]),
            **{key: run.numbers.get(key) for key in (MAIN, *metrics, *OF_TRAINING)},
            **{f"setting {key}": cell(run.compared.get(key, "")) for key in settings},
        }
        for i, run in enumerate(runs)
    ]
    behind = {i: pairs[0, i] for i in range(1, len(runs)) if (0, i) in pairs}
    return page.section(
        "Runs",
        "Each setting that differs between the runs has a column. Click a column to sort.",
        page.table("runs", _runs_columns(runs, metrics, settings), rows),
        page.figure("behind", figures.behind_best([run.short_name for run in runs], behind)),
        page.note("RMSE minus that of the best run, on the images that both predicted. Bar: 95 % interval.")
        if behind
        else None,
    )


def _runs_columns(runs: Sequence[Run], metrics: dict[str, Metric], settings: Sequence[str]) -> list[dict[str, Any]]:
    """The columns of the table of runs.

    Args:
        runs: of the page.
        metrics: besides the RMSE, by their keys in metrics.json.
        settings: dotted keys that differ between the runs.
    """
    titles = short_names(settings)
    return [
        page.column("name", "run"),
        page.column("rank", "rank", 0),
        metric_column(MAIN, METRICS[MAIN]),
        *(page.column(f"setting {key}", titles[key], hint=key) for key in settings),
        page.column("low", "95 % from", 3, hint="lower end of the RMSE's 95 % interval over resampled images"),
        page.column("high", "to", 3, hint="upper end of the RMSE's 95 % interval over resampled images"),
        page.column(
            "gain",
            "better than mean face, %",
            0,
            hint="by how much the RMSE is lower than the mean face's on the same images; negative: it is higher",
        ),
        page.column("images", "images", 0, hint="validation images, whose predictions are compared"),
        *([] if all(run.is_complete for run in runs) else [page.column("state", "state")]),
        *(metric_column(key, metric) for key, metric in metrics.items()),
        *(page.column(key, key, digits) for key, digits in OF_TRAINING.items() if any(key in r.metrics for r in runs)),
    ]


def groups_section(groups: Sequence[Group], bounds: Sequence[Interval | None], left_out: str) -> Section:
    """A row per group of runs that differ only in seed or fold.

    Args:
        groups: each of at least two runs.
        bounds: the interval of each group's pooled RMSE.
        left_out: of `not_counted`.
    """
    rows = [_group_row(group, interval) for group, interval in zip(groups, bounds, strict=True)]
    rows.sort(key=lambda row: row["mean"])
    columns = [
        page.column("name", "settings"),
        page.column("runs", "runs", 0),
        page.column("mean", "mean RMSE, px", 3),
        page.column("spread", "± std", 3, hint="sample standard deviation over the runs (n - 1)"),
        page.column("best", "best", 3),
        page.column("worst", "worst", 3),
        page.column(
            "pooled",
            "pooled",
            3,
            hint="RMSE over all images; an image's squared errors are averaged over the runs",
        ),
        page.column("low", "95 % from", 3, hint="lower end of the pooled RMSE's 95 % interval over resampled images"),
        page.column("high", "to", 3, hint="upper end of the pooled RMSE's 95 % interval over resampled images"),
        page.column("repeated", "repeated with"),
    ]
    note = (
        "Runs that differ only in seed or fold are one row. The standard deviation shows how much the RMSE depends on "
        "the seed or the fold. Click a column to sort."
    )
    table = page.table("groups", columns, rows)
    return page.section("Seeds and folds", note, table, page.note(left_out) if left_out else None)


def not_counted(groups: Sequence[Group]) -> str:
    """How many runs are left out of the means of their groups, and why; empty if none is.

    Args:
        groups: of `facekp.reporting.html.grouping.group_runs`; in a group of a single run, no mean is missing.
    """
    several = [group for group in groups if len(group.runs) + group.incomplete + group.repeats > 1]
    incomplete, repeats = sum(group.incomplete for group in several), sum(group.repeats for group in several)
    reasons = [count(incomplete, "unfinished or pruned run")] if incomplete else []
    reasons += [f"{count(repeats, 'run')} with the seed, fold and split seed of a newer run"] if repeats else []
    return f"Not counted: {'; '.join(reasons)}." if reasons else ""


def _group_row(group: Group, interval: Interval | None) -> dict[str, Any]:
    rmse = np.array([run.metrics[MAIN] for run in group.runs])
    images = group.images
    values = {key: {str(cell(run.compared.get(key))) for run in group.runs} for key in REPETITION_KEYS}
    in_order = {key: sorted(of_runs, key=lambda text: (len(text), text)) for key, of_runs in values.items()}
    listed = {key: ("; " if key == "data.held_out" else " ").join(texts) for key, texts in in_order.items()}
    return {
        "name": group.name,
        "runs": len(rmse),
        "mean": float(rmse.mean()),
        "spread": float(rmse.std(ddof=1)),
        "best": float(rmse.min()),
        "worst": float(rmse.max()),
        "pooled": float(np.sqrt(images["squared"].sum() / images["values"].sum())) if len(images) else None,
        **interval_cells(interval),
        "repeated": ", ".join(
            f"{key.removeprefix('data.')} {listed[key]}" for key, texts in in_order.items() if len(texts) > 1
        ),
    }


def keypoints_section(runs: Sequence[Run]) -> Section:
    keys = rmse_keys(runs)
    columns = [
        page.column("name", "run"),
        *(page.column(key, title, 3 if key == MAIN else 2, shade=True) for key, title in keys.items()),
    ]
    rows: list[dict[str, Any]] = [{**names_of(run), **scores_of(run, keys)} for run in runs]
    baseline = {key: value for key, value in runs[0].metrics["mean_face"].items() if key in keys}
    rows.append({"name": "mean face", **baseline, "apart": True})
    return page.section(
        "RMSE by source and keypoint",
        "In pixels. The darkest cell of a column is the worst. The mean face is that of the best run's fold. Click a "
        "column to sort.",
        page.table("points", columns, rows),
    )
