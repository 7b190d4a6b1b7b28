"""What a training step costs: in a real training, in a plain loop, and at the limit of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from facekp.config.arguments import key_of
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.synthetic.faces import draw_faces
from facekp.functional.losses import labelled_mean, mse
from facekp.models.settings import ModelSettings
from facekp.networks.base import NETWORKS, build_network
from facekp.networks.cpu import optimize_for_cpu
from facekp.networks.precision import fastest_precision
from facekp.reporting.bench.baseline import plain_step_times
from facekp.reporting.bench.measurement import Measurement
from facekp.reporting.bench.settings import BenchSettings
from facekp.reporting.bench.timing import in_new_process, seconds
from facekp.reporting.roofline import convolution_costs, convolution_rate, copy_bandwidth, limit_seconds

BATCH_SIZE = 32  # faces per step
SEED_BATCH_SIZE = 8  # of the published system's network, whose steps take seconds
WARM_UP = 2  # steps that are not counted
PROFILED = 3  # steps after those that are timed
AUTO_PRECISION = "trainer.precision=auto"
RATED_IMAGES = 8  # whose convolution gives the machine's rate
COPIED_MEGABYTES = 256  # whose copy gives its bandwidth; several times any cache


class StepCost(NamedTuple):
    """What steps of a training cost.

    Attributes:
        seconds: duration of each step.
        outside: share of a step, from 0 to 1, that is not spent in convolutions on the CPU.
    """

    seconds: list[float]
    outside: float


def measure_training(settings: BenchSettings, scratch: Path) -> Iterator[Measurement]:
    """A step of ``facekp.train`` beside a plain loop, and a step of the published system's network.

    Where the processor has instructions for bfloat16, steps that use them are measured, too, if ``settings.train`` does
    not set the precision.
    """
    ours, outside, plain = [], [], []
    in_bfloat16: list[float] = []
    is_given = "trainer.precision" in map(key_of, settings.train)
    tries_bfloat16 = fastest_precision("cpu") == "bf16-mixed" and not is_given
    table = draw_faces(4 * BATCH_SIZE, 0, settings.keypoints)
    loop = (settings.model.plain(), settings.loss.plain(), table, BATCH_SIZE, settings.steps, settings.threads)
    for number in range(settings.rounds):
        cost = train_step_cost(settings.train, settings.steps, settings.threads, scratch / f"train{number}")
        ours += cost.seconds
        outside.append(cost.outside)
        plain += in_new_process(plain_step_times, *loop)
        if tries_bfloat16:
            given = [*settings.train, AUTO_PRECISION]
            in_bfloat16 += train_step_cost(given, settings.steps, settings.threads, scratch / f"auto{number}").seconds
    name = f"training step of {BATCH_SIZE} faces, facekp.train {' '.join(settings.train)}".rstrip()
    loop_name = "a plain loop: eager, contiguous, faces one by one in a DataLoader"
    limit = 1000 * step_limit(settings.model, settings.keypoints, settings.threads)
    yield Measurement(name, 1000 * median(ours), "ms", 1000 * median(plain), loop_name, limit, goal="2.5 times")
    yield Measurement("  of it outside convolutions", 100 * median(outside), "%", goal="at most 15 %")
    if in_bfloat16:
        auto = f"  with {AUTO_PRECISION}, in bfloat16"
        yield Measurement(auto, 1000 * median(in_bfloat16), "ms", 1000 * median(plain), loop_name, goal="2.5 times")
    yield from _measure_published(settings)


def step_limit(settings: ModelSettings, keypoints: Keypoints, threads: int) -> float:
    """The least seconds of a training step of `BATCH_SIZE` faces: its convolutions at the rates of this machine.

    Args:
        settings: network whose convolutions are counted.
        keypoints: the landmark scheme.
        threads: number of torch's threads.
    """
    torch.set_num_threads(threads)
    network = build_network(settings.network, heatmaps=int(keypoints.channels(settings.by_source).max()) + 1)
    costs = convolution_costs(network, torch.empty(BATCH_SIZE, 1, 96, 96), torch.float32)
    processor = torch.device("cpu")
    rate = convolution_rate(processor, torch.float32, RATED_IMAGES)
    return limit_seconds(costs, rate, copy_bandwidth(processor, COPIED_MEGABYTES))


def train_step_cost(overrides: Sequence[str], steps: int, threads: int, folder: Path) -> StepCost:
    """What the steps of a real training in a new process cost, after some that warm up.

    Args:
        overrides: arguments of ``facekp.train``.
        steps: number of steps that are measured.
        threads: number of torch's threads.
        folder: where the training is written.

    Raises:
        UserError: the training failed.
    """
    out = folder.with_suffix(".json").absolute()
    rows = 2 * BATCH_SIZE * (WARM_UP + steps + PROFILED + 2)  # one epoch holds all steps: its end would count as theirs
    timer = "++callbacks.timer"
    command = [
        *(sys.executable, "-m", "facekp.train", "data=synthetic", f"data.rows={rows}", f"data.batch_size={BATCH_SIZE}"),
        *("trainer.max_epochs=1000", "trainer.check_val_every_n_epoch=1000", "callbacks.progress=false", "logger=none"),
        *overrides,
        f"{timer}._target_=facekp.reporting.bench.step_timer.StepTimer",
        *(f"{timer}.out={out}", f"{timer}.steps={steps + WARM_UP}", f"{timer}.profiled={PROFILED}", f"out={folder}"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if not out.is_file():
        raise UserError(f"train={list(overrides)}: {(done.stderr.strip().splitlines() or ['the training ended'])[-1]}")
    cost = json.loads(out.read_text())
    return StepCost(cost["seconds"][WARM_UP:], cost["outside"])


def _measure_published(settings: BenchSettings) -> Iterator[Measurement]:
    """A training step of the published system's network, as that system ran it and as facekp runs it."""
    plain, optimized = [], []
    for _ in range(settings.rounds):
        plain.append(in_new_process(_published_steps, False, settings.steps, settings.threads))
        optimized.append(in_new_process(_published_steps, True, settings.steps, settings.threads))
    slow, fast = (median(time for _, times in runs for time in times) for runs in (plain, optimized))
    name = f"training step of model=hourglass_seed, {SEED_BATCH_SIZE} faces"
    yield Measurement(name, fast, "s", slow, "eager and contiguous", goal="1.5 times")
    yield Measurement("  difference of the two losses", abs(plain[0][0] - optimized[0][0]), "", goal="at most 1e-4")


def _published_steps(optimized: bool, steps: int, threads: int) -> tuple[float, list[float]]:
    """The first loss, and the seconds of each step but the first; Adam enlarges rounding errors in later losses."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = build_network(NETWORKS.parse({"name": "hourglass_seed"}), heatmaps=15)
    if optimized:
        optimize_for_cpu(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images, target = torch.rand(SEED_BATCH_SIZE, 1, 96, 96), torch.rand(SEED_BATCH_SIZE, 15, 96, 96)
    mask, cells = torch.ones(SEED_BATCH_SIZE, 15), torch.zeros(SEED_BATCH_SIZE, 15, 2)
    losses: list[float] = []

    def step() -> None:
        optimizer.zero_grad()
        loss = labelled_mean(mse(network(images)[-1], target, cells), mask)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    times = [seconds(step) for _ in range(steps + 1)]
    return losses[0], times[1:]
