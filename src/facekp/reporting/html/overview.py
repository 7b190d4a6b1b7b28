"""The page that compares runs: runs come in, sections go out, the answer first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from facekp.reporting.html import figures, page
from facekp.reporting.html.collect import REPEATED, Group, Run, SkippedRun, differing, group_runs, short_names
from facekp.reporting.html.compare import Difference, differences, intervals
from facekp.reporting.html.faces import ImageStore, extremes

Section = dict[str, Any]

FIGURES = {  # of metrics.json: the table's heads and digits
    "nme": ("NME", 4),
    "minutes": ("minutes", 1),
    "epochs": ("epochs", 0),
    "parameters": ("parameters", 0),
}


def runs_page(
    runs: Sequence[Run], left_out: Sequence[SkippedRun], faces: int, resamples: int
) -> tuple[list[Section], ImageStore]:
    """All sections of the page.

    Args:
        runs: best first.
        left_out: folders that can't be shown.
        faces: how many worst and best ones of each run.
        resamples: of the bootstrap.
    """
    groups = [group for group in group_runs(runs) if len(group.runs) > 1]
    units = [*(run.images for run in runs), *(group.images for group in groups)]
    bounds = intervals(units, resamples)
    pairs = differences(units, resamples)
    album = ImageStore()
    pictures = extremes(runs, faces, album)
    sections = [
        page.section("Answer", "", page.text(*answer(runs, bounds, pairs, left_out))),
        _table_of_runs(runs, bounds, {i: pairs[0, i] for i in range(1, len(runs)) if (0, i) in pairs}),
        _table_of_groups(groups, bounds[len(runs) :]),
        _versus(runs, groups, pairs),
        page.section(
            "MetricsCsv",
            "A click in the legend shows or hides a run.",
            page.figure("curves", figures.curves(runs), pick=figures.SHOWN),
        ),
        _by_point(runs),
        page.section(
            "Cumulative error",
            "The share of labelled points closer than a distance; higher is better.",
            page.figure("error-curves", figures.error_curves(runs), pick=figures.SHOWN),
        ),
        page.section(
            "Expected error",
            "Of points that took no part in calibrating (facekp.calibrate), from the tenth expected best to the worst.",
            page.figure("reliability", figures.reliability(runs)),
        ),
        page.section(
            "Worst and best faces",
            "Ring: labelled. Dot: predicted. Below: RMSE of the face. Resting on a point shows its name and error.",
            page.faces("faces", pictures),
            page.text(*album.notes) if album.notes else None,
        ),
        page.section(
            "Left out", "", page.text(*(f"{one.name}: {one.reason}" for one in left_out)) if left_out else None
        ),
    ]
    return sections, album


def answer(
    runs: Sequence[Run],
    bounds: Sequence[tuple[float, float] | None],
    pairs: dict[tuple[int, int], Difference],
    left_out: Sequence[SkippedRun],
) -> list[str]:
    """The page in a few sentences.

    Args:
        runs: best first.
        bounds: of the runs' RMSE (`facekp.reporting.html.compare.intervals`).
        pairs: of `facekp.reporting.html.compare.differences`.
        left_out: folders that can't be shown.
    """
    best = runs[0]
    rmse, face = best.figures["rmse"], best.figures["mean_face"]["rmse"]
    span = "" if bounds[0] is None else f" (95 % interval over images {bounds[0][0]:.3f} to {bounds[0][1]:.3f})"
    lines = [
        f"{'Best: ' * (len(runs) > 1)}{best.name}: RMSE {rmse:.3f} px{span}. The mean face is off by {face:.3f} px."
    ]
    if len(runs) > 1:
        lines.append(f"Next: {runs[1].name}: {runs[1].figures['rmse']:.3f} px. {_told_apart(pairs.get((0, 1)))}")
        alike = [run.name for i, run in enumerate(runs) if i and (0, i) in pairs and not pairs[0, i].is_real]
        if len(alike) > 1:
            lines.append(
                f"{len(alike)} of the other {len(runs) - 1} runs can't be told apart from the best on these images."
            )
    stopped = sum(not run.finished for run in runs)
    if stopped:
        lines.append(f"Unfinished, shown by their best epoch so far: {stopped} of {len(runs)}.")
    if left_out:
        lines.append(f"Folders left out: {len(left_out)} (reasons at the end).")
    return lines


def _told_apart(pair: Difference | None) -> str:
    if pair is None:
        return "The two predicted no images in common, so the difference can't be tested."
    span = f"{-pair.value:+.3f} px, 95 % interval {-pair.high:+.3f} to {-pair.low:+.3f}, on {pair.images} images"
    return f"{'The difference is real' if pair.is_real else 'They are not told apart'} ({span})."


def _table_of_runs(
    runs: Sequence[Run], bounds: Sequence[tuple[float, float] | None], behind: dict[int, Difference]
) -> Section:
    keys = differing([run.config for run in runs])
    heads = short_names(keys)
    columns = [
        page.column("name", "run"),
        page.column("place", "#", 0),
        page.column("rmse", "RMSE, px", 3),
        page.column("low", "from", 3, hint="95 % interval of the RMSE over resampled images"),
        page.column("high", "to", 3, hint="95 % interval of the RMSE over resampled images"),
        page.column("state", "state"),
        *(page.column(f"figure {key}", head, digits) for key, (head, digits) in FIGURES.items()),
        *(page.column(key, heads[key], hint=key) for key in keys),
    ]
    rows = [
        {
            "place": i + 1,
            "name": run.name,
            "rmse": run.figures["rmse"],
            **dict(zip(("low", "high"), bounds[i] or (None, None), strict=True)),
            **{key: cell(run.config.get(key, "")) for key in keys},
            **{f"figure {key}": run.figures.get(key) for key in FIGURES},
            "state": "finished" if run.finished else "unfinished",
        }
        for i, run in enumerate(runs)
    ]
    return page.section(
        "Runs",
        "Settings stand in the table where they differ. A click on a head sorts.",
        page.table("runs", columns, rows),
        page.figure("behind", figures.behind_best([run.name for run in runs], behind)),
    )


def cell(value: Any) -> Any:
    """A setting as a table shows it."""
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else str(value).lower()


def _table_of_groups(groups: Sequence[Group], bounds: Sequence[tuple[float, float] | None]) -> Section:
    rows: list[dict[str, Any]] = []
    for group, span in zip(groups, bounds, strict=True):
        rmse = np.array([run.figures["rmse"] for run in group.runs])
        images = pd.concat([run.images for run in group.runs])
        told = {key.removeprefix("data."): [run.config.get(key) for run in group.runs] for key in REPEATED}
        rows.append(
            {
                "name": group.name,
                "runs": len(rmse),
                "mean": float(rmse.mean()),
                "spread": float(rmse.std(ddof=1)),
                "best": float(rmse.min()),
                "worst": float(rmse.max()),
                "pooled": float(np.sqrt(images["squared"].sum() / images["values"].sum())) if len(images) else None,
                **dict(zip(("low", "high"), span or (None, None), strict=True)),
                "repeated": ", ".join(f"{key} {_listed(own)}" for key, own in told.items() if len(set(own)) > 1),
            }
        )
    columns = [
        page.column("name", "settings"),
        page.column("runs", "runs", 0),
        page.column("mean", "mean RMSE, px", 3),
        page.column("spread", "± sd", 3, hint="standard deviation over the runs (n - 1)"),
        page.column("best", "best", 3),
        page.column("worst", "worst", 3),
        page.column("pooled", "pooled", 3, hint="RMSE of all the runs' predictions together"),
        page.column("low", "from", 3, hint="95 % interval of the pooled RMSE over resampled images"),
        page.column("high", "to", 3, hint="95 % interval of the pooled RMSE over resampled images"),
        page.column("repeated", "what is repeated"),
    ]
    note = (
        "Runs that differ in nothing but seed or fold, together. The spread tells what a lucky seed or fold is worth."
    )
    rows.sort(key=lambda row: row["mean"])
    return page.section("Seeds and folds", note, page.table("groups", columns, rows) if rows else None)


def _listed(values: Sequence[Any]) -> str:
    return " ".join(str(value) for value in sorted(set(values), key=str))


def _versus(runs: Sequence[Run], groups: Sequence[Group], pairs: dict[tuple[int, int], Difference]) -> Section:
    if len(runs) < 2:
        return page.section("Two runs", "")
    keys = differing([run.config for run in runs])
    scores = _scores(runs)
    units = [
        *({"name": run.name, "config": _settings(run, keys), "figures": _chosen(run, scores)} for run in runs),
        *(
            {
                "name": f"{len(group.runs)} runs: {group.name}",
                "config": {key: value for key, value in _settings(group.runs[0], keys).items() if key not in REPEATED},
                "figures": _mean_figures(group, scores),
            }
            for group in groups
        ),
    ]
    note = (
        "The test: images are drawn again and again with both runs' errors on them (paired bootstrap of the "
        "difference in pooled RMSE). It tells whether another sample of images would say the same, not what another "
        "seed would: for that compare several seeds. Where the best of many runs is picked, some of its lead is luck."
    )
    block = {
        "kind": "versus",
        "name": "versus",
        "units": units,
        "pairs": {
            f"{a},{b}": {
                "value": round(pair.value, 5),
                "low": round(pair.low, 5),
                "high": round(pair.high, 5),
                "images": pair.images,
            }
            for (a, b), pair in pairs.items()
        },
        "keys": keys,
        "scores": [{"key": key, "label": label} for key, label in scores.items()],
    }
    return page.section("Two runs", note, block)


def _settings(run: Run, keys: Sequence[str]) -> dict[str, Any]:
    return {key: cell(run.config[key]) for key in keys if key in run.config}


def _chosen(run: Run, scores: dict[str, str]) -> dict[str, float]:
    return {key: round(run.figures[key], 4) for key in scores if key in run.figures}


def _mean_figures(group: Group, scores: dict[str, str]) -> dict[str, float]:
    every = [_chosen(run, scores) for run in group.runs]
    return {key: float(np.mean([own[key] for own in every])) for key in scores if all(key in own for own in every)}


def _scores(runs: Sequence[Run]) -> dict[str, str]:
    """Keys of metrics.json that are an RMSE, and what they are called: all rows first, then sources, then points."""
    told = dict.fromkeys(
        key for run in runs for key in run.figures if key.startswith("rmse/") and key != "rmse/trimmed"
    )
    names = {"rmse": "all", "rmse/trimmed": "without worst 1 %"}
    return {**names, **{key: key.removeprefix("rmse/").replace("_", " ") for key in told}}


def _by_point(runs: Sequence[Run]) -> Section:
    scores = _scores(runs)
    columns = [
        page.column("name", "run"),
        *(page.column(key, label, 3 if key == "rmse" else 2, shade=True) for key, label in scores.items()),
    ]
    rows = [{"name": run.name, **_chosen(run, scores)} for run in runs]
    face = {key: value for key, value in runs[0].figures["mean_face"].items() if key in scores}
    rows.append({"name": "mean face", **face, "apart": True})
    return page.section(
        "By source and keypoint",
        "RMSE in pixels; darker is worse within a column. The mean face is that of the best run's fold.",
        page.table("points", columns, rows),
    )
