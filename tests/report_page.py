"""What tests of the report share: example runs, settings, and the content of a page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from facekp.core.settings import parse
from facekp.data.table import FaceTable
from facekp.reporting.bench.example_runs import write_example_runs
from facekp.reporting.settings import ReportSettings
from tests.conftest import config_of


def write_example_sweep(root: Path, faces: FaceTable) -> Path:
    """Nine runs in three groups of seeds, two of them calibrated (one badly), and the folder of a killed run.

    The name of one run would be markup, if the page did not escape it.
    """
    write_example_runs(root, 9, faces, config_of("data=synthetic", "data.rows=80", "data.seed=1"))
    (root / "run000").rename(root / "<img src=x onerror=alert(1)> & <b>bold")
    shutil.copytree(root / "run001", root / "killed")
    (root / "killed" / "metrics.json").unlink()
    (root / "run002" / "reliability.json").write_text('{"points": 90, "expected": [1, 2], "measured": [1.1, 1.5]}')
    (root / "run004" / "reliability.json").write_text('{"points": 90}')
    return root


def report_settings(out: Path, *overrides: str) -> ReportSettings:
    """The settings that a command line composes, with few resamples."""
    return parse(ReportSettings, config_of(f"out={out}", "resamples=200", *overrides, name="report"))


def content_of(page: Path) -> dict[str, Any]:
    """The JSON object from which a page is drawn."""
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def blocks_of(sections: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The blocks of some sections by name; text has none and goes by its kind."""
    return {block.get("name", block["kind"]): block for section in sections for block in section["blocks"]}
