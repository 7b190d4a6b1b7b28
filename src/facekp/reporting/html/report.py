"""Writes the report: settings and folders of runs come in, one HTML page goes out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from facekp.core.console import count
from facekp.core.outputs import output_file
from facekp.data.readers.read import read_table
from facekp.reporting.html.collect import read_runs
from facekp.reporting.html.faces import ImageStore
from facekp.reporting.html.labels import data_page
from facekp.reporting.html.overview import runs_page
from facekp.reporting.html.page import Section, is_page, write_page
from facekp.reporting.settings import ReportSettings

log = logging.getLogger(__name__)
RUNS = Path("outputs")  # searched for runs if no path is given
MEGABYTE = 1e6

Page = tuple[str, list[Section], ImageStore]  # title, sections, images


def write_report(settings: ReportSettings, paths: Sequence[Path]) -> Path:
    """Write the page that ``settings.what`` names.

    Args:
        settings: folders of the runs, and what the page shows.
        paths: folders of runs, or folders above them.

    Returns:
        The path of the page.

    Raises:
        UserError: another file would be replaced, there are no runs, or the data can't be read.
    """
    replaceable = settings.overwrite or is_page(Path(settings.out))
    with output_file(settings.out, overwrite=replaceable) as out:
        page = _page_of_runs if settings.what == "runs" else _page_of_data
        title, sections, store = page(settings, paths)
        write_page(out, title, sections, store.images)
    log.info("report: %s (%.1f MB); open it in a browser", out, out.stat().st_size / MEGABYTE)
    return out


def _page_of_runs(settings: ReportSettings, paths: Sequence[Path]) -> Page:
    runs, skipped = read_runs(paths or [RUNS])
    log.info("%s, %s skipped", count(len(runs), "run"), count(len(skipped), "folder"))
    sections, store = runs_page(runs, skipped, settings.faces, settings.resamples)
    return f"facekp: {count(len(runs), 'run')}", sections, store


def _page_of_data(settings: ReportSettings, paths: Sequence[Path]) -> Page:
    runs = read_runs(paths)[0] if paths else []
    table = read_table(settings.data, settings.keypoints)
    sections, store = data_page(table, settings.data, runs, settings.faces)
    return f"facekp: the labels of {count(len(table), 'face')}", sections, store
