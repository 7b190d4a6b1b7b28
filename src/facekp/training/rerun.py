"""``rerun=DIR``: a run is repeated from its folder alone, and all that could make a difference is reported.

On a CPU with the same versions, instructions and number of threads the metrics are equal to the last bit. The number of
threads is set to that of the run; everything else can only be compared (`facekp.runs.environment`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from facekp.runs.environment import differences, environment
from facekp.runs.folder import RunFolder
from facekp.training.resume import changed_data

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
MAX_THREADS = 1024  # a damaged file must not start more
NOT_COMPARED = ("minutes", "checkpoint")  # keys of metrics.json that differ in any case


def restore_environment(run: RunFolder) -> None:
    """Set the number of threads to that of a run, and warn of what differs from its environment.

    Raises:
        UserError: environment.yaml is damaged.
    """
    before = run.read_environment()
    if not before:
        log.warning("rerun=%s: an older version wrote it, so its number of threads and versions are unknown", run)
        return
    threads = before.get("threads")
    if isinstance(threads, int) and 1 <= threads <= MAX_THREADS and threads != torch.get_num_threads():
        log.info("rerun=%s: threads: %d, as in the run", run, threads)
        torch.set_num_threads(threads)
    for text in differences(before, environment()):
        log.warning("rerun=%s: %s; the results may differ in their last digits", run, text)


def warn_of_changed_data(run: RunFolder, digests: Mapping[str, str], split: pd.DataFrame) -> None:
    """Warn of data that have changed since a run, or of another split, as by changed attributes of the faces.

    Args:
        run: the earlier run, which is repeated.
        digests: of the data now (`facekp.training.resume.data_digests`).
        split: the set of every row now (`facekp.runs.frames.split_frame`).

    Raises:
        UserError: data.yaml or split.csv is damaged.
    """
    changed = changed_data(run.read_data(), digests)
    if not changed and run.split.is_file():
        before, now = (
            frame.reindex(columns=["row", "set"]) for frame in (run.read_split(), split.astype({"set": str}))
        )
        changed = [] if before.equals(now) else ["the training or held-out rows"]
    for what in changed:
        log.warning("rerun=%s: %s have changed since that run, so the results will differ", run, what)


def compare(run: RunFolder, metrics: Mapping[str, Any]) -> None:
    """Log whether the metrics of a repeated run equal those of the run to the last bit.

    Raises:
        UserError: metrics.json of the run is damaged.
    """
    if not run.is_finished():
        log.info("rerun=%s: that run was not finished, so there is nothing to compare with", run)
        return
    before, metrics = _flat(run.read_metrics()), _flat(metrics)
    keys = [key for key in metrics if key in before and key not in NOT_COMPARED]
    differing = [key for key in keys if metrics[key] != before[key]]
    if differing:
        key = differing[0]
        log.warning("rerun=%s: %s was %s, is %s", run, key, str(before[key])[:40], str(metrics[key])[:40])
    else:
        log.info("rerun=%s: all metrics equal those of that run to the last bit", run)


def _flat(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """All figures side by side, those of the mean face as ``mean_face NAME``; a newer version may have more of them."""
    nested = {group: metrics.get(group, {}) for group in ("mean_face", "intervals")}
    inner = {f"{group} {key}": value for group, figures in nested.items() for key, value in figures.items()}
    return {**{key: value for key, value in metrics.items() if key not in nested}, **inner}
