"""`python -m facekp.report outputs/…`: one HTML page that compares runs; `what=data`: one that shows the data.

Paths stand as plain arguments, settings as key=value; behind ``--`` everything is a path.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.readers.registry import read_table
from facekp.reporting.html.collect import read_runs
from facekp.reporting.html.labels import data_page
from facekp.reporting.html.overview import runs_page
from facekp.reporting.html.page import write_page

log = logging.getLogger(__name__)
RUNS = Path("outputs")  # where runs are looked for if no path is given

MEGABYTE = 1e6


def report(config: dict[str, Any], paths: Sequence[Path]) -> Path:
    """Write the page.

    Args:
        config: as conf/report.yaml composes it.
        paths: folders of runs, or above them.

    Returns:
        where it is.

    Raises:
        UserError: no run is there, or the data can't be read.
    """
    if config["what"] not in PAGES:
        raise UserError(f"what={config['what']}: choose one of {', '.join(PAGES)}")
    out = Path(config["out"])
    title, sections, images = PAGES[config["what"]](config, paths)
    write_page(out, title, sections, images)
    log.info("written: %s (%.1f MB); open it in a browser", out, out.stat().st_size / MEGABYTE)
    return out


def _of_runs(config: dict[str, Any], paths: Sequence[Path]) -> tuple[str, list[dict[str, Any]], dict[str, str]]:
    runs, left_out = read_runs(paths or [RUNS])
    sections, album = runs_page(runs, left_out, config["faces"], config["resamples"])
    log.info("%d runs, %d folders left out", len(runs), len(left_out))
    return f"facekp: {len(runs)} run{'s' * (len(runs) > 1)}", sections, album.images


def _of_data(config: dict[str, Any], paths: Sequence[Path]) -> tuple[str, list[dict[str, Any]], dict[str, str]]:
    runs = read_runs(paths)[0] if paths else []
    table = read_table(config["data"], Keypoints.from_dict(config["keypoints"]))
    sections, album = data_page(table, config["data"], runs, config["faces"])
    return f"facekp: the labels of {len(table)} faces", sections, album.images


PAGES = {"runs": _of_runs, "data": _of_data}
