"""The section in which two runs or groups are chosen and compared: settings, metrics, and a paired test."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from facekp.functional.metrics import keys_of, metrics_shown
from facekp.reporting.html import page
from facekp.reporting.html.cells import DIGITS, names_of, other_metrics, rmse_keys, scores_of
from facekp.reporting.html.collect import Run
from facekp.reporting.html.compare import Difference, Pairs
from facekp.reporting.html.grouping import Group, cell, differing
from facekp.reporting.html.page import Section
from facekp.runs.sweeps.job_names import REPETITION_KEYS

MAX_COMPARED = 100  # runs, and groups, that can be compared with each other: their pairs are part of the page


def comparison_section(runs: Sequence[Run], groups: Sequence[Group], compared: Sequence[int], pairs: Pairs) -> Section:
    """Choose two runs or groups, and see how they differ.

    Args:
        runs, groups: that can be chosen.
        compared: the index of each of them in ``pairs``.
        pairs: of `facekp.reporting.html.compare.differences`.
    """
    if len(runs) < 2:
        return page.section("Compare two runs", "")
    settings = differing([run.compared for run in runs])
    scores = {**rmse_keys(runs), **dict.fromkeys(other_metrics(runs, "runs", "landmarks"))}
    note = (
        "Only images that both runs predicted and did not train on are compared. Paired bootstrap: these images are "
        "drawn with replacement, near-duplicates and faces of one photo together, and the RMSE of both runs is "
        "computed on each draw. The interval shows how much the difference depends on the choice of images, not on the "
        "seed; to test the seed, compare several seeds. The best of many runs is partly best by chance. Of more than "
        f"{MAX_COMPARED} runs, the best are listed."
    )
    block = {
        "kind": "versus",
        "name": "versus",
        "units": [
            *(_run_choice(run, settings, scores) for run in runs),
            *(_group_choice(group, settings, scores) for group in groups),
        ],
        "pairs": {
            f"{a},{b}": _pair_values(pairs[first, second])
            for (a, first), (b, second) in combinations(enumerate(compared), 2)
            if (first, second) in pairs
        },
        "keys": settings,
        "scores": [_score_row(key) for key in scores],
    }
    return page.section("Compare two runs", note, block)


def _run_choice(run: Run, settings: Sequence[str], scores: dict[str, Any]) -> dict[str, Any]:
    """A run that can be chosen, with its settings and metrics of these keys."""
    return {
        **names_of(run),
        "images": len(run.images),
        "split": run.split,
        "config": _settings(run, settings),
        "metrics": scores_of(run, scores),
    }


def _group_choice(group: Group, settings: Sequence[str], scores: dict[str, Any]) -> dict[str, Any]:
    """A group that can be chosen, with its settings and mean metrics of these keys."""
    return {
        "name": f"{len(group.runs)} runs: {group.name}",
        "images": len(group.images),
        "split": group.split,
        "config": _settings(group.runs[0], [key for key in settings if key not in REPETITION_KEYS]),
        "metrics": _mean_scores(group, scores),
    }


def _pair_values(pair: Difference) -> dict[str, float]:
    return {
        "value": round(pair.value, DIGITS),
        "first": round(pair.first, DIGITS),
        "second": round(pair.second, DIGITS),
        "low": round(pair.low, DIGITS),
        "high": round(pair.high, DIGITS),
        "images": pair.images,
    }


def _score_row(key: str) -> dict[str, Any]:
    metric = next(metric for metric in metrics_shown("report") if keys_of(metric, [key]))
    return {"key": key, "label": metric.title(key), "digits": metric.digits}


def _settings(run: Run, keys: Sequence[str]) -> dict[str, Any]:
    return {key: cell(run.compared[key]) for key in keys if key in run.compared}


def _mean_scores(group: Group, keys: dict[str, Any]) -> dict[str, float]:
    """Mean over the runs of a group, of the metrics that all of them have."""
    scores = [scores_of(run, keys) for run in group.runs]
    return {key: float(np.mean([of_run[key] for of_run in scores])) for key in keys if all(key in s for s in scores)}
