"""What it costs to read the competition's files and to group near-duplicates."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from facekp.core.keypoints import Keypoints
from facekp.data.competition import MissingFile, find_file, read_training_csv, write_training
from facekp.data.near_duplicates import CORRELATION, near_duplicate_groups, standardise
from facekp.data.synthetic.faces import draw_faces
from facekp.reporting.bench.measurement import Measurement
from facekp.reporting.bench.settings import BenchSettings
from facekp.reporting.bench.timing import in_new_process, medians, memory, seconds

log = logging.getLogger(__name__)
DRAWN = 1000  # faces, where the competition's files are missing
GROUPED = 1000  # images whose near-duplicates are searched; the baseline takes seconds for them


def measure_reading(settings: BenchSettings, scratch: Path) -> Iterator[Measurement]:
    """training.csv without a cache, with one, and the memory it takes."""
    keypoints, cache = settings.keypoints, scratch / "cache"
    folder = _competition_files(Path(settings.data.dir), scratch / "drawn", keypoints)
    rows = len(read_training_csv(folder, keypoints, cache))  # also fills the cache
    few = min(settings.row_by_row, rows)
    slow, fast, added, cached = [], [], [], []
    for _ in range(settings.rounds):
        slow.append(in_new_process(_read_row_by_row, folder, few) * rows / few)
        time, megabytes = in_new_process(_read, folder, keypoints)
        fast.append(time)
        added.append(megabytes)
        cached.append(seconds(partial(read_training_csv, folder, keypoints, cache)))
    plain = f"row by row, from {few} rows"
    yield Measurement(f"read training.csv, {rows} rows", median(fast), "s", median(slow), plain, goal="10 times")
    yield Measurement("  memory added to the process", median(added), "MB", goal="at most 500 MB")
    yield Measurement("  from the cache", median(cached), "s", median(slow), plain, goal="at most 0.5 s")


def _competition_files(folder: Path, scratch: Path, keypoints: Keypoints) -> Path:
    """The folder of the competition's files; one with drawn faces if training.csv is missing."""
    try:
        find_file(folder, "training.csv")
    except MissingFile:
        log.info("no training.csv in %s: reading is measured on %d drawn faces", folder, DRAWN)
        write_training(scratch / "training.csv", draw_faces(DRAWN, 0, keypoints))
        return scratch
    return folder


def _read(folder: Path, keypoints: Keypoints) -> tuple[float, float]:
    """Seconds, and the megabytes by which the peak memory exceeds what the process used before."""
    before = memory("VmRSS")
    time = seconds(partial(read_training_csv, folder, keypoints))
    return time, memory("VmHWM") - before


def _read_row_by_row(folder: Path, rows: int) -> float:
    """Seconds in which the published system reads rows: the pixels of each are parsed into a float64 list."""
    warnings.simplefilter("ignore")  # numpy deprecates the function that is measured
    images, points = [], []

    def read() -> None:
        for _, row in pd.read_csv(folder / "training.csv", nrows=rows).iterrows():
            images.append(np.fromstring(row["Image"], sep=" ").reshape(96, 96))
            points.append(row.drop("Image").to_numpy(float))
        np.array(images), np.array(points)

    return seconds(read)


def measure_splitting(settings: BenchSettings, scratch: Path) -> Iterator[Measurement]:
    """Grouping near-duplicates, which a split must keep together."""
    images = np.asarray(draw_faces(GROUPED, 0, settings.keypoints).images)
    ours, plain = medians([lambda: near_duplicate_groups(images), lambda: _compare_all(images)], settings.rounds)
    name = f"group near-duplicates of {GROUPED} images"
    yield Measurement(name, ours, "s", plain, "comparing every image with every other")


def _compare_all(images: np.ndarray) -> np.ndarray:
    """bool (N, N): which images correlate, the simplest way."""
    standard = standardise(images)
    return np.array([standard @ image > CORRELATION for image in standard])
