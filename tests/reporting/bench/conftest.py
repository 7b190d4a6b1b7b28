"""Settings of a benchmark at its smallest."""

from facekp.core.settings import parse
from facekp.reporting.bench.settings import BenchSettings
from tests.conftest import config_of

SMALL = ["rounds=1", "steps=1", "threads=1", "row_by_row=10", "model.network.channels=8", "model.network.levels=1"]


def bench_settings(*overrides):
    return parse(BenchSettings, config_of(*SMALL, *overrides, name="bench"))
