"""Speed and memory of facekp, as ratios of medians: settings come in, measurements go out.

Machines differ and are noisy, so no figure here is a promise. The two sides of a ratio are measured in turn. Where
memory matters, each is measured in a new process, as the state of the allocator is part of the comparison.
"""

from __future__ import annotations

import logging
import math
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from rich.table import Table
from torch import Tensor

from facekp.core.keypoints import Keypoints
from facekp.core.settings import parse
from facekp.data.competition import MissingFile, find_file, read_training_csv, write_training
from facekp.data.datamodule import Batch, FaceData
from facekp.data.readers.base import DataSettings
from facekp.data.synthetic.faces import draw_faces
from facekp.data.table import FaceTable
from facekp.functional.losses import LOSSES, labelled_mean, mse
from facekp.functional.metrics import mean_face
from facekp.models.ensemble import load_models, predict_table
from facekp.models.keypoint_model import KeypointModel
from facekp.models.scoring import compute_metrics
from facekp.networks.base import NETWORKS, build_network
from facekp.networks.cpu import optimize_for_cpu
from facekp.reporting.bench_settings import BenchSettings
from facekp.reporting.face_benchmark import face_times
from facekp.reporting.html.report import write_report
from facekp.reporting.settings import ReportSettings
from facekp.reporting.startup import measure_startup
from facekp.runs.folder import RunFolder
from facekp.runs.frames import predictions_frame

log = logging.getLogger(__name__)
SEED_BATCH, BATCH = 8, 32  # images per step of the published system's network and of the default network
RUNS, HELD_OUT, EPOCHS = 100, 1240, 30  # in the report: runs, validation faces of each, epochs of their curves
MEGABYTE = 1e6


class Measurement(NamedTuple):
    """A line of the benchmark.

    Attributes:
        what: is measured.
        measured: value with its unit.
        goal: what is aimed at; empty: nothing.
    """

    what: str
    measured: str
    goal: str


def bench(settings: BenchSettings) -> list[Measurement]:
    """Measure start-up, reading, reporting, the steps around the network, prediction, and training steps."""
    torch.set_num_threads(settings.threads)
    with tempfile.TemporaryDirectory() as scratch:
        reading = _bench_reading(settings, Path(scratch))
        reporting = _bench_report(settings, Path(scratch))
        start = _bench_startup(Path(scratch))
    pipeline = _bench_pipeline(settings)
    prediction = bench_prediction(settings.checkpoints, settings.rounds, settings.threads)
    faces = bench_one_face(settings.checkpoints, settings.rounds)
    return [*start, *reading, *reporting, pipeline, *prediction, *faces, *_bench_seed_step(settings)]


def benchmark_table(measurements: Sequence[Measurement], threads: int) -> Table:
    """The measurements for the terminal."""
    table = Table(title=f"medians, {threads} threads")
    for heading in ("what", "measured", "goal"):
        table.add_column(heading)
    for measurement in measurements:
        table.add_row(*measurement)
    return table


def _bench_startup(scratch: Path) -> list[Measurement]:
    start = measure_startup(scratch)
    plain = f"  first training step; plain torch takes {start.torch:.1f} s"
    return [
        Measurement("start: facekp.train --help", f"{start.help:.2f} CPU s", "at most 1.0 s"),
        Measurement("  a mistake in a key", f"{start.mistake:.2f} CPU s", "at most 1.0 s"),
        Measurement(plain, f"{start.first_step:.1f} CPU s", "at most 6 s"),
        Measurement("  facekp.predict of one photo", f"{start.predict:.1f} CPU s", ""),
        Measurement("  first prediction of a KeypointPredictor", f"{start.predictor:.1f} CPU s", ""),
    ]


def _in_new_process(task: Callable[..., Any], *arguments: Any) -> Any:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(task, arguments)


def _seconds(task: Callable[[], Any]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


# Reading training.csv


def _bench_reading(settings: BenchSettings, scratch: Path) -> list[Measurement]:
    keypoints, cache = settings.keypoints, scratch / "cache"
    folder = _competition_files(Path(settings.data.dir), scratch / "drawn", keypoints)
    rows = len(read_training_csv(folder, keypoints, cache))  # also fills the cache
    few = min(settings.row_by_row, rows)
    slow, fast, memory, cached = [], [], [], []
    for _ in range(settings.rounds):
        slow.append(_in_new_process(_read_row_by_row, folder, few) * rows / few)
        seconds, megabytes = _in_new_process(_read, folder, keypoints)
        fast.append(seconds)
        memory.append(megabytes)
        cached.append(_seconds(lambda: read_training_csv(folder, keypoints, cache)))
    ratio = median(slow) / median(fast)
    what = f"training.csv, {rows} rows: {median(fast):.2f} s; row by row"
    return [
        Measurement(what, f"{ratio:.1f} times as long", "10 times"),
        Measurement("  peak memory added to the process", f"{median(memory):.0f} MB", "at most 500 MB"),
        Measurement("  from the cache", f"{median(cached):.2f} s", "at most 0.5 s"),
    ]


def _competition_files(folder: Path, scratch: Path, keypoints: Keypoints) -> Path:
    """The folder of the competition's files; one with drawn faces if training.csv is missing."""
    try:
        find_file(folder, "training.csv")
    except MissingFile:
        log.info("no training.csv in %s: reading is measured on 1000 drawn faces", folder)
        write_training(scratch / "training.csv", draw_faces(1000, 0, keypoints))
        return scratch
    return folder


def _read(folder: Path, keypoints: Keypoints) -> tuple[float, float]:
    """Seconds, and the megabytes by which the peak memory exceeds what the process used before."""
    before = _memory("VmRSS")
    seconds = _seconds(lambda: read_training_csv(folder, keypoints))
    return seconds, _memory("VmHWM") - before


def _memory(name: str) -> float:
    """Megabytes, as Linux counts them for this process; the peak of getrusage includes the parent's before the fork."""
    status = Path("/proc/self/status")
    match = re.search(rf"{name}:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(match[1]) / 1024 if match else math.nan


def _read_row_by_row(folder: Path, rows: int) -> float:
    """Seconds in which the published system reads rows: the pixels of each are parsed into a float64 list."""
    warnings.simplefilter("ignore")  # numpy deprecates the function that is measured
    images, points = [], []

    def read() -> None:
        for _, row in pd.read_csv(folder / "training.csv", nrows=rows).iterrows():
            images.append(np.fromstring(row["Image"], sep=" ").reshape(96, 96))
            points.append(row.drop("Image").to_numpy(float))
        np.array(images), np.array(points)

    return _seconds(read)


# The report


def _bench_report(settings: BenchSettings, scratch: Path) -> list[Measurement]:
    common = {key: value for key, value in settings.data.plain().items() if key in DataSettings.model_fields}
    config = {
        "data": {**common, "name": "synthetic", "rows": HELD_OUT, "seed": 0},
        "keypoints": settings.keypoints.to_dict(),
        "model": settings.model.plain(),
    }
    write_example_runs(scratch / "runs", RUNS, draw_faces(HELD_OUT, 0, settings.keypoints), config)
    page = {"what": "runs", "out": str(scratch / "report.html"), "faces": 8, "resamples": 2000}
    report = parse(ReportSettings, {**page, "data": settings.data, "keypoints": settings.keypoints})
    seconds = _seconds(lambda: write_report(report, [scratch / "runs"]))
    size = Path(report.out).stat().st_size / MEGABYTE
    return [
        Measurement(f"report of {RUNS} runs, {HELD_OUT} faces each", f"{seconds:.1f} s", "at most 10 s"),
        Measurement("  size of the page", f"{size:.1f} MB", "at most 20 MB"),
    ]


def write_example_runs(root: Path, count: int, table: FaceTable, config: Mapping[str, Any]) -> list[RunFolder]:
    """Folders as finished runs leave them, without training: predictions are the labels with noise.

    Three runs in a row differ only in their seed. The next three have another learning rate and less noise.

    Args:
        root: where the folders are made.
        count: of the runs.
        table: the validation rows of all runs.
        config: content of config.yaml, except ``lr`` and ``seed``.
    """
    folders = []
    baseline = compute_metrics(mean_face(table.points, table.source, table.keypoints)[table.source], table)
    confidence = np.full(table.points.shape[:2], 0.5, dtype=np.float32)
    epochs = np.arange(1, EPOCHS + 1)
    for i in range(count):
        noise = 2 - 1.2 * (i // 3 * 3) / count  # pixels
        error = np.random.default_rng(i).normal(0, noise, table.points.shape).astype(np.float32)
        points = np.nan_to_num(table.points) + error
        rmse = noise * (1 + 2 * np.exp(-epochs / 8))
        curves = {"epoch": epochs, "minutes": epochs / 10, "val/rmse": rmse, "train/loss": rmse * 2}
        metrics = {**compute_metrics(points, table), "mean_face": baseline, "epochs": EPOCHS, "minutes": EPOCHS / 10}
        folder = RunFolder(root / f"run{i:03d}")
        folder.write_config({**config, "lr": 0.001 * (i // 3 + 1), "seed": i % 3})
        folder.write_predictions(predictions_frame(table, "val", points, confidence))
        folder.write_curves(pd.DataFrame(curves))
        folder.write_metrics(metrics)
        folders.append(folder)
    return folders


# Training and prediction


def _bench_pipeline(settings: BenchSettings) -> Measurement:
    """Everything but the network, as a fraction of a training step of the default model."""
    table = draw_faces(4 * BATCH, 0, settings.keypoints)
    model = KeypointModel(settings.keypoints, table.size, settings.model, settings.loss.activation, settings.decoder)
    optimize_for_cpu(model.network)
    data = FaceData(table, np.arange(len(table)) % 2, 0, "full", BATCH, settings.augment, seed=0)
    loss, optimizer = LOSSES.partial(settings.loss), torch.optim.Adam(model.parameters())
    rows, generator = torch.arange(BATCH), torch.Generator().manual_seed(0)

    def prepare() -> tuple[Batch, Tensor, Tensor]:
        batch = data.assemble(rows, generator)
        return batch, *model.target(model.spread(batch["points"], batch["source"]))

    batch, target, cells = prepare()
    mask = ~cells[..., 0].isnan()

    def network_step() -> None:
        optimizer.zero_grad()
        labelled_mean(loss(model(batch["image"])[-1], target, cells), mask).backward()
        optimizer.step()

    def other_steps() -> None:
        prepare()
        model.decode(target, batch["source"])

    network_step()  # the first one is slower
    times = [(_seconds(network_step), _seconds(other_steps)) for _ in range(settings.rounds * settings.steps)]
    network, others = (median(part) for part in zip(*times, strict=True))
    what = f"gather, augment, encode, decode of {BATCH} faces: {1000 * others:.0f} ms; step {1000 * network:.0f} ms"
    return Measurement(what, f"{100 * others / (network + others):.1f} % of a step", "at most 10 %")


def bench_prediction(ckpt: Sequence[str], rounds: int, threads: int) -> list[Measurement]:
    """Time per face of checkpoints and exported files: the first in ms, the others relative to it."""
    torch.set_num_threads(threads)
    models = load_models(ckpt)
    tables = [draw_faces(BATCH, 0, loaded.model.keypoints) for loaded in models]
    tables = [replace(table, source=np.zeros_like(table.source)) for table in tables]
    tasks = [partial(predict_table, [loaded], table) for loaded, table in zip(models, tables, strict=True)]
    times = [[_seconds(task) for task in tasks] for _ in range(rounds + 1)][1:]  # the first round is slower
    seconds = [median(of_model) for of_model in zip(*times, strict=True)]
    first = Measurement(f"prediction of {BATCH} faces: {ckpt[0]}", f"{1000 * seconds[0] / BATCH:.1f} ms per face", "")
    others = zip(ckpt[1:], seconds[1:], strict=True)
    return [first, *(Measurement(f"  {path}", f"{time / seconds[0]:.2f} times as long", "") for path, time in others)]


def bench_one_face(ckpt: Sequence[str], rounds: int) -> list[Measurement]:
    """CPU time of one face on one thread by the first checkpoint, with views, mirror image and engine; not of files."""
    if ckpt[0].endswith(".onnx"):
        return []
    times = _in_new_process(face_times, ckpt[0], rounds)
    (first, slowest), *others = times.items()
    return [
        Measurement(f"one face on one thread: {first}", f"{slowest:.1f} CPU ms", ""),
        *(Measurement(f"  {name}: {ms:.1f} CPU ms", f"{ms / slowest:.3f} times as long", "") for name, ms in others),
    ]


def _bench_seed_step(settings: BenchSettings) -> Iterator[Measurement]:
    """A training step of the published system's network, as that system ran it and as facekp runs it."""
    plain, optimized = [], []
    for _ in range(settings.rounds):
        plain.append(_in_new_process(_seed_steps, False, settings.steps, settings.threads))
        optimized.append(_in_new_process(_seed_steps, True, settings.steps, settings.threads))
    seconds = [median(time for _, times in runs for time in times) for runs in (plain, optimized)]
    difference = abs(plain[0][0] - optimized[0][0])
    what = f"a step of model=hourglass_seed, {SEED_BATCH} images: {seconds[1]:.2f} s; plain eager contiguous"
    yield Measurement(what, f"{seconds[0] / seconds[1]:.2f} times as long", "1.5 times")
    yield Measurement("  difference of the two losses", f"{difference:.1e}", "at most 1e-4")


def _seed_steps(optimized: bool, steps: int, threads: int) -> tuple[float, list[float]]:
    """The first loss, and the seconds of each step but the first; Adam enlarges rounding errors in later losses."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = build_network(NETWORKS.parse({"name": "hourglass_seed"}), heatmaps=15)
    if optimized:
        optimize_for_cpu(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images, target = torch.rand(SEED_BATCH, 1, 96, 96), torch.rand(SEED_BATCH, 15, 96, 96)
    mask, cells = torch.ones(SEED_BATCH, 15), torch.zeros(SEED_BATCH, 15, 2)
    losses: list[float] = []

    def step() -> None:
        optimizer.zero_grad()
        loss = labelled_mean(mse(network(images)[-1], target, cells), mask)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    times = [_seconds(step) for _ in range(steps + 1)]
    return losses[0], times[1:]
