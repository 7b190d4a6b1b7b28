"""What predictions cost: one face by each engine, a batch by each checkpoint, and exported files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from facekp.data.synthetic.faces import draw_faces
from facekp.models.ensemble import load_models, predict_table
from facekp.reporting.bench.measurement import Measurement
from facekp.reporting.bench.one_face import face_times
from facekp.reporting.bench.settings import BenchSettings
from facekp.reporting.bench.timing import in_new_process, medians

BATCH_SIZE = 32  # faces


def measure_prediction(settings: BenchSettings, scratch: Path) -> Iterator[Measurement]:
    """One face on one thread by each checkpoint, then a batch."""
    for ckpt in settings.checkpoints:
        yield from measure_one_face(ckpt, settings.rounds)
    yield from measure_batch(settings.checkpoints, settings.rounds, settings.threads)


def measure_one_face(ckpt: str, rounds: int) -> Iterator[Measurement]:
    """CPU time of one face with views, mirror image and engine, relative to all views in torch; not of files."""
    if ckpt.endswith(".onnx"):
        return
    times = in_new_process(face_times, ckpt, rounds)
    (first, slowest), *others = times.items()
    yield Measurement(f"one face on one thread, {ckpt}: {first}", slowest, "CPU ms")
    for name, time in others:
        yield Measurement(f"  {ckpt}: {name}", time, "CPU ms", slowest, first)


def measure_batch(ckpt: Sequence[str], rounds: int, threads: int) -> Iterator[Measurement]:
    """Time per face of a batch, by checkpoints and exported files, relative to the first."""
    torch.set_num_threads(threads)
    models = load_models(ckpt)
    tables = [draw_faces(BATCH_SIZE, 0, loaded.model.keypoints) for loaded in models]
    tables = [replace(table, source=np.zeros_like(table.source)) for table in tables]
    tasks = [partial(predict_table, [loaded], table) for loaded, table in zip(models, tables, strict=True)]
    first, *others = (1000 * time / BATCH_SIZE for time in medians(tasks, rounds))
    yield Measurement(f"face in a batch of {BATCH_SIZE}, {ckpt[0]}", first, "ms")
    for path, time in zip(ckpt[1:], others, strict=True):
        yield Measurement(f"face in a batch of {BATCH_SIZE}, {path}", time, "ms", first, ckpt[0])
