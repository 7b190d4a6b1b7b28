"""Runs the sections of the benchmark: settings come in, measurements and curves go out.

Machines differ and are noisy, so no figure here is a promise. The two sides of a ratio are measured alternately. Where
memory matters, each is measured in a new process, as the state of the allocator is part of the comparison.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch

from facekp.reporting.bench.growth import measure_growth
from facekp.reporting.bench.machine import describe_machine
from facekp.reporting.bench.measurement import Growth, Measurement
from facekp.reporting.bench.prediction import measure_prediction
from facekp.reporting.bench.reading import measure_reading, measure_splitting
from facekp.reporting.bench.report import measure_report
from facekp.reporting.bench.settings import BenchSettings, Section
from facekp.reporting.bench.startup import measure_startup
from facekp.reporting.bench.steps import measure_steps
from facekp.reporting.bench.sweep import measure_sweep
from facekp.reporting.bench.training import measure_training
from facekp.runs.revision import git_revision

log = logging.getLogger(__name__)

MEASURE: Mapping[Section, Callable[[BenchSettings, Path], Iterator[Measurement | Growth]]] = {
    "startup": measure_startup,
    "reading": measure_reading,
    "splitting": measure_splitting,
    "steps": measure_steps,
    "training": measure_training,
    "prediction": measure_prediction,
    "report": measure_report,
    "sweep": measure_sweep,
    "growth": measure_growth,
}


class Results(NamedTuple):
    """What a benchmark found.

    Attributes:
        machine: `describe_machine`.
        measurements: in the order of the sections.
        growth: how costs grow.
    """

    machine: dict[str, Any]
    measurements: list[Measurement]
    growth: list[Growth]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the date and the revision of the code."""
        return {
            "date": f"{date.today()}",
            "revision": git_revision(),
            "machine": self.machine,
            "measurements": [measurement.to_dict() for measurement in self.measurements],
            "growth": [asdict(growth) for growth in self.growth],
        }


def bench(settings: BenchSettings) -> Results:
    """Measure the sections that the settings name."""
    torch.set_num_threads(settings.threads)
    results = Results(describe_machine(settings.threads), [], [])
    for section in settings.sections:
        log.info("measuring: %s", section)
        with tempfile.TemporaryDirectory() as scratch:
            for found in MEASURE[section](settings, Path(scratch)):
                if isinstance(found, Growth):
                    results.growth.append(found)
                else:
                    results.measurements.append(found)
    return results
