"""What the page that compares runs costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from facekp.core.settings import parse
from facekp.data.readers.base import DataSettings
from facekp.data.synthetic.faces import draw_faces
from facekp.reporting.bench.example_runs import write_example_runs
from facekp.reporting.bench.measurement import Measurement
from facekp.reporting.bench.settings import BenchSettings
from facekp.reporting.bench.timing import seconds
from facekp.reporting.html.report import write_report
from facekp.reporting.settings import ReportSettings

HELD_OUT = 1240  # validation faces of each run
MEGABYTE = 1e6


def measure_report(settings: BenchSettings, scratch: Path) -> Iterator[Measurement]:
    """Time and size of a page of ``settings.runs`` runs."""
    time, megabytes = report_cost(settings, settings.runs, scratch)
    name = f"report of {settings.runs} runs, {HELD_OUT} faces each"
    yield Measurement(name, time, "s", goal="at most 10 s of 100 runs, 30 s of 1000")
    yield Measurement("  size of the page", megabytes, "MB", goal="at most 20 MB")


def report_cost(settings: BenchSettings, runs: int, scratch: Path) -> tuple[float, float]:
    """Seconds and megabytes of a page of so many runs."""
    common = {key: value for key, value in settings.data.plain().items() if key in DataSettings.model_fields}
    config = {
        "data": {**common, "name": "synthetic", "rows": HELD_OUT, "seed": 0},
        "keypoints": settings.keypoints.to_dict(),
        "model": settings.model.plain(),
    }
    folder = scratch / f"runs{runs}"
    write_example_runs(folder, runs, draw_faces(HELD_OUT, 0, settings.keypoints), config)
    page = {"what": "runs", "out": str(folder / "report.html"), "faces": 8, "resamples": 2000}
    report = parse(ReportSettings, {**page, "data": settings.data, "keypoints": settings.keypoints})
    time = seconds(lambda: write_report(report, [folder]))
    return time, Path(report.out).stat().st_size / MEGABYTE
