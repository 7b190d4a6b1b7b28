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
    """Measure, show the results as a table, and write them where ``out`` is set."""
    from facekp.reporting.bench_settings import BenchSettings  # imported here: --help must answer within a second

    settings = read_settings(cfg, BenchSettings)
    import pandas as pd

    from facekp.core.console import show
    from facekp.core.files import write_csv
    from facekp.core.outputs import output_file
    from facekp.reporting.benchmark import bench, benchmark_table
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(settings)
    out = None if settings.out is None else output_file(settings.out, overwrite=settings.overwrite)
    measurements = bench(settings)
    show(benchmark_table(measurements, settings.threads))
    if out is not None:
        write_csv(out, pd.DataFrame(measurements))
    return measurements


if __name__ == "__main__":
    run_command("bench", main)
