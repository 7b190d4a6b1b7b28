"""Short names of runs for tables and figures: paths of run folders come in, what tells them apart goes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath

SETTING = re.compile(r"[^-]*-[^_]*_?")  # of a job's name: ``optimizer-sgd_``, then ``lr-1e-3``


def brief_names(names: Sequence[str]) -> dict[str, str]:
    """A short name for each run: without the folders and settings that all runs share.

    Folders are left out from the left, as long as the rest begins with a letter and stays unique. Settings are left
    out if the names of all jobs of the sweep begin with them.

    Args:
        names: unique paths, relative to a common folder.

    Example:
        >>> list(brief_names(["a/data-x_lr-1e-3", "a/data-x_lr-2e-3", "2026-01-31/12-00-00"]).values())
        ['lr-1e-3', 'lr-2e-3', '2026-01-31/12-00-00']
    """
    ends = {name: _unique_end(name, names) for name in names}
    sweeps: dict[PurePath, list[str]] = {}
    for name, end in ends.items():
        sweeps.setdefault(PurePath(name).parent, []).append(end)
    brief = {name: end[_common_settings(sweeps[PurePath(name).parent]) :] for name, end in ends.items()}
    short = list(brief.values())
    return {name: brief[name] if short.count(brief[name]) == 1 else ends[name] for name in names}


def _unique_end(name: str, names: Sequence[str]) -> str:
    """The last folders of a path, as few as possible, if the first begins with a letter and no other path ends so."""
    parts = PurePath(name).parts
    for count in range(1, len(parts)):
        end = parts[-count:]
        if end[0][:1].isalpha() and sum(PurePath(other).parts[-count:] == end for other in names) == 1:
            return "/".join(end)
    return name


def _common_settings(jobs: Sequence[str]) -> int:
    """Length of the settings that the names of all jobs begin with, as long as the same key follows in all of them."""
    columns = list(zip(*(SETTING.findall(job) for job in jobs), strict=False))  # the settings by position
    length = 0
    for settings, following in pairwise(columns if len(jobs) > 1 else []):
        keys = {setting.partition("-")[0] for setting in following}
        if len(set(settings)) > 1 or len(keys) > 1 or not keys.pop()[:1].isalpha():
            break
        length += len(settings[0])
    return length
