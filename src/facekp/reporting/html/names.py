"""Short names of runs for tables and figures: paths of run folders come in, what tells them apart goes out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
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
    occurrences = Counter(end for name in names for end in _ends(name))
    ends = {name: _unique_end(name, occurrences) for name in names}
    sweeps: dict[PurePath, list[str]] = {}
    for name, end in ends.items():
        sweeps.setdefault(PurePath(name).parent, []).append(end)
    common = {parent: _common_settings(jobs) for parent, jobs in sweeps.items()}
    brief = {name: end[common[PurePath(name).parent] :] for name, end in ends.items()}
    uses = Counter(brief.values())
    return {name: brief[name] if uses[brief[name]] == 1 else ends[name] for name in names}


def _ends(name: str) -> list[tuple[str, ...]]:
    """The last folders of a path: one, two, and so on up to the whole path.

    Example:
        >>> _ends("a/b/c")
        [('c',), ('b', 'c'), ('a', 'b', 'c')]
    """
    parts = PurePath(name).parts
    return [parts[-count:] for count in range(1, len(parts) + 1)]


def _unique_end(name: str, occurrences: Mapping[tuple[str, ...], int]) -> str:
    """The last folders of a path, as few as possible, if the first begins with a letter and no other path ends so.

    Args:
        name: the path.
        occurrences: how many paths have each of the `_ends`.
    """
    for end in _ends(name)[:-1]:
        if end[0][:1].isalpha() and occurrences[end] == 1:
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
