"""The page that compares runs: runs come in, sections go out, the summary first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from facekp.core.console import count
from facekp.core.keypoints import Keypoints
from facekp.functional.metrics import MAIN, METRICS, Metric, keys_of, metrics_shown
from facekp.reporting.html import figures, page
from facekp.reporting.html.collect import (
    PRUNED,
    UNFINISHED,
    Group,
    Run,
    SkippedRun,
    differing,
    group_runs,
    short_names,
)
from facekp.reporting.html.compare import Difference, Interval, differences, intervals
from facekp.reporting.html.faces import ImageStore, extremes
from facekp.reporting.html.landmark_metrics import landmarks_section, meaning, metrics_in, subsets_section
from facekp.reporting.html.page import Section
from facekp.runs.sweeps.job_names import REPETITION_KEYS

OF_TRAINING = {"minutes": 1, "epochs": 0, "parameters": 0}  # keys of metrics.json that are no metric: decimals

MAX_COMPARED = 100  # runs, and groups, that can be compared with each other: their pairs are part of the page

Pairs = dict[tuple[int, int], Difference]


def runs_page(
    runs: Sequence[Run], skipped: Sequence[SkippedRun], faces: int, resamples: int
) -> tuple[list[Section], ImageStore]:
    """All sections of the page, and the images they refer to.

    Args:
        runs: of `read_runs`.
        skipped: folders that can't be shown.
        faces: number of worst faces, and of best faces, of each run.
        resamples: number of draws of the bootstrap.
    """
    all_groups = group_runs(runs)
    groups = [group for group in all_groups if len(group.runs) > 1]
    units = [*(run.images for run in runs), *(group.images for group in groups)]
    bounds = intervals(units, resamples)
    compared = [*range(len(runs))[:MAX_COMPARED], *range(len(runs), len(units))[:MAX_COMPARED]]
    pairs = differences(units, resamples, compared)
    store = ImageStore()
    pictures = extremes(runs, faces, store)
    sections = [
        page.section(
            "Summary",
            "",
            page.text(*headline(runs, bounds), alert=_is_useless(runs[0])),
            page.text(*summary(runs, pairs, skipped)),
        ),
        _runs_section(runs, bounds, pairs),
        _groups_section(groups, bounds[len(runs) :], not_counted(all_groups)),
        _comparison_section(runs[:MAX_COMPARED], groups[:MAX_COMPARED], compared, pairs),
        page.section(
            "Learning curves",
            "Click a name in the legend to show or hide a run.",
            page.figure("curves", figures.learning_curves(runs), pick=figures.VISIBLE_TRACES),
        ),
        _keypoints_section(runs),
        landmarks_section(runs),
        subsets_section(runs),
        *_curve_sections(runs),
        page.section(
            "Expected and measured error",
            "Points in ten groups of equal size, from the smallest to the largest expected error. None of them was "
            "used by facekp.calibrate to fit the expected error.",
            page.figure("reliability", figures.reliability(runs)),
        ),
        _corruptions_section(runs),
        page.section(
            "Worst and best faces",
            "Ring: label. Dot: prediction. Below each face: its RMSE. Point at a dot to see its name and error.",
            page.faces("faces", pictures),
            page.text(*store.notes) if store.notes else None,
        ),
        page.section(
            "Skipped folders", "", page.text(*(f"{run.name}: {run.reason}" for run in skipped)) if skipped else None
        ),
    ]
    return sections, store


# Summary


def headline(runs: Sequence[Run], bounds: Sequence[Interval | None]) -> list[str]:
    """The best run, and whether it is better than the mean face.

    Args:
        runs: of `read_runs`.
        bounds: of `facekp.reporting.html.compare.intervals`, the runs first.
    """
    best = runs[0]
    title = "Best run: " if len(runs) > 1 else ""
    interval = "" if bounds[0] is None else f" (95 % interval over images: {bounds[0][0]:.3f} to {bounds[0][1]:.3f})"
    lines = [f"{title}{best.name}, RMSE {best.metrics[MAIN]:.3f} px{interval}. {_against_mean_face(best)}"]
    worse = sum(map(_is_useless, runs))
    if _is_useless(best):
        lines.append(
            "The mean face predicts the same points for every image, so this network has not learnt to find points. "
            "Train longer, or change lr."
        )
    if len(runs) > 1 and worse:
        which = f"None of the {worse} runs is" if worse == len(runs) else f"{worse} of {len(runs)} runs are not"
        lines.append(f"{which} better than the mean face.")
    return lines


def _is_useless(run: Run) -> bool:
    """Whether a run is known to be no better than the mean face."""
    return run.gain is not None and run.gain <= 0


def _against_mean_face(run: Run) -> str:
    """By how much a run is better or worse than the mean face."""
    if run.baseline is None or run.gain is None:
        return "The RMSE of the mean face is unknown: a scored point has no label in the training rows."
    difference = f"{abs(run.baseline - run.metrics[MAIN]):.3f} px ({abs(run.gain):.0%})"
    return f"That is {difference} {'better' if run.gain > 0 else 'worse'} than the mean face ({run.baseline:.3f} px)."


def summary(runs: Sequence[Run], pairs: Pairs, skipped: Sequence[SkippedRun]) -> list[str]:
    """The rest of the page in a few sentences.

    Args:
        runs: of `read_runs`.
        pairs: of `facekp.reporting.html.compare.differences`.
        skipped: folders that can't be shown.
    """
    lines = [*(_similar_runs(runs, pairs) if len(runs) > 1 else []), *_different_images(runs), *_incomplete_runs(runs)]
    if skipped:
        lines.append(f"{len(skipped)} folder{'s were' if len(skipped) > 1 else ' was'} skipped; the reasons are below.")
    return lines


def _similar_runs(runs: Sequence[Run], pairs: Pairs) -> list[str]:
    """The second run, and how many runs do not differ significantly from the best."""
    second = f"{runs[1].name}{'' if runs[1].is_complete else f' ({runs[1].state})'}"
    lines = [f"Second: {second}, RMSE {runs[1].metrics[MAIN]:.3f} px. {_is_different(runs, pairs)}"]
    complete = sum(run.is_complete for run in runs)
    others = complete if complete > 1 else len(runs)  # the finished runs come first
    similar = [i for i in range(1, others) if (0, i) in pairs and not pairs[0, i].is_significant]
    if len(similar) > 1:
        kind = "finished runs" if others < len(runs) else "runs"
        lines.append(f"{len(similar)} of the other {others - 1} {kind} do not differ significantly from the best run.")
    return lines


def _different_images(runs: Sequence[Run]) -> list[str]:
    """Why the RMSE of runs that were validated on different images can't be compared; empty: they can."""
    lines = []
    splits = {run.split for run in runs}
    if len(splits) > 1:
        lines.append(
            f"The runs were validated on {len(splits)} different sets of images, some of which are easier than "
            "others. So their order depends on the set too; compare runs of the same set."
        )
    sides = sorted({run.side for run in runs if run.side is not None})
    if len(sides) > 1:
        lines.append(
            f"The images have {' and '.join(map(str, sides))} pixels a side, so an error of a pixel is not the same in "
            "all runs. Compare their NME, which does not depend on the size."
        )
    return lines


def _incomplete_runs(runs: Sequence[Run]) -> list[str]:
    """How many runs were not trained to their end, and what that means for the page; empty: all were."""
    lines = []
    unfinished, pruned = (sum(run.state == state for run in runs) for state in (UNFINISHED, PRUNED))
    if unfinished:
        are = "is" if unfinished == 1 else "are"
        lines.append(f"{unfinished} of {count(len(runs), 'run')} {are} unfinished; the best epoch so far is shown.")
    if pruned:
        were = "was" if pruned == 1 else "were"
        lines.append(f"{pruned} of {count(len(runs), 'run')} {were} pruned by a search.")
    if 0 < unfinished + pruned < len(runs):
        lines.append("Finished runs come first; only they are in the means over seeds and folds.")
    return lines


def _is_different(runs: Sequence[Run], pairs: Pairs) -> str:
    """Whether the second run is worse than the best, on the images that both predicted."""
    best, second = runs[:2]
    pair = pairs.get((0, 1))
    if pair is None and not (len(best.images) and len(second.images)):
        return "The difference can't be tested, as a run has no predictions.csv."
    if pair is None:
        return (
            "The difference can't be tested, as the two runs were validated on different images "
            f"({best.split}; {second.split})."
        )
    images = f"{pair.images} images"
    if pair.images < max(len(best.images), len(second.images)):
        images += f" that both runs predicted, of {len(best.images)} and {len(second.images)}"
    details = f"{-pair.value:+.3f} px, 95 % interval {-pair.high:+.3f} to {-pair.low:+.3f}, {images}"
    return f"The difference is {'' if pair.is_significant else 'not '}significant ({details})."


# Tables of runs


def _runs_section(runs: Sequence[Run], bounds: Sequence[Interval | None], pairs: Pairs) -> Section:
    """A row per run, and a figure of how far each is behind the best."""
    settings = differing([run.compared for run in runs])
    metrics = _other_metrics(runs, "runs")
    rows = [
        {
            **_names(run),
            "rank": i + 1,
            "gain": None if run.gain is None else 100 * run.gain,
            "images": len(run.images) or None,
            "state": run.state,
            **_interval_cells(bounds[i]),
            **{key: run.metrics.get(key) for key in (MAIN, *metrics, *OF_TRAINING)},
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
        _metric_column(MAIN, METRICS[MAIN]),
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
        *(_metric_column(key, metric) for key, metric in metrics.items()),
        *(page.column(key, key, digits) for key, digits in OF_TRAINING.items() if any(key in r.metrics for r in runs)),
        *(page.column(f"setting {key}", titles[key], hint=key) for key in settings),
    ]


def _interval_cells(interval: Interval | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def _names(run: Run) -> dict[str, str]:
    """``name`` is shown; ``title`` appears while the pointer rests on it."""
    return {"name": run.short_name, "title": run.name}


def _metric_column(key: str, metric: Metric) -> dict[str, Any]:
    return page.column(key, metric.title(key), metric.digits, hint=meaning(metric))


def _other_metrics(runs: Sequence[Run], *sections: str) -> dict[str, Metric]:
    """Keys of metrics.json that are numbers of a metric besides the RMSE, with this metric.

    Args:
        runs: runs with metrics.json read.
        sections: where the metrics are shown.
    """
    keys = dict.fromkeys(key for run in runs for key in run.numbers)
    metrics = {key: metric for section in sections for key, metric in metrics_in(section, keys).items()}
    return {key: metric for key, metric in metrics.items() if metric.name != MAIN}


def cell(value: Any) -> Any:
    """A setting as a table shows it: true, false and null as in YAML.

    Example:
        >>> cell(0.5), cell(None), cell([True, "Left"])
        (0.5, 'null', '[true, "Left"]')
    """
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _groups_section(groups: Sequence[Group], bounds: Sequence[Interval | None], left_out: str) -> Section:
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
        groups: of `facekp.reporting.html.collect.group_runs`; in a group of a single run, no mean is missing.
    """
    several = [group for group in groups if len(group.runs) + group.incomplete + group.repeats > 1]
    incomplete, repeats = sum(group.incomplete for group in several), sum(group.repeats for group in several)
    reasons = [count(incomplete, "unfinished or pruned run")] if incomplete else []
    reasons += [f"{count(repeats, 'run')} with the seed, fold and split seed of a newer run"] if repeats else []
    return f"Not counted: {'; '.join(reasons)}." if reasons else ""


def _group_row(group: Group, interval: Interval | None) -> dict[str, Any]:
    rmse = np.array([run.metrics[MAIN] for run in group.runs])
    images = group.images
    values = {key.removeprefix("data."): [run.compared.get(key) for run in group.runs] for key in REPETITION_KEYS}
    varied = {key: sorted(set(of_runs), key=str) for key, of_runs in values.items() if len(set(of_runs)) > 1}
    return {
        "name": group.name,
        "runs": len(rmse),
        "mean": float(rmse.mean()),
        "spread": float(rmse.std(ddof=1)),
        "best": float(rmse.min()),
        "worst": float(rmse.max()),
        "pooled": float(np.sqrt(images["squared"].sum() / images["values"].sum())) if len(images) else None,
        **_interval_cells(interval),
        "repeated": ", ".join(f"{key} {' '.join(map(str, of_runs))}" for key, of_runs in varied.items()),
    }


# Comparing two runs


def _comparison_section(runs: Sequence[Run], groups: Sequence[Group], compared: Sequence[int], pairs: Pairs) -> Section:
    """Choose two runs or groups, and see how they differ.

    Args:
        runs, groups: that can be chosen.
        compared: the index of each of them in ``pairs``.
        pairs: of `facekp.reporting.html.compare.differences`.
    """
    if len(runs) < 2:
        return page.section("Compare two runs", "")
    settings = differing([run.compared for run in runs])
    scores = {**_rmse_keys(runs), **dict.fromkeys(_other_metrics(runs, "runs", "landmarks"))}
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
        **_names(run),
        "images": len(run.images),
        "split": run.split,
        "config": _settings(run, settings),
        "metrics": _scores_of(run, scores),
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
        "value": round(pair.value, 5),
        "first": round(pair.first, 4),
        "second": round(pair.second, 4),
        "low": round(pair.low, 5),
        "high": round(pair.high, 5),
        "images": pair.images,
    }


def _score_row(key: str) -> dict[str, Any]:
    metric = next(metric for metric in metrics_shown("report") if keys_of(metric, [key]))
    return {"key": key, "label": metric.title(key), "digits": metric.digits}


def _settings(run: Run, keys: Sequence[str]) -> dict[str, Any]:
    return {key: cell(run.compared[key]) for key in keys if key in run.compared}


def _scores_of(run: Run, keys: Sequence[str] | dict[str, Any]) -> dict[str, float]:
    return {key: round(run.metrics[key], 4) for key in keys if key in run.metrics}


def _mean_scores(group: Group, keys: dict[str, Any]) -> dict[str, float]:
    """Mean over the runs of a group, of the metrics that all of them have."""
    scores = [_scores_of(run, keys) for run in group.runs]
    return {key: float(np.mean([of_run[key] for of_run in scores])) for key in keys if all(key in s for s in scores)}


# RMSE of sources and keypoints, and curves


def _rmse_keys(runs: Sequence[Run]) -> dict[str, str]:
    """Keys of the RMSE in metrics.json, with short titles: all rows, then sources, then keypoints."""
    schemes = [Keypoints.from_dict(run.config["keypoints"]) for run in runs]
    sources = dict.fromkeys(source for scheme in schemes for source in scheme.sources)
    names = dict.fromkeys(name for scheme in schemes for name in scheme.names)
    parts = {f"{MAIN}/{part}": part.replace("_", " ") for part in [*sources, *names]}
    measured = {key for run in runs for key in run.metrics}
    return {MAIN: "all", **{key: title for key, title in parts.items() if key in measured}}


def _keypoints_section(runs: Sequence[Run]) -> Section:
    keys = _rmse_keys(runs)
    columns = [
        page.column("name", "run"),
        *(page.column(key, title, 3 if key == MAIN else 2, shade=True) for key, title in keys.items()),
    ]
    rows: list[dict[str, Any]] = [{**_names(run), **_scores_of(run, keys)} for run in runs]
    baseline = {key: value for key, value in runs[0].metrics["mean_face"].items() if key in keys}
    rows.append({"name": "mean face", **baseline, "apart": True})
    return page.section(
        "RMSE by source and keypoint",
        "In pixels. The darkest cell of a column is the worst. The mean face is that of the best run's fold. Click a "
        "column to sort.",
        page.table("points", columns, rows),
    )


def _curve_sections(runs: Sequence[Run]) -> list[Section]:
    """A section for each metric that is a curve."""
    notes = {
        "curve": ("Cumulative error", "Fraction of labelled points closer to their label than a distance."),
        "nme/curve": ("Cumulative NME", "Fraction of faces whose NME is at most a value."),
    }
    sections = []
    for name, drawn in figures.metric_curves(runs).items():
        metric = METRICS[name]
        title, note = notes.get(name, (metric.label, metric.title(name)))
        better = f" {metric.better.capitalize()} is better." if metric.better else ""
        block = page.figure(f"{name.replace('/', '-')}-figure", drawn, pick=figures.VISIBLE_TRACES)
        sections.append(page.section(title, note.removesuffix(".") + "." + better, block))
    return sections


def _corruptions_section(runs: Sequence[Run]) -> Section:
    """Figures for corrupted images of the runs that were evaluated on them."""
    measured = [run for run in runs if len(run.corruptions)]
    kept = {run.name: _shared_conditions(run, measured) for run in measured}
    kinds = dict.fromkeys(kind for run in measured for kind in kept[run.name]["corruption"])
    columns = [
        page.column("name", "run"),
        page.column("mean", "mean", 3, hint="over the corruptions, without the images as they are"),
        *(page.column(f"corruption {kind}", kind, 2, shade=True) for kind in kinds),
    ]
    return page.section(
        "Corrupted images",
        "RMSE in pixels without the worst 1 %, of facekp.evaluate corruptions=standard. Column none: the images as "
        "they are. The other columns: the mean over the strengths of a corruption. The darkest cell of a column is the "
        "worst. Below: each strength, then expected and measured errors of points in all corrupted images, also of "
        "faces that facekp.calibrate may have fitted on. Corruptions and strengths that not all of these runs were "
        "evaluated on are not in the table.",
        page.table("corruptions", columns, [_corruption_row(run, kept[run.name]) for run in measured]),
        page.figure("corruption-strengths", figures.corruptions(runs), pick=figures.VISIBLE_TRACES),
        page.figure("corrupted-reliability", figures.reliability(runs, corrupted=True)),
    )


def _shared_conditions(run: Run, runs: Sequence[Run]) -> pd.DataFrame:
    """The rows of a run's corruptions whose corruption and strength all of the runs have."""
    shared = set.intersection(*(set(_conditions(each)) for each in runs))
    return run.corruptions[[condition in shared for condition in _conditions(run)]]


def _conditions(run: Run) -> list[tuple[str, float]]:
    """Corruption and strength of each row; images as they are have a strength of 0."""
    return list(zip(run.corruptions["corruption"], run.corruptions["strength"].fillna(0), strict=True))


def _corruption_row(run: Run, corruptions: pd.DataFrame) -> dict[str, Any]:
    means = corruptions.groupby("corruption", sort=False)["rmse/trimmed"].mean()
    mean = means.drop("none", errors="ignore").mean()
    cells = {f"corruption {kind}": value for kind, value in means.items()}
    return {**_names(run), "mean": None if np.isnan(mean) else float(mean), **cells}
