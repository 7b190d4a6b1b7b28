"""The page that compares runs: runs come in, sections go out, the summary first."""

from __future__ import annotations

from collections.abc import Sequence

from facekp.functional.metrics import METRICS
from facekp.reporting.html import figures, page
from facekp.reporting.html.collect import Run, SkippedRun
from facekp.reporting.html.compare import differences, intervals
from facekp.reporting.html.corrupted import corruptions_section
from facekp.reporting.html.faces import ImageStore, extremes
from facekp.reporting.html.grouping import group_runs
from facekp.reporting.html.landmark_metrics import landmarks_section, subsets_section
from facekp.reporting.html.page import Section
from facekp.reporting.html.run_tables import groups_section, keypoints_section, not_counted, runs_section
from facekp.reporting.html.summary import headline, is_useless, summary
from facekp.reporting.html.versus import MAX_COMPARED, comparison_section


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
            page.text(*headline(runs, bounds), alert=is_useless(runs[0])),
            page.text(*summary(runs, pairs, skipped)),
        ),
        runs_section(runs, bounds, pairs),
        groups_section(groups, bounds[len(runs) :], not_counted(all_groups)),
        comparison_section(runs[:MAX_COMPARED], groups[:MAX_COMPARED], compared, pairs),
        page.section(
            "Learning curves",
            "Click a name in the legend to show or hide a run.",
            page.figure("curves", figures.learning_curves(runs), pick=figures.VISIBLE_TRACES),
        ),
        keypoints_section(runs),
        landmarks_section(runs),
        subsets_section(runs),
        *_curve_sections(runs),
        page.section(
            "Expected and measured error",
            "Points in ten groups of equal size, from the smallest to the largest expected error. None of them was "
            "used by facekp.calibrate to fit the expected error.",
            page.figure("reliability", figures.reliability(runs)),
        ),
        corruptions_section(runs),
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
