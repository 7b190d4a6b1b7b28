"""`python -m facekp.bench`: measures time and memory, and compares them with simple baselines and the machine's limit.

A cost and its baseline are measured alternately, as machines differ and are noisy.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from facekp.reporting.bench.run import Results


def main(cfg: DictConfig) -> Results:
    """Measure, show the results as tables, and write them where ``out`` is set."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.reporting.bench.settings import BenchSettings

    settings = read_settings(cfg, BenchSettings)
    from facekp.core.console import show
    from facekp.core.files import write_json
    from facekp.core.outputs import output_file
    from facekp.reporting.bench.compare import changes, changes_table, read_results
    from facekp.reporting.bench.measurement import growth_table, measurements_table
    from facekp.reporting.bench.run import bench
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(settings)
    earlier = None if settings.compare is None else read_results(Path(settings.compare))
    with nullcontext() if settings.out is None else output_file(settings.out, overwrite=settings.overwrite) as out:
        results = bench(settings)
        show(measurements_table(results.measurements, f"medians, {settings.threads} threads"))
        if results.growth:
            show(growth_table(results.growth))
        if earlier is not None:
            show(changes_table(changes(results.measurements, earlier), earlier, results.machine))
        if out is not None:
            write_json(out, results.to_dict())
    return results


if __name__ == "__main__":
    run_command("bench", main)
