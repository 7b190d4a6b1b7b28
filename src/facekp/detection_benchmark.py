"""`python -m facekp.detection_benchmark`: measures what finding and cropping faces costs in accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    from facekp.photos.detection_benchmark import BenchmarkRow


def main(cfg: DictConfig) -> list[BenchmarkRow]:
    """Hydra's task: measure, and print the table."""
    from facekp.core.console import show  # imported here: --help must not wait for torch
    from facekp.photos.detection_benchmark import results_table, run_detection_benchmark
    from facekp.photos.settings import DetectionBenchmarkSettings
    from facekp.runs.lookup import with_checkpoint_files

    rows = run_detection_benchmark(with_checkpoint_files(read_settings(cfg, DetectionBenchmarkSettings)))
    show(results_table(rows))
    return rows


if __name__ == "__main__":
    run_command("detection_benchmark", main)
