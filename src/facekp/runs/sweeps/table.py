"""The jobs of a sweep as a table: sweep.csv, and what the terminal shows of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd
from rich.table import Table

from facekp.core.errors import UserError
from facekp.functional.metrics import MAIN, keys_of, metric_of, metrics_shown
from facekp.runs.folder import RunFolder, RunStatus
from facekp.runs.sweep_folder import SweepFolder

log = logging.getLogger(__name__)
DAMAGED = "damaged"  # the status of a job with a damaged file, which is not run again
STATUS_ORDER = {"ok": 0, "pruned": 1}  # all others come last
# Columns of this table and of `facekp.runs.sweeps.configurations`, besides settings and metrics
OTHER_COLUMNS = ("minutes", "status", "message", "folder", "jobs", "pruned", "missing")


def read_jobs(folder: SweepFolder, sources: Sequence[str]) -> pd.DataFrame:
    """A row per job: finished jobs first, then pruned, then failed ones; each by increasing RMSE.

    Args:
        folder: of the sweep.
        sources: names of the labelling conventions, for a sweep without a job that has begun.

    Returns:
        the settings that differ, as ``NAME (setting)`` where another column has the name; ``rmse`` and that of each
        source in pixels; other metrics shown in sweeps; ``minutes``, ``status``, ``message``, ``folder``. Metrics of a
        stopped job are those of its best epoch. NaN where a job has no value. A job with a damaged file has the status
        ``damaged``.
    """
    jobs = folder.jobs()
    found = [_read_job(job) for job in jobs]
    columns = [*_metric_columns([metrics for _, metrics in found], _sources(jobs) or sources), "minutes"]
    settings = dict.fromkeys(_setting_column(key) for status, _ in found for key in status.differs)
    rows = []
    for job, (status, metrics) in zip(jobs, found, strict=True):
        differs = {_setting_column(key): value for key, value in status.differs.items()}
        row = {**differs, **{name: metrics.get(name) for name in columns}}
        rows.append({**row, "status": status.status, "message": status.message, "folder": job.path.name})
    table = pd.DataFrame(rows, columns=[*settings, *columns, "status", "message", "folder"])
    ranked = table.sort_values(MAIN, na_position="last", kind="stable")
    return ranked.sort_values("status", key=lambda s: s.map(STATUS_ORDER).fillna(2), kind="stable", ignore_index=True)


def _read_job(job: RunFolder) -> tuple[RunStatus, dict[str, Any]]:
    """Status and metrics of a job; of one with a damaged file the status ``damaged``, with the reason."""
    try:
        if job.overrides.is_file():
            job.read_overrides()  # the best job's are shown as a command
        status = job.read_status()
        return status, job.read_metrics() if status.status == "ok" or job.metrics.is_file() else {}
    except UserError as error:
        log.warning("damaged: %s", error)
        return RunStatus(DAMAGED, str(error), job.known_status().differs), {}


def _sources(jobs: Sequence[RunFolder]) -> list[str]:
    """The sources of all jobs' schemes, which differ if ``keypoints`` is swept."""
    names: dict[str, None] = {}
    for job in jobs:
        with suppress(UserError):  # not begun, or damaged, which is reported elsewhere
            names |= dict.fromkeys(job.read_config()["keypoints"].get("sources") or ())
    return list(names)


def _setting_column(name: str) -> str:
    return f"{name} (setting)" if name in OTHER_COLUMNS or metric_of(name) is not None else name


def _metric_columns(metrics: Sequence[Mapping[str, Any]], sources: Sequence[str]) -> list[str]:
    """Keys of metrics.json that are shown: the RMSE of all and of each source, and all parts of other metrics."""
    numbers = dict.fromkeys(key for found in metrics for key, value in found.items() if isinstance(value, (int, float)))
    others = [key for declared in metrics_shown("sweep") if declared.name != MAIN for key in keys_of(declared, numbers)]
    return [MAIN, *(f"{MAIN}/{source}" for source in sources), *others]


def sweep_table(jobs: pd.DataFrame, title: str) -> Table:
    """The jobs of `read_jobs` without their long cells and the parts of other metrics than RMSE, for the terminal."""
    table = Table(title=f"validation RMSE in pixels, {title}")
    shown = jobs.drop(columns=["message", "folder", *filter(_is_part, jobs.columns)])
    for name in shown.columns:
        table.add_column(name.removeprefix(f"{MAIN}/"), justify="right" if _is_number(name) else "left")
    for _, job in shown.iterrows():
        table.add_row(*(_cell(str(name), value) for name, value in job.items()))
    return table


def _is_part(column: str) -> bool:
    """Whether a column is a part of another metric than RMSE, such as the AUC at a threshold."""
    metric = metric_of(column)
    return metric is not None and metric.name != MAIN and "/" in column


def _is_number(column: str) -> bool:
    return column == "minutes" or metric_of(column) is not None


def _cell(column: str, value: Any) -> str:
    if pd.isna(value):
        return ""
    metric = metric_of(column)
    if metric is not None:
        return metric.text(value)
    return f"{value:.3f}" if column == "minutes" else str(value)
