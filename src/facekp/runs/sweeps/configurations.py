"""The jobs of a sweep by configuration: the mean and standard deviation over folds and seeds.

A fold or a seed is not a setting to choose: the easiest fold has the lowest RMSE. Jobs that differ in nothing else are
repetitions of one configuration. A search prunes jobs whose RMSE is too high. Without them the mean would be too low,
so a pruned job counts with its best RMSE up to then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.table import Table

from facekp.config.arguments import key_of
from facekp.core.errors import UserError
from facekp.core.settings import flatten
from facekp.functional.metrics import MAIN, metric_of
from facekp.runs.folder import FIND, RunFolder
from facekp.runs.resume_arguments import DATA_PATHS, MACHINE
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.job_names import KEY_OF_REPETITION, MAPPINGS, REPETITION_KEYS

KEY_OF_COLUMN = KEY_OF_REPETITION | {key: key for key in REPETITION_KEYS}  # columns of a sweep's table
DEVIATION = "_sd"  # at the end of a column's name: the standard deviation of the column
PRUNED = "pruned"  # a job's status, and the column with the number of such jobs
SIZE, CHANNELS = "data.size", "data.channels"
# Keys in which the jobs of one configuration may differ
NOT_COMPARED = (*REPETITION_KEYS, "out", "resume", "debug", "plugins", "callbacks.progress", *MACHINE, *DATA_PATHS)
MAX_KEYS_NAMED = 3  # keys that a warning names


def repeated_keys(jobs: pd.DataFrame) -> list[str]:
    """The keys whose values are repetitions and differ between the jobs; empty: every job is a configuration.

    Args:
        jobs: of `facekp.runs.sweeps.table.read_jobs`.
    """
    return [KEY_OF_COLUMN[name] for name in _settings(jobs) if name in KEY_OF_COLUMN]


def by_configuration(jobs: pd.DataFrame) -> pd.DataFrame:
    """A row per configuration; complete ones first, each by increasing mean RMSE.

    Args:
        jobs: of `facekp.runs.sweeps.table.read_jobs`.

    Returns:
        the settings that differ apart from repetitions; ``jobs``, how many of them are finished; ``pruned``, how many
        were pruned, where a job was; ``missing``, how many are neither; for the RMSE of all and of each source its mean
        over finished and pruned jobs and, as ``rmse_sd``, its standard deviation (NaN of one job), both NaN where none
        is finished; ``minutes``, the mean of finished jobs; ``folder`` of the finished job with the lowest RMSE.
    """
    settings = [name for name in _settings(jobs) if name not in KEY_OF_COLUMN]
    groups: Any = jobs.groupby(settings, dropna=False, sort=False) if settings else [((), jobs)]
    rows = [{**dict(zip(settings, key, strict=True)), **_summary(group)} for key, group in groups]
    ranked = pd.DataFrame(rows).astype({MAIN: float})
    if not ranked[PRUNED].any():
        ranked = ranked.drop(columns=PRUNED)
    return ranked.sort_values(["missing", MAIN], kind="stable", ignore_index=True)


def _settings(jobs: pd.DataFrame) -> list[str]:
    """The columns of the settings that differ, which come before the metrics."""
    return [str(name) for name in jobs.columns[: jobs.columns.get_loc(MAIN)]]


def _summary(jobs: pd.DataFrame) -> dict[str, Any]:
    finished = jobs[jobs["status"] == "ok"]
    pruned = jobs[(jobs["status"] == PRUNED) & jobs[MAIN].notna()]
    missing = len(jobs) - len(finished) - len(pruned)
    summary: dict[str, Any] = {"jobs": len(finished), PRUNED: len(pruned), "missing": missing}
    counted = pd.concat([finished, pruned]) if len(finished) else finished
    for name in (name for name in jobs if name == MAIN or str(name).startswith(f"{MAIN}/")):
        values = counted[name].astype(float)
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
        is_number = name in ("jobs", PRUNED, "missing", "minutes") or metric_of(name) is not None
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


@dataclass(frozen=True)
class _Origin:
    """What the result of a job comes from.

    Attributes:
        name: of the job's folder.
        settings: values as JSON by dotted key, without those that may differ between repetitions.
        digests: of the data and the initial weights.
        rows: validation rows.
    """

    name: str
    settings: dict[str, str]
    digests: dict[str, Any]
    rows: list[int]


def comparison_warnings(folder: SweepFolder, jobs: pd.DataFrame) -> list[str]:
    """Why the RMSE of finished jobs can't be compared: at most one line for repetitions, and one for configurations.

    Each line names two jobs. Jobs whose files are missing or damaged are left out.

    Args:
        folder: folder of the sweep.
        jobs: of `facekp.runs.sweeps.table.read_jobs`.
    """
    finished = jobs[(jobs["status"] == "ok") & jobs[MAIN].notna()]
    names = _settings(jobs)
    repeated = [name for name in names if name in KEY_OF_COLUMN]
    others = [name for name in names if name not in KEY_OF_COLUMN]
    origins = {str(name): origin for name in finished["folder"] if (origin := _origin(folder.job(name))) is not None}
    repetitions = (_repetition_warning(*pair) for pair in _pairs(finished, others, origins))
    configurations = (_configuration_warning(*pair) for pair in _pairs(finished, repeated, origins))
    first = [next(filter(None, texts), "") for texts in (repetitions, configurations)]
    return [text for text in first if text]


def _pairs(
    jobs: pd.DataFrame, same: Sequence[str], origins: Mapping[str, _Origin]
) -> Iterator[tuple[_Origin, _Origin]]:
    """The first job and each other one, of all jobs with the same values of some settings."""
    groups: Any = jobs.groupby(list(same), dropna=False, sort=False) if same else [((), jobs)]
    for _, group in groups:
        known = [origins[name] for name in group["folder"] if name in origins]
        yield from ((known[0], other) for other in known[1:])


def _origin(job: RunFolder) -> _Origin | None:
    """None where a file is missing or damaged, as the sweep ends without it."""
    try:
        overrides = job.read_overrides()
        split = job.read_split()
        settings, digests = flatten(job.read_config(), whole=MAPPINGS), job.read_data()
        rows = split.loc[split["set"] == "val", "row"].tolist()
    except (UserError, KeyError):
        return None
    # such as init_from=fold${data.fold}.ckpt, of which Hydra's sweeper makes fold$\{data.fold\}.ckpt
    derived = [key_of(text) for text in overrides if "${" in text.replace("\\", "")]
    if job.has_searched_lr():
        settings["lr"] = FIND
    ignored = {*NOT_COMPARED, *derived}
    texts = {key: json.dumps(value, default=str).replace(str(job), "") for key, value in settings.items()}
    kept = {key: text for key, text in texts.items() if key not in ignored and not key.startswith("logger.")}
    files = {key: digest for key, digest in digests.items() if not {key, f"{key}.ckpt"} & ignored}
    return _Origin(job.path.name, kept, files, rows)


def _different(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Keys of both whose values differ."""
    return [key for key in one if key in other and one[key] != other[key]]


def _repetition_warning(one: _Origin, other: _Origin) -> str:
    """What two repetitions of one configuration differ in, apart from what is repeated; empty: in nothing."""
    keys = [key for key in {**one.settings, **other.settings} if one.settings.get(key) != other.settings.get(key)]
    parts = [f"{key} ({_value(one, key)}, {_value(other, key)})" for key in keys[:MAX_KEYS_NAMED]]
    parts += [f"{len(keys) - MAX_KEYS_NAMED} more settings"] if len(keys) > MAX_KEYS_NAMED else []
    files = _different(one.digests, other.digests)
    parts += [f"the content of {' and '.join(files)}"] if files else []
    if not parts:
        return ""
    return (
        f"{one.name} and {other.name} count as repetitions of one configuration, but differ in {', '.join(parts)}; "
        "train them again in a new sweep"
    )


def _value(job: _Origin, key: str) -> str:
    return job.settings.get(key, "not given").strip('"')


def _configuration_warning(one: _Origin, other: _Origin) -> str:
    """Why the RMSE of two configurations can't be compared; empty: they can."""
    two = f"{one.name} and {other.name}"
    keys = _different(one.settings, other.settings)
    if one.rows != other.rows:
        rows = f"{len(one.rows)} and {len(other.rows)}"
        return f"{two} have different validation rows ({rows}), so their RMSE can't be compared"
    if SIZE in keys:
        sizes = f"{SIZE} ({_value(one, SIZE)}, {_value(other, SIZE)})"
        return f"{two} differ in {sizes}, so their RMSE in pixels can't be compared; compare NME"
    read = ["labels"] if CHANNELS in keys else ["images", "labels"]  # grey and coloured images show the same faces
    if changed := [key for key in _different(one.digests, other.digests) if key in read]:
        return f"{two} have different {' and '.join(changed)}, so their RMSE can't be compared"
    return ""
