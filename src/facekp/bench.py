"""`python -m facekp.bench`: speed and memory, as ratios of medians.

The two sides of a ratio are measured in turn, as machines differ and are noisy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from facekp.reporting.benchmark import Measurement


def main(cfg: DictConfig) -> list[Measurement]:
    """Measure, and show the results as a table."""
    from facekp.reporting.bench_settings import BenchSettings  # imported here: --help must answer within a second

    settings = read_settings(cfg, BenchSettings)
    from facekp.core.console import show
    from facekp.reporting.benchmark import bench, benchmark_table

    measurements = bench(settings)
    show(benchmark_table(measurements, settings.threads))
    return measurements


if __name__ == "__main__":
    run_command("bench", main)
