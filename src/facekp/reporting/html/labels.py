"""The page that shows the data: a table comes in, sections on its labels, their noise and the baselines go out.

The figures are those of `facekp.data.label_quality`. Axes: N faces, K points.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.data.label_quality import (
    BASELINES,
    GROSS_ERROR,
    duplicate_pairs,
    label_noise,
    noise_floor,
    predictions_on,
    rmse_by_source,
    suspicious_by_predictions,
    suspicious_by_shape,
)
from facekp.data.near_duplicates import near_duplicate_groups
from facekp.data.readers.base import DataSettings
from facekp.data.split import split_folds, with_common
from facekp.data.table import FaceTable
from facekp.functional.metrics import MAIN
from facekp.reporting.html import figures, page
from facekp.reporting.html.collect import Run
from facekp.reporting.html.faces import ImageStore, face, mark, photo_of
from facekp.reporting.html.page import Block, Section

log = logging.getLogger(__name__)
MAX_LABELS = 200  # suspicious labels in the table
MAX_PATTERNS = 12  # sets of missing points that are listed for each source, the most frequent ones
MAX_NAMED = 4  # missing points that are named; of more, the number and the first
COLUMNS = ["i", "k", "x", "y", "error", "times"]  # of `facekp.data.label_quality.rank_labels`


@dataclass(frozen=True, eq=False)
class DataReport:
    """Everything that the page shows.

    Attributes:
        table: the data.
        settings: for the folds.
        runs: on these data; their predictions decide which labels are suspicious; without runs, the shape of the face
            does.
        faces: number of pictures of duplicates and of suspicious labels.
        store: keeps the images.
    """

    table: FaceTable
    settings: DataSettings
    runs: Sequence[Run]
    faces: int
    store: ImageStore

    @cached_property
    def groups(self) -> np.ndarray:
        """int (N,), near-duplicates have the same number."""
        return near_duplicate_groups(self.table.images, self.settings.cache_folder)

    @cached_property
    def fold_of(self) -> np.ndarray:
        """int (N,), as a training would split the rows."""
        return split_folds(self.table, with_common(self.groups, self.table), self.settings)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Pairs of duplicates."""
        return duplicate_pairs(self.table, self.groups)

    @cached_property
    def noise(self) -> pd.DataFrame:
        """Differences between the labels of duplicates."""
        return label_noise(self.table, self.pairs)

    @cached_property
    def floor(self) -> dict[str, float]:
        """Error of a single label by source, in pixels."""
        return noise_floor(self.noise, self.table)

    @cached_property
    def baselines(self) -> dict[str, dict[str, float]]:
        """RMSE in pixels by baseline and source."""
        return {
            name: rmse_by_source(predict(self.table, self.fold_of), self.table) for name, predict in BASELINES.items()
        }

    @cached_property
    def suspicious(self) -> pd.DataFrame:
        """Labels, the most suspicious first."""
        if self.runs:
            return suspicious_by_predictions(self.table, [run.predictions for run in self.runs])
        return suspicious_by_shape(self.table, self.fold_of)


def data_page(
    table: FaceTable, settings: DataSettings, runs: Sequence[Run], faces: int
) -> tuple[list[Section], ImageStore]:
    """All sections of the page, and the images they refer to; arguments as for `DataReport`, with any runs.

    Raises:
        UserError: the table has no label, too few different images for the folds, or the runs are on other data.
    """
    if not table.mask.any():
        raise UserError("data: the table has no labelled point, so there is nothing to show; give data with labels")
    on_these = [run for run in runs if _is_on(run, table)] or runs
    if len(on_these) < len(runs):
        others = count(len(runs) - len(on_these), "run has", "runs have")
        log.warning("%s no predictions on these data, not shown on this page", others)
    report = DataReport(table, settings, on_these, faces, ImageStore())
    sections = [
        page.section("Summary", "", page.text(*summary(report))),
        _scale_section(report),
        _counts_section(table),
        page.section(
            "Missing labels",
            f"By source, the most frequent combinations first, at most {MAX_PATTERNS}. Click a column to sort.",
            _patterns(table),
        ),
        _duplicates_section(report),
        _suspicious_section(report),
    ]
    return sections, report.store


def _is_on(run: Run, table: FaceTable) -> bool:
    """Whether a run was scored on these data: most of its labels are those of the table, as a few may be corrected."""
    return 2 * len(predictions_on(table, run.predictions)) > len(run.predictions)


# Summary and score scale


def summary(report: DataReport) -> list[str]:
    """The page in a few sentences."""
    table = report.table
    counts = [f"{(table.source == s).sum()} {name}" for s, name in enumerate(table.keypoints.source_names)]
    size = np.unique(report.groups, return_counts=True)[1]
    lines = [
        f"{count(len(table), 'face')} ({', '.join(counts)}) with {count(table.mask.sum(), 'labelled point')}. "
        f"{size[size > 1].sum()} faces belong to {count((size > 1).sum(), 'group')} of near-duplicates."
    ]
    if report.floor:
        errors = ", ".join(f"{name} {value:.2f}" for name, value in report.floor.items())
        lines.append(f"Noise floor, the RMSE of a single label in px, estimated from duplicates: {errors}.")
    else:
        lines.append("Noise floor: unknown, as no two rows show the same image with the same points labelled.")
    errors = ", ".join(f"{name} {by_source['all']:.2f}" for name, by_source in report.baselines.items() if by_source)
    unknown = "Baselines: unknown, as all faces are of one photo, near-duplicates, or in one group of data.group_by."
    lines.append(f"Baselines, RMSE in px: {errors}." if errors else unknown)
    return lines


def _scale_section(report: DataReport) -> Section:
    sources = [name for name in report.baselines["mean face"] if name != "all"]
    marks: dict[str, dict[str, float]] = {}
    for name in ["all", *sources]:
        floor = {"noise floor": report.floor[name]} if name in report.floor else {}
        values = {**floor, **_best_run(report.runs, MAIN if name == "all" else f"{MAIN}/{name}")}
        values |= {label: by_source[name] for label, by_source in report.baselines.items() if name in by_source}
        marks[name] = {kind: round(value, 4) for kind, value in values.items()}
    note = (
        "RMSE in pixels. The score of a network lies between the noise floor and the baselines, which are "
        "cross-validated over the folds. The noise floor leaves out grossly wrong labels (see Duplicates and label "
        "noise); scored labels contain some, so even a perfect network stays a little above it."
    )
    return page.section("Noise floor and baselines", note, page.figure("scale", figures.scale(marks, "RMSE, px")))


def _best_run(runs: Sequence[Run], key: str) -> dict[str, float]:
    best = next(iter(runs), None)
    if best is None or key not in best.metrics:
        return {}
    return {f"best run: {figures.shortened(best.short_name)}": best.metrics[key]}


# Counts


def _counts_section(table: FaceTable) -> Section:
    sources = table.keypoints.source_names
    rows = []
    for k, name in enumerate(table.keypoints.names):
        row: dict[str, Any] = {"name": readable(name)}
        for s, source in enumerate(sources):
            labelled = table.mask[table.source == s, k]
            if len(labelled) and table.keypoints.labels_of(source)[k]:
                row |= {source: int(labelled.sum()), f"{source} missing": 100 * float(1 - labelled.mean())}
        rows.append(row)
    columns = [page.column("name", "keypoint")]
    for source in sources:
        columns.append(page.column(source, f"{source}: labelled", 0))
        columns.append(page.column(f"{source} missing", f"{source}: missing, %", 1, shade=True))
    note = "A source is a way of labelling: which points, and where exactly they lie. Click a column to sort."
    return page.section("Labels by source and keypoint", note, page.table("counts", columns, rows))


def readable(name: str) -> str:
    """The name of a point in a text: ``nose tip``."""
    return name.replace("_", " ")


def _patterns(table: FaceTable) -> Block | None:
    rows = []
    for s, source in enumerate(table.keypoints.source_names):
        expected = table.keypoints.labels_of(source)
        labelled = table.mask[table.source == s]
        for pattern, faces in Counter(map(tuple, expected & ~labelled)).most_common(MAX_PATTERNS):
            missing = [readable(name) for name, gone in zip(table.keypoints.names, pattern, strict=True) if gone]
            names = ", ".join(missing) if len(missing) <= MAX_NAMED else f"{len(missing)} points, such as {missing[0]}"
            percent = 100 * faces / len(labelled)
            rows.append({"missing": names or "none", "source": source, "faces": faces, "percent": percent})
    columns = [
        page.column("missing", "missing points"),
        page.column("source", "source"),
        page.column("faces", "faces", 0),
        page.column("percent", "% of the source", 1),
    ]
    return page.table("patterns", columns, rows)


# Duplicates


def _duplicates_section(report: DataReport) -> Section:
    sizes = Counter(np.unique(report.groups, return_counts=True)[1].tolist())
    groups = ", ".join(f"{number} with {size} faces" for size, number in sorted(sizes.items()) if size > 1) or "none"
    columns = [
        page.column("source", "source"),
        page.column("kind", "images"),
        page.column("pairs", "pairs", 0),
        page.column("values", "values", 0, hint="coordinates that are labelled in both images"),
        page.column("rmse", "RMSE, px", 2, hint="of the differences between the two labels"),
        page.column("median", "median, px", 2, hint="of the absolute differences"),
        page.column("gross", f"pairs above {GROSS_ERROR:g} px", 0, hint="one of the two labels is grossly wrong"),
        page.column("noise", "RMSE without these, px", 2),
        page.column("single", "single label, px", 2, hint="RMSE without these, divided by √2"),
    ]
    rows = [{str(key): value for key, value in row.items()} for row in report.noise.to_dict("records")]
    note = (
        "Differences between two labels of the same image. Near-duplicates may be cropped differently, which adds to "
        "the noise. Click a column to sort."
    )
    return page.section(
        "Duplicates and label noise",
        note,
        page.text(f"Groups of near-duplicates: {groups}."),
        page.table("noise", columns, rows),
        page.faces("duplicates", _pictures_of_pairs(report)),
    )


def _pictures_of_pairs(report: DataReport) -> list[dict[str, Any]]:
    """The pairs whose labels differ most, and pairs spread evenly over all differences."""
    table, pairs = report.table, report.pairs
    first, second = pairs["first"].to_numpy(int), pairs["second"].to_numpy(int)
    difference = table.points[first] - table.points[second]  # (P, K, 2)
    count = (~np.isnan(difference)).sum(axis=(1, 2))
    chosen = (table.source[first] == table.source[second]) & (count > 0)
    if not chosen.any() or not report.faces:
        return []
    first, second = first[chosen], second[chosen]
    rmse = np.sqrt(np.nansum(difference[chosen] ** 2, axis=(1, 2)) / count[chosen])
    order = np.argsort(-rmse, kind="stable")
    spread = np.unique(np.linspace(0, len(order) - 1, report.faces).round().astype(int))
    groups = {"largest differences": order[: report.faces], "from large to small differences": order[spread]}
    return [
        {
            "name": "pairs",
            "groups": [
                {"label": label, "faces": [_pair_face(report, first[p], second[p], rmse[p]) for p in members]}
                for label, members in groups.items()
            ],
        }
    ]


def _pair_face(report: DataReport, i: int, j: int, rmse: float) -> dict[str, Any]:
    """The image of row i, with the labels of row i as rings and those of row j as dots."""
    table = report.table
    marks = [
        mark(
            readable(name),
            ring=table.points[i, k] if table.mask[i, k] else None,
            dot=table.points[j, k] if table.mask[j, k] else None,
        )
        for k, name in enumerate(table.keypoints.names)
        if table.mask[i, k] or table.mask[j, k]
    ]
    note = f"ring: row {table.row[i]}, dot: row {table.row[j]}, {table.keypoints.source_names[table.source[i]]}"
    return face(report.store, table.images[i], f"RMSE {rmse:.2f} px", marks, note)


# Suspicious labels


def _suspicious_section(report: DataReport) -> Section:
    table, labels = report.table, report.suspicious
    order = labels["i"].drop_duplicates().head(report.faces)
    pictures = [_suspicious_face(report, labels[labels["i"] == i]) for i in order]
    groups = [{"label": "faces with the most suspicious labels", "faces": pictures}]
    if report.runs:
        judged = len(labels[["i"]].drop_duplicates())
        how = (
            f"The expected position is the mean prediction of {count(len(report.runs), 'run')} on faces outside of "
            f"the training rows: {judged} of {len(table)} faces. Runs over all folds cover all faces."
        )
    else:
        how = (
            "The expected position follows from the other points of the face (a cross-validated linear fit). Name runs "
            "over all folds on the command line to use their predictions instead."
        )
    note = (
        f"{how} Ring: label. Dot: expected position. Look at a face before you remove its label: it may be right. "
        "Click a column to sort."
    )
    return page.section(
        "Suspicious labels",
        note,
        page.faces("suspicious", [{"name": "labels", "groups": groups}] if pictures else []),
        _suspicious_table(table, labels),
    )


def _suspicious_table(table: FaceTable, labels: pd.DataFrame) -> Block | None:
    sources, names = table.keypoints.source_names, table.keypoints.names
    rows = [
        {
            "rank": rank,
            "row": int(table.row[i]),
            "source": sources[table.source[i]],
            "keypoint": readable(names[k]),
            "error": error,
            "times": times,
            "label": "{:.1f}, {:.1f}".format(*table.points[i, k]),
            "expected": f"{x:.1f}, {y:.1f}",
            **_in_photo(table, i, k),
        }
        for rank, (i, k, x, y, error, times) in enumerate(
            labels.head(MAX_LABELS)[COLUMNS].itertuples(index=False, name=None), start=1
        )
    ]
    columns = [
        page.column("rank", "rank", 0),
        page.column("row", "row", 0),
        page.column("source", "source"),
        page.column("keypoint", "keypoint"),
        page.column("times", "relative error", 1, hint="error divided by the median error of this source and keypoint"),
        page.column("error", "error, px", 1),
        page.column("label", "label"),
        page.column("expected", "expected position"),
        *([] if table.name is None else [page.column("photo", "label in the photo")]),
    ]
    return page.table("suspicious-labels", columns, rows)


def _in_photo(table: FaceTable, i: int, k: int) -> Mapping[str, str]:
    """``photo``: the position of a label in its photo; empty where faces were not cropped from photos."""
    if table.name is None or table.photo_matrix is None:
        return {}
    x, y = table.photo_matrix[i] @ [*table.points[i, k], 1]
    return {"photo": f"{table.name[i]}: {x:.1f}, {y:.1f}"}


def _suspicious_face(report: DataReport, labels: pd.DataFrame) -> dict[str, Any]:
    """A face with all its labels; the caption names the most suspicious one."""
    table, names = report.table, report.table.keypoints.names
    i, worst = int(labels["i"].iloc[0]), labels.iloc[0]
    marks = [
        mark(f"{readable(names[k])} {error:.1f} px", ring=table.points[i, k], dot=(x, y))
        for _, k, x, y, error, _ in labels[COLUMNS].itertuples(index=False, name=None)
    ]
    source = table.keypoints.source_names[table.source[i]]
    caption = f"{readable(names[int(worst['k'])])}: {worst['error']:.1f} px"
    note = f"{worst['times']:.0f} times the median, row {table.row[i]}, {source}{photo_of(table, i)}"
    return face(report.store, table.images[i], caption, marks, note)
