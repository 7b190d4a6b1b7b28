"""`python -m facekp.bench`: speed and memory, as ratios of medians within one run.

Machines differ and are noisy, so no figure here is a promise; the two sides of a ratio are measured in turn, each in a
fresh process where memory matters (the allocator's state is part of what is compared).
"""

from __future__ import annotations

import copy
import logging
import math
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from facekp.core.files import write_csv, write_json, write_yaml
from facekp.core.keypoints import Keypoints
from facekp.data.augment import Augmentation
from facekp.data.datamodule import Batch, FaceData
from facekp.data.readers.competition import MissingFile, find_file, read_training_csv, write_training
from facekp.data.synthetic.faces import draw_faces
from facekp.data.table import FaceTable
from facekp.functional.losses import build_loss, labelled_mean, mse
from facekp.functional.metrics import mean_face
from facekp.models.ensemble import load_models, predict_points
from facekp.models.keypoint_model import KeypointModel
from facekp.models.scoring import compute_metrics
from facekp.networks.cpu import optimize_for_cpu
from facekp.reporting.html.report import report
from facekp.runs.frames import predictions_frame

log = logging.getLogger(__name__)
SEED_BATCH, BATCH = 8, 32  # images a step of the starting system's network and of the default one

RUNS, HELD_OUT, EPOCHS = 100, 1240, 30  # of the report: runs, validation faces of each, epochs of their curves


def bench(config: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Measure everything.

    Args:
        config: as conf/bench.yaml composes it.

    Returns:
        (what, measured, goal) of every line.
    """
    keypoints = Keypoints.from_dict(config["keypoints"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = _competition_files(Path(config["data"]["dir"]), Path(scratch) / "drawn", keypoints)
        reading = _bench_reading(folder, Path(scratch) / "cache", keypoints, config)
        reporting = _bench_report(Path(scratch), keypoints, config)
    ckpt = config["ckpt"] if isinstance(config["ckpt"], list) else [config["ckpt"]]
    answering = bench_answers(ckpt, config["rounds"], config["threads"])
    return [*reading, *reporting, _bench_pipeline(keypoints, config), *answering, *_bench_seed_step(config)]


def _competition_files(folder: Path, scratch: Path, keypoints: Keypoints) -> Path:
    try:
        find_file(folder, "training.csv")
    except MissingFile:
        log.info("no training.csv in %s: reading is measured on 1000 drawn faces", folder)
        write_training(scratch / "training.csv", draw_faces(1000, 0, keypoints))
        return scratch
    return folder


def _fresh(task: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``task`` in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(task, arguments)


def _timed(task: Callable[[], Any]) -> float:
    """Seconds."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def _bench_reading(
    folder: Path, cache: Path, keypoints: Keypoints, config: dict[str, Any]
) -> list[tuple[str, str, str]]:
    rows = len(read_training_csv(folder, keypoints, cache))
    some = min(config["row_by_row"], rows)
    slow, fast, memory, cached = [], [], [], []
    for _ in range(config["rounds"]):
        slow.append(_fresh(_read_row_by_row, folder, some) * rows / some)
        seconds, megabytes = _fresh(_read, folder, keypoints)
        fast.append(seconds)
        memory.append(megabytes)
        cached.append(_timed(lambda: read_training_csv(folder, keypoints, cache)))
    ratio = median(slow) / median(fast)
    return [
        (f"training.csv, {rows} rows: {median(fast):.2f} s; row by row", f"{ratio:.1f} times as long", "10 times"),
        ("  memory above the process's before", f"{median(memory):.0f} MB", "at most 500 MB"),
        ("  from the cache", f"{median(cached):.2f} s", "at most 0.5 s"),
    ]


def _read(folder: Path, keypoints: Keypoints) -> tuple[float, float]:
    """Seconds, and megabytes of peak memory above what the process had."""
    before = _memory("VmRSS")
    seconds = _timed(lambda: read_training_csv(folder, keypoints))
    return seconds, _memory("VmHWM") - before


def _memory(name: str) -> float:
    """Megabytes of Linux's account of this process; getrusage's peak would be that of the parent before the fork."""
    status = Path("/proc/self/status")
    found = re.search(rf"{name}:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) / 1024 if found else math.nan


def _read_row_by_row(folder: Path, rows: int) -> float:
    """Seconds of the starting system's way: every row's pixels parsed by themselves into a float64 list."""
    warnings.simplefilter("ignore")  # numpy deprecates what is measured here
    images, points = [], []

    def read() -> None:
        for _, row in pd.read_csv(folder / "training.csv", nrows=rows).iterrows():
            images.append(np.fromstring(row["Image"], sep=" ").reshape(96, 96))
            points.append(row.drop("Image").to_numpy(float))
        np.array(images), np.array(points)

    return _timed(read)


def _bench_report(scratch: Path, keypoints: Keypoints, config: dict[str, Any]) -> list[tuple[str, str, str]]:
    base = {
        "data": {**config["data"], "name": "synthetic", "rows": HELD_OUT, "seed": 0},
        "keypoints": config["keypoints"],
    }
    leave_runs(scratch / "runs", RUNS, draw_faces(HELD_OUT, 0, keypoints), base)
    wanted = {"what": "runs", "out": str(scratch / "report.html"), "faces": 8, "resamples": 2000}
    seconds = _timed(lambda: report(wanted, [scratch / "runs"]))
    size = (scratch / "report.html").stat().st_size / 1e6
    return [
        (f"report of {RUNS} runs, {HELD_OUT} faces each", f"{seconds:.1f} s", "at most 10 s"),
        ("  size of the page", f"{size:.1f} MB", "at most 20 MB"),
    ]


def leave_runs(root: Path, count: int, table: FaceTable, base: dict[str, Any]) -> list[Path]:
    """Folders as finished runs leave them, without training: predictions are the labels and noise, less of it each run.

    Args:
        root: where they are put.
        count: how many; every third differs from the one before in its rate, the others in nothing but their seed.
        table: the validation rows of all.
        base: config.yaml of all, but for ``lr`` and ``seed``.
    """
    folders = []
    face = mean_face(table.points, table.source, table.keypoints)
    baseline = compute_metrics(face[table.source], table)
    for i in range(count):
        rng = np.random.default_rng(i)
        noise = 2 - 1.2 * (i // 3 * 3) / count
        points = np.nan_to_num(table.points) + rng.normal(0, noise, table.points.shape).astype(np.float32)
        epochs = np.arange(EPOCHS)
        rmse = noise * (1 + 2 * np.exp(-epochs / 8))
        curve = pd.DataFrame({"epoch": epochs, "minutes": (epochs + 1) / 10, "val/rmse": rmse, "train/loss": rmse * 2})
        figures = {**compute_metrics(points, table), "mean_face": baseline, "epochs": EPOCHS, "minutes": EPOCHS / 10}
        confidence = np.full(points.shape[:2], 0.5, dtype=np.float32)
        folder = root / f"run{i:03d}"
        write_yaml(folder / "config.yaml", {**copy.deepcopy(base), "lr": 0.001 * (i // 3 + 1), "seed": i % 3})
        write_csv(folder / "predictions.csv", predictions_frame(table, "val", points, confidence))
        write_csv(folder / "metrics.csv", curve)
        write_json(folder / "metrics.json", figures)
        folders.append(folder)
    return folders


def _bench_pipeline(keypoints: Keypoints, config: dict[str, Any]) -> tuple[str, str, str]:
    """What stands around the network, as a share of a training step of the default model."""
    torch.set_num_threads(config["threads"])
    table = draw_faces(4 * BATCH, 0, keypoints)
    model = KeypointModel(keypoints, table.size, config["model"], config["loss"]["activation"], config["decoder"])
    optimize_for_cpu(model.network)
    augmentation = Augmentation.from_dict(config["augment"])
    data = FaceData(table, np.arange(len(table)) % 2, 0, "full", BATCH, augmentation, seed=0)
    loss, optimizer = build_loss(config["loss"]), torch.optim.Adam(model.parameters())
    rows, generator = torch.arange(BATCH), torch.Generator().manual_seed(0)

    def before() -> tuple[Batch, Tensor, Tensor]:
        batch = data.assemble(rows, generator)
        return batch, *model.target(model.spread(batch["points"], batch["source"]))

    batch, target, cells = before()
    mask = ~cells[..., 0].isnan()

    def step() -> None:
        optimizer.zero_grad()
        labelled_mean(loss(model(batch["image"])[-1], target, cells), mask).backward()
        optimizer.step()

    def around() -> None:
        before()
        model.decode(target, batch["source"])

    step()
    times = [(_timed(step), _timed(around)) for _ in range(config["rounds"] * config["steps"])]
    network, rest = (median(part) for part in zip(*times, strict=True))
    name = f"gather, augment, encode, decode of {BATCH} faces: {1000 * rest:.0f} ms; step {1000 * network:.0f} ms"
    return name, f"{100 * rest / (network + rest):.1f} % of a step", "at most 10 %"


def bench_answers(ckpt: Sequence[str], rounds: int, threads: int) -> list[tuple[str, str, str]]:
    """How long checkpoints and exported files take for a face, the first in ms, the others as ratios to it."""
    torch.set_num_threads(threads)
    answerers = load_models(ckpt)
    tables = [draw_faces(BATCH, 0, one.model.keypoints) for one in answerers]
    tables = [replace(table, source=np.zeros_like(table.source)) for table in tables]
    tasks = [partial(predict_points, [one], table) for one, table in zip(answerers, tables, strict=True)]
    times = [[_timed(task) for task in tasks] for _ in range(rounds + 1)][1:]  # the first warms up
    seconds = [median(own) for own in zip(*times, strict=True)]
    first = (f"answering {BATCH} faces: {ckpt[0]}", f"{1000 * seconds[0] / BATCH:.1f} ms a face", "")
    rest = zip(ckpt[1:], seconds[1:], strict=True)
    return [first, *((f"  {path}", f"{time / seconds[0]:.2f} times as long", "") for path, time in rest)]


def _bench_seed_step(config: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    """A step of the starting system's network as it was run, and as facekp runs it, in fresh processes in turn."""
    plain, ours = [], []
    for _ in range(config["rounds"]):
        plain.append(_fresh(_seed_steps, False, config["steps"], config["threads"]))
        ours.append(_fresh(_seed_steps, True, config["steps"], config["threads"]))
    seconds = [median(time for _, times in runs for time in times) for runs in (plain, ours)]
    loss_gap = abs(plain[0][0] - ours[0][0])
    name = f"a step of model=hourglass_seed, {SEED_BATCH} images: {seconds[1]:.2f} s; plain eager contiguous"
    yield name, f"{seconds[0] / seconds[1]:.2f} times as long", "1.5 times"
    yield "  difference of the two losses", f"{loss_gap:.1e}", "at most 1e-4"


def _seed_steps(fast: bool, steps: int, threads: int) -> tuple[float, list[float]]:
    """The first loss (later ones differ as Adam enlarges rounding errors), and seconds of each step but the first."""
    from facekp.networks.build import build_network

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = build_network("hourglass_seed", heatmaps=15)
    if fast:
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

    times = [_timed(step) for _ in range(steps + 1)]
    return losses[0], times[1:]
