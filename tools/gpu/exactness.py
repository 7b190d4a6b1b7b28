"""Sections of `tools/gpu_check.py`: resuming to the bit, and prediction on a GPU beside the CPU's."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from tools.gpu.plan import Plan
from tools.gpu.training import QUIET, Enough, restore_defaults, train_settings

from facekp.data.readers.read import read_table
from facekp.models.checkpoint import load_checkpoint
from facekp.models.graph_cache import graph_file, load_graph
from facekp.models.predictor import KeypointPredictor
from facekp.models.settings import DecoderOverride
from facekp.reporting.roofline import wait_for
from facekp.runs.folder import RunFolder
from facekp.training.setup import train

EPOCHS, STOPPED_AFTER = 4, 2
CUDA = "CUDAExecutionProvider"


class StopAfter(pl.Callback):
    """Ends a training at the start of an epoch, as a kill would."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == STOPPED_AFTER:
            raise Enough


def check_resume(plan: Plan) -> None:
    """Is a resumed training equal to the last bit to one that was not stopped?"""
    for name, overrides in (("as it is", []), ("deterministic=true", ["trainer.deterministic=true"])):
        try:
            difference = _resume_difference(plan, overrides)
        except Exception as error:
            plan.record.fail(f"resume, {name}", error)
            continue
        finally:
            restore_defaults(plan.device)
        plan.record.add("resume", f"largest difference of a weight, {name}", difference, "", "aim 0")
        if difference == 0 or plan.toy:
            return


def _resume_difference(plan: Plan, overrides: list[str]) -> float:
    """The largest difference of a weight: 4 epochs against 2 and a resume."""
    rows = [] if plan.toy else ["data.rows=800"]
    settings = train_settings([*plan.base("default"), *rows, *overrides, *QUIET, f"trainer.max_epochs={EPOCHS}"])
    whole, resumed = plan.folder("whole"), plan.folder("resumed")
    train(settings, whole)
    try:
        train(settings, resumed, callbacks=[StopAfter()])
    except Enough:
        train(settings, resumed, resume=True)
    first, second = (_weights(folder) for folder in (whole, resumed))
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    raw: dict[str, Any] = torch.load(RunFolder(folder).last_checkpoint, weights_only=True, map_location="cpu")
    state: dict[str, torch.Tensor] = raw["state_dict"]
    return state


def check_predictor(plan: Plan) -> None:
    """Points of the shipped checkpoint on the device beside the CPU's, and faces per second."""
    settings = train_settings(plan.base("default"))
    images = np.array(read_table(settings.data, settings.keypoints).images[: 4 if plan.toy else 512])
    name = plan.device.type
    on_cpu = KeypointPredictor.from_checkpoint("shipped", device="cpu", engine="torch")(images)[0]
    on_device = KeypointPredictor.from_checkpoint("shipped", device=name, engine="torch", batch_size=1024)
    for precision, allowed in (("TF32", True), ("float32", False)):
        torch.backends.cudnn.allow_tf32 = allowed
        distance = np.abs(on_device(images)[0] - on_cpu).max()
        what = f"largest difference from the CPU's points, convolutions in {precision}"
        plan.record.add("predictor", what, float(distance), "px", "aim 0.01")
    torch.backends.cudnn.allow_tf32 = True
    for batch in (1, 64, 1024)[: 1 if plan.toy else None]:
        batch_images = np.concatenate([images] * 2)[:batch]
        rate = _faces_per_second(on_device, batch_images, plan.device, rounds=1 if plan.toy else 10)
        plan.record.add("predictor", f"{batch} faces at once, mirror image included", rate, "faces/s")
    _check_onnx(plan, images, on_cpu)


def _check_onnx(plan: Plan, images: np.ndarray, on_cpu: np.ndarray) -> None:
    """The same by onnxruntime on a GPU, where this build of it has one."""
    if find_spec("onnxruntime") is None:
        plan.record.add("predictor", "onnxruntime on a GPU", "onnxruntime is not installed")
        return
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers():
        plan.record.add("predictor", "onnxruntime on a GPU", f"this build has no {CUDA}")
        return
    loaded = load_checkpoint("shipped")
    loaded.model.override_decoder(DecoderOverride().for_views("one"))
    model = load_graph(loaded)
    model.session = onnxruntime.InferenceSession(graph_file(loaded), providers=[CUDA, "CPUExecutionProvider"])
    batch, source = torch.from_numpy(images[:, None]), torch.zeros(len(images), dtype=torch.int64)
    points = model.predict(batch, source).points.numpy()
    start = time.perf_counter()
    model.predict(batch, source)
    rate = len(images) / (time.perf_counter() - start)
    plan.record.add("predictor", f"onnxruntime, {CUDA}, largest difference", float(np.abs(points - on_cpu).max()), "px")
    plan.record.add("predictor", f"onnxruntime, {CUDA}", rate, "faces/s")


def _faces_per_second(predictor: KeypointPredictor, images: np.ndarray, device: torch.device, rounds: int) -> float:
    predictor(images)
    wait_for(device)
    start = time.perf_counter()
    for _ in range(rounds):
        predictor(images)
    wait_for(device)
    return rounds * len(images) / (time.perf_counter() - start)
