"""Sections of `tools/gpu_check.py`: the machine, and images per second of training beside a plain baseline."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import torch
from tools.gpu.baseline import plain_speed
from tools.gpu.plan import Plan
from tools.gpu.training import Speed, measure_speed, train_settings

from facekp.data.readers.read import read_table
from facekp.networks.base import build_network
from facekp.reporting.roofline import (
    LayerCost,
    convolution_costs,
    convolution_rate,
    copy_bandwidth,
    limit_seconds,
)
from facekp.training.settings import TrainSettings

AIMS = {"published": 8, "default": 20}  # times the images per second of the baseline
EAGER, COMPILED = 15, 60  # seconds that a variant takes about


@dataclass(frozen=True)
class Variant:
    """A way to train.

    Attributes:
        name: in the table.
        overrides: arguments of ``facekp.train``.
        needs: seconds that must be left to try it.
        batches: factor of the batch; with another batch the weights become others.
        networks: that are trained so.
    """

    name: str
    overrides: list[str]
    needs: float
    batches: int = 1
    networks: tuple[str, ...] = tuple(AIMS)


VARIANTS = (  # in the order of their importance
    Variant("as it is", [], EAGER),
    Variant("compile=true", ["trainer.compile=true"], COMPILED),
    Variant("4 times the batch, compile=true", ["trainer.compile=true"], COMPILED, 4, ("published",)),
    Variant("16 times the batch, compile=true", ["trainer.compile=true"], COMPILED, 16, ("default",)),
    Variant("cuda_graph=false", ["trainer.cuda_graph=false"], EAGER),
    Variant("4 times the batch", [], EAGER, batches=4),
    Variant("compile=reduce-overhead", ["trainer.compile=reduce-overhead"], COMPILED),
)


def measure_machine(plan: Plan) -> None:
    """Bandwidth of copies, rate of convolutions."""
    on_gpu = plan.device.type == "cuda"
    plan.bandwidth = copy_bandwidth(plan.device, 4000 if on_gpu else 20)
    plan.rate = convolution_rate(plan.device, torch.bfloat16, 512 if on_gpu else 1)
    plan.record.add("machine", "copy bandwidth, read and written", plan.bandwidth / 1e9, "GB/s")
    plan.record.add("machine", "3 x 3 convolution of 256 channels, bfloat16", plan.rate / 1e12, "TFLOP/s")
    rate = convolution_rate(plan.device, torch.float32, 128 if on_gpu else 1)
    plan.record.add("machine", "the same in float32", rate / 1e12, "TFLOP/s", "with torch's defaults: TF32 on a GPU")
    if on_gpu:
        memory = torch.cuda.get_device_properties(plan.device).total_memory
        plan.record.add("machine", "memory", memory / 1e9, "GB")


def measure_training(plan: Plan, seconds_for_all: float) -> None:
    """Images per second of both networks: the baseline, then `VARIANTS` while there is time."""
    until = plan.record.seconds_left() - seconds_for_all
    plain = {network: _measure_plain(plan, network) for network in AIMS}
    for variant in (variant for variant in VARIANTS if variant.needs == EAGER or not plan.toy):
        for network in variant.networks:
            if plan.record.seconds_left() - until < variant.needs:
                plan.record.add("training", f"{network}, {variant.name}", None, note="left out: no time")
            else:
                _try(plan, network, variant, plain[network])


def _measure_plain(plan: Plan, network: str) -> float:
    """Images per second of the baseline; NaN where it fails."""
    what = f"{network}, plain eager float32, faces one by one on the host"
    workers = 0 if plan.toy else min(8, os.cpu_count() or 1)
    torch.set_float32_matmul_precision("highest")  # torch's default
    try:
        settings = train_settings(plan.base(network))
        table = read_table(settings.data, settings.keypoints)
        images = plain_speed(settings, table, plan.device, workers, *_length(plan))
    except Exception as error:
        plan.record.fail(f"training, {what}", error)
        return math.nan
    finally:
        torch.set_float32_matmul_precision("high")  # as facekp.train sets it
    note = f"batch {settings.data.batch_size}, {workers} workers"
    plan.record.add("training", what, images, "images/s", note)
    return images


def _length(plan: Plan) -> tuple[int, float]:
    """Steps that warm up, and seconds that are timed."""
    return (1, 0.1) if plan.toy else (30, 4.0)


def _try(plan: Plan, network: str, variant: Variant, plain: float) -> None:
    """Measure a variant; a failure is kept and the next one follows."""
    batch = variant.batches * train_settings(plan.base(network)).data.batch_size
    overrides = [*plan.base(network), *variant.overrides, f"data.batch_size={batch}"]
    try:
        speed = measure_speed(overrides, plan.folder("speed"), plan.device, *_length(plan), inspect=True)
    except Exception as error:
        plan.record.fail(f"training, {network}, {variant.name}", error)
        return
    _keep(plan, network, variant, speed, plain, overrides)
    if variant.batches == 1 and speed.images > plan.images.get(network, 0):
        plan.fastest[network], plan.images[network] = variant.overrides, speed.images


def _keep(plan: Plan, network: str, variant: Variant, speed: Speed, plain: float, overrides: list[str]) -> None:
    def add(what: str, value: float | None, unit: str = "", note: str = "") -> None:
        if value is not None:
            plan.record.add("training", f"{network}, {variant.name}{what}", value, unit, note)

    settings = train_settings(overrides)
    add("", speed.images, "images/s", f"batch {settings.data.batch_size}; the first steps took {speed.start:.0f} s")
    add(", against plain", speed.images / plain, "times", f"aim {AIMS[network]}")
    add(", GPU idle", None if speed.busy is None else 100 * (1 - speed.busy), "%")
    add(", waits for the GPU per step", speed.waits)
    if plan.rate:
        limit = limit_seconds(_costs(settings), plan.rate, plan.bandwidth)
        add(", fraction of the roofline", 100 * limit / speed.step, "%", "aim 50 %")


def _costs(settings: TrainSettings) -> list[LayerCost]:
    """Operations and bytes of each convolution in a training step, in the number type of its arithmetic."""
    dtype = torch.bfloat16 if settings.trainer.precision == "bf16-mixed" else torch.float32
    channels = settings.keypoints.channels(settings.model.by_source)
    network = build_network(settings.model.network, heatmaps=int(channels.max()) + 1)
    return convolution_costs(network, torch.empty(settings.data.batch_size, 1, 96, 96), dtype)
