"""`python -m facekp.detection_benchmark`: measures how much accuracy face detection and cropping cost."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    from facekp.photos.detection_benchmark import BenchmarkRow
    from facekp.photos.photo_benchmark import PhotoResult


def main(cfg: DictConfig) -> list[BenchmarkRow] | list[PhotoResult]:
    """Measure, show the results as a table, and write them where ``out`` is set."""
    from facekp.core.console import show  # imported here: --help must not wait for torch
    from facekp.core.files import write_csv
    from facekp.core.outputs import output_file
    from facekp.photos.detection_benchmark import as_table, results_frame, results_table, run_detection_benchmark
    from facekp.photos.photo_benchmark import PHOTOS_TITLE, photos_frame, run_photo_benchmark
    from facekp.photos.settings import DetectionBenchmarkSettings
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(read_settings(cfg, DetectionBenchmarkSettings))
    rows: list[BenchmarkRow] | list[PhotoResult]
    with nullcontext() if settings.out is None else output_file(settings.out, overwrite=settings.overwrite) as out:
        if settings.photos is None:
            rows = run_detection_benchmark(settings)
            frame, table = results_frame(rows), results_table(rows)
        else:
            rows = run_photo_benchmark(settings, settings.photos)
            frame = photos_frame(rows)
            table = as_table(frame, PHOTOS_TITLE)
        show(table)
        if out is not None:
            write_csv(out, frame)
    return rows


if __name__ == "__main__":
    run_command("detection_benchmark", main)
