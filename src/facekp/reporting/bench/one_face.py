"""CPU time of one face on one thread, by views, mirror image and engine."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from facekp.models.checkpoint import load_checkpoint
from facekp.models.export.check import drawn_faces
from facekp.models.predictor import KeypointPredictor
from facekp.models.settings import DecoderOverride, Engine

CALLS = 20  # predictions of one face in a round
INT8_FACES = 32  # drawn faces of each source that set the ranges of int8

Predict = Callable[[np.ndarray], Any]


def face_times(ckpt: str, rounds: int) -> dict[str, float]:
    """CPU milliseconds of one face by how it is predicted; to be called in a new process.

    Args:
        ckpt: a checkpoint.
        rounds: how often all ways are measured, one after another; the medians count.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["FACEKP_CACHE"] = scratch  # of the exported graphs
        ways = _ways(ckpt, Path(scratch))
        face = drawn_faces(1, load_checkpoint(ckpt)).images[:1]
        times = [{name: _milliseconds(predict, face) for name, predict in ways.items()} for _ in range(rounds + 1)]
    return {name: median(of_round[name] for of_round in times[1:]) for name in ways}  # the first round is slower


def _ways(ckpt: str, scratch: Path) -> dict[str, Predict]:
    """What predicts, by its name; without onnxruntime and what exporting needs, torch alone."""
    ways: dict[str, Predict] = {
        "torch, all views": KeypointPredictor.from_checkpoint(ckpt, views="all", engine="torch").predict
    }
    engines: list[Engine] = ["torch"]
    if all(map(find_spec, ("onnx", "onnxruntime", "onnxscript"))):
        engines.append("onnx")
    views = {"one view and its mirror image": True, "one view": False}
    for engine in engines:
        for name, flip in views.items():
            predictor = KeypointPredictor.from_checkpoint(ckpt, decoder={"flip": flip}, engine=engine)
            ways[f"{engine}, {name}"] = predictor.predict
    if "onnx" in engines:
        for name, flip in views.items():
            file = write_int8(ckpt, flip, scratch / f"{flip}.onnx")
            ways[f"onnx int8, {name}"] = KeypointPredictor.from_checkpoint(file).predict
    return ways


def write_int8(ckpt: str, flip: bool, path: Path) -> Path:
    """Export a checkpoint's one view in int8, with ranges of drawn faces.

    Args:
        ckpt: the checkpoint.
        flip: whether the mirror image is part of the graph.
        path: the file.
    """
    from facekp.models.export.graph import KeypointGraph, trace
    from facekp.models.export.onnx_file import attach, describe, write_onnx
    from facekp.models.export.quantise import quantise

    loaded = load_checkpoint(ckpt)
    loaded.model.override_decoder(DecoderOverride(flip=flip).for_views("one"))
    faces = drawn_faces(INT8_FACES, loaded)
    write_onnx(trace(loaded, 0, torch.uint8), KeypointGraph(loaded.model).outputs(), path)
    quantise(path, replace(faces, source=np.zeros_like(faces.source)), torch.uint8, 0)
    attach(path, describe(loaded, "int8", 0, None))
    return path


def _milliseconds(predict: Predict, face: np.ndarray) -> float:
    start = time.process_time()
    for _ in range(CALLS):
        predict(face)
    return 1000 * (time.process_time() - start) / CALLS
