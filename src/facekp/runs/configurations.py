"""The jobs of a sweep by configuration: the mean and standard deviation over folds and seeds.

A fold or a seed is not a setting to choose: the easiest fold has the lowest RMSE. Jobs that differ in nothing else are
repetitions of one configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.table import Table

from facekp.config.command import key_of
from facekp.functional.metrics import MAIN, metric_of
from facekp.runs.job_names import REPETITIONS

# Keys of which the values are repetitions, by the names that they have in a sweep's table. `facekp.runs.job_names`
# shortens no other key to these names.
REPEATED = REPETITIONS | {key: key for key in REPETITIONS.values()}
DEVIATION = "_sd"  # at the end of a column's name: the standard deviation of the column


def repeated_keys(jobs: pd.DataFrame) -> list[str]:
    """The keys whose values are repetitions and differ between the jobs; empty: every job is a configuration.

    Args:
        jobs: of `facekp.runs.sweep_table.read_jobs`.
    """
    return [REPEATED[name] for name in _settings(jobs) if name in REPEATED]


def by_configuration(jobs: pd.DataFrame) -> pd.DataFrame:
    """A row per configuration; complete ones first, each by increasing mean RMSE.

    Args:
        jobs: of `facekp.runs.sweep_table.read_jobs`.

    Returns:
        the settings that differ apart from repetitions; ``jobs``, how many of them are finished; ``missing``, how many
        are not; for the RMSE of all and of each source its mean and, as ``rmse_sd``, its standard deviation (NaN of one
        job); ``minutes``, the mean; ``folder`` of the job with the lowest RMSE.
    """
    settings = [name for name in _settings(jobs) if name not in REPEATED]
    groups: Any = jobs.groupby(settings, dropna=False, sort=False) if settings else [((), jobs)]
    rows = [{**dict(zip(settings, key, strict=True)), **_summary(group)} for key, group in groups]
    ranked = pd.DataFrame(rows).astype({MAIN: float})
    return ranked.sort_values(["missing", MAIN], kind="stable", ignore_index=True)


def _settings(jobs: pd.DataFrame) -> list[str]:
    """The columns of the settings that differ, which come before the metrics."""
    return [str(name) for name in jobs.columns[: jobs.columns.get_loc(MAIN)]]


def _summary(jobs: pd.DataFrame) -> dict[str, Any]:
    finished = jobs[jobs["status"] == "ok"]
    summary: dict[str, Any] = {"jobs": len(finished), "missing": len(jobs) - len(finished)}
    for name in (name for name in jobs if name == MAIN or str(name).startswith(f"{MAIN}/")):
        values = finished[name].astype(float)
        summary |= {str(name): values.mean(), f"{name}{DEVIATION}": values.std()}
    return {**summary, "minutes": finished["minutes"].mean(), "folder": next(iter(finished["folder"]), None)}


def command_of(overrides: Sequence[str], repeated: Sequence[str]) -> list[str]:
    """Arguments that train a configuration, with the default fold and seed.

    Args:
        overrides: of one of its jobs.
        repeated: keys whose values are repetitions.

    Example:
        >>> command_of(["lr=1e-3", "data.fold=2", "seed=7"], ["data.fold"])
        ['lr=1e-3', 'seed=7']
    """
    return [override for override in overrides if key_of(override) not in repeated]


def configurations_table(configurations: pd.DataFrame, repeated: Sequence[str]) -> Table:
    """The configurations of `by_configuration`, for the terminal."""
    table = Table(title=f"mean ± standard deviation over {' and '.join(repeated)}")
    hidden = ("folder", *(name for name in configurations if str(name).endswith(DEVIATION)))
    shown = [str(name) for name in configurations if name not in hidden]
    for name in shown:
        is_number = name in ("jobs", "missing", "minutes") or metric_of(name) is not None
        table.add_column(name.removeprefix(f"{MAIN}/"), justify="right" if is_number else "left")
    for _, row in configurations.iterrows():
        table.add_row(*(_cell(name, row) for name in shown))
    return table


def _cell(name: str, row: pd.Series) -> str:
    if pd.isna(row[name]):
        return ""
    if metric_of(name) is not None:
        return mean_and_deviation(row, name)
    return f"{row[name]:.3f}" if name == "minutes" else str(row[name])


def mean_and_deviation(row: pd.Series, name: str = MAIN) -> str:
    """``1.234 ± 0.056``; without the deviation where there is one job."""
    metric: Any = metric_of(name)
    parts = [row[name], row[f"{name}{DEVIATION}"]]
    return " ± ".join(metric.text(value) for value in parts if not pd.isna(value))
