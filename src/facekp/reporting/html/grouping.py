"""Runs in groups that differ only in seed or fold, and how their settings are named in tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from facekp.core.console import values_text
from facekp.reporting.html.collect import Run
from facekp.runs.sweeps.job_names import REPETITION_KEYS


def differing(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Keys of flat configs whose value is not the same in all of them, in their order.

    Example:
        >>> differing([{"lr": 1, "seed": 0}, {"lr": 1.0, "seed": 1, "new": None}])
        ['seed', 'new']
    """
    keys = list(dict.fromkeys(key for config in configs for key in config))
    return [key for key in keys if len({_comparable(config, key) for config in configs}) > 1]


def _comparable(config: dict[str, Any], key: str) -> str:
    """A value as text, such that 1 and 1.0 are equal and a missing key differs from every value."""
    value = config.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:.12g}"
    return repr(value) if key in config else ""


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Column titles for keys: the last part, or the group for ``.name``; the whole key where two would be equal.

    Example:
        >>> short_names(["optimizer.name", "model.scale", "data.scale"])
        {'optimizer.name': 'optimizer', 'model.scale': 'model.scale', 'data.scale': 'data.scale'}
    """
    last = {key: key.removesuffix(".name").rsplit(".", 1)[-1] for key in keys}
    return {key: name if list(last.values()).count(name) == 1 else key for key, name in last.items()}


def cell(value: Any) -> Any:
    """A setting as a table shows it: true, false and null as in YAML.

    Example:
        >>> cell(0.5), cell(None), cell([True, "Left"])
        (0.5, 'null', '[true, "Left"]')
        >>> cell({"pose": ["large"], "split": ["train", "val"]})
        'pose: large, split: train or val'
    """
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return values_text(value)
    return json.dumps(value, ensure_ascii=False, default=str)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ only in seed or fold.

    Attributes:
        name: the settings that differ between the groups.
        runs: the finished runs, one for each seed and split; may be empty.
        incomplete: number of unfinished and pruned runs, which are not among ``runs``.
        repeats: number of finished runs with the seed and split of a newer one, which are not among ``runs`` either.
    """

    name: str
    runs: list[Run]
    incomplete: int = 0
    repeats: int = 0

    @property
    def split(self) -> str:
        """As `Run.split`; of several splits, their number."""
        splits = dict.fromkeys(run.split for run in self.runs)
        return next(iter(splits)) if len(splits) == 1 else f"{len(splits)} splits"

    @cached_property
    def images(self) -> pd.DataFrame:
        """As `Run.images`; an image that several runs predicted has the mean of their squared errors."""
        images = pd.concat([run.images for run in self.runs]).groupby(level=[0, 1, 2], sort=True)
        return images.agg({"squared": "mean", "values": "mean", "group": "min"})


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Runs grouped by their settings apart from seed and fold, in the order of each group's first run.

    Runs of one fold whose labels differ are in different groups: the files have changed between them.
    """
    members: dict[tuple[str, int], list[Run]] = {}
    scored: dict[str, list[pd.Index]] = {}  # the different labels that runs of equal settings and split were scored on
    for run in runs:
        fixed = sorted(key for key in run.compared if key not in REPETITION_KEYS)
        settings = "\n".join(f"{key}={_comparable(run.compared, key)}" for key in fixed)
        version = _position(run.images.index, scored.setdefault(f"{settings}\n{run.split}", []))
        members.setdefault((settings, version), []).append(run)
    firsts = [group[0].compared for group in members.values()]
    keys = [key for key in differing(firsts) if key not in REPETITION_KEYS]
    titles = short_names(keys)
    groups = []
    for first, (key_of_group, group) in zip(firsts, members.items(), strict=True):
        settings = " ".join(f"{titles[key]}={cell(first[key])}" for key in keys if key in first)
        version = key_of_group[1]
        complete = [run for run in group if run.is_complete]
        counted = _newest_of_each_seed(complete)
        name = (settings or "all runs") + (f", other labels ({version})" if version else "")
        groups.append(Group(name, counted, len(group) - len(complete), len(complete) - len(counted)))
    return groups


def _newest_of_each_seed(runs: Sequence[Run]) -> list[Run]:
    """Of runs with equal seed, fold and split seed the newest: copies and repeats tell nothing about the spread."""
    newest: dict[tuple[str, ...], Run] = {}
    for run in runs:
        repeated = tuple(_comparable(run.compared, key) for key in REPETITION_KEYS)
        if repeated not in newest or run.written > newest[repeated].written:
            newest[repeated] = run
    return list(newest.values())


def _position(index: pd.Index, known: list[pd.Index]) -> int:
    """The position of an index among known ones, where it is added if it is new; 0 for an empty one."""
    if not len(index):
        return 0
    for position, other in enumerate(known):
        if index.equals(other):
            return position
    known.append(index)
    return len(known) - 1
