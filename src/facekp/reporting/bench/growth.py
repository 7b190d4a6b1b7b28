"""How costs grow with the size of a batch, an image, a network, a scheme, a table and a page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from facekp.data.competition import read_training_csv, write_training
from facekp.data.near_duplicates import near_duplicate_groups
from facekp.data.synthetic.faces import draw_faces
from facekp.functional.heatmap import HeatmapCodec
from facekp.networks.base import NETWORKS, build_network
from facekp.networks.cpu import optimize_for_cpu
from facekp.reporting.bench.measurement import Growth
from facekp.reporting.bench.report import report_cost
from facekp.reporting.bench.settings import BenchSettings
from facekp.reporting.bench.timing import medians, seconds

BATCH_SIZE, SIZE, HEATMAPS = 16, 96, 19  # where they are not what grows
ROWS = (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
RUNS = (10, 30, 100, 300, 1000)


def measure_growth(settings: BenchSettings, scratch: Path) -> Iterator[Growth]:
    """Costs at several sizes; what is not named as growing stays the same."""
    torch.set_num_threads(settings.threads)
    network = settings.model.network.plain()

    def step(batch: int = BATCH_SIZE, size: int = SIZE, **changed: Any) -> Callable[[], None]:
        return _network_step({**network, **changed}, batch, size)

    def curve(size: str, tasks: dict[int, Callable[[], Any]], name: str) -> Growth:
        times = medians(list(tasks.values()), settings.rounds)
        return Growth(name, size, list(tasks), [1000 * time for time in times], "ms")

    training = f"training step of {BATCH_SIZE} images, network {network['name']}"
    yield curve("batch", {n: step(batch=n) for n in (1, 4, 16, 64)}, "training step")
    yield curve("image side, pixels", {n: step(size=n) for n in (48, 96, 192)}, training)
    for key, values in {"channels": (16, 32, 64, 128), "stacks": (1, 2, 4)}.items():
        if key in network:
            yield curve(key, {n: step(**{key: n}) for n in values}, training)
    points = (5, 15, 68, 500)
    yield curve(
        "points", {n: _codec_step(n, settings.decoder.rule) for n in points}, f"encode and decode {BATCH_SIZE} faces"
    )
    yield from _measure_rows(settings, scratch)
    runs = [count for count in RUNS if count <= settings.largest]
    costs = [report_cost(settings, count, scratch) for count in runs]
    yield Growth("report", "runs", runs, [time for time, _ in costs], "s")
    yield Growth("size of the report", "runs", runs, [megabytes for _, megabytes in costs], "MB")


def _network_step(network: dict[str, Any], batch: int, size: int) -> Callable[[], None]:
    """A step of training a network, with a loss that costs nothing."""
    built = build_network(NETWORKS.parse(network), heatmaps=HEATMAPS)
    optimize_for_cpu(built)
    optimizer = torch.optim.Adam(built.parameters(), lr=1e-5)
    images = torch.rand(batch, 1, size, size)

    def step() -> None:
        optimizer.zero_grad()
        built(images)[-1].square().mean().backward()
        optimizer.step()

    return step


def _codec_step(points: int, rule: str) -> Callable[[], Any]:
    codec = HeatmapCodec((SIZE, SIZE), 4, 1.0)
    labels = SIZE * torch.rand(BATCH_SIZE, points, 2, generator=torch.Generator().manual_seed(0))
    return lambda: codec.decode(codec.encode(labels), rule)


def _measure_rows(settings: BenchSettings, scratch: Path) -> Iterator[Growth]:
    """Reading and splitting tables of more and more drawn faces."""
    rows: Sequence[int] = [count for count in ROWS if count <= settings.largest]
    faces = draw_faces(rows[-1], 0, settings.keypoints)
    reading, grouping = [], []
    for count in rows:
        folder = scratch / f"rows{count}"
        table = faces.take(torch.arange(count).numpy())
        write_training(folder / "training.csv", table)
        reading.append(seconds(lambda: read_training_csv(folder, settings.keypoints)))  # noqa: B023  # called at once
        grouping.append(seconds(lambda: near_duplicate_groups(table.images)))  # noqa: B023  # called at once
        shutil.rmtree(folder)  # a million rows are 34 GB
    yield Growth("read training.csv", "rows", rows, reading, "s")
    yield Growth("group near-duplicates", "rows", rows, grouping, "s")
