"""CPU seconds until facekp prints its help, trains or predicts: what the benchmark measures in new processes.

The packages' byte code is compiled before, as an installation has it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np

ROUNDS = 3
TRAIN = ("-m", "facekp.train")
# A training that ends after its first step; a small network, so that the step itself takes almost nothing.
FIRST_STEP = (
    "data=synthetic",
    "data.rows=60",
    "data.batch_size=4",
    "model.network.channels=8",
    "model.network.levels=1",
    "trainer.max_epochs=1",
    "++callbacks.first_step._target_=facekp.reporting.first_step.StopAfterFirstStep",
)
FIRST_PREDICTION = """
import numpy, facekp
facekp.KeypointPredictor.from_checkpoint()(numpy.full((96, 96), 128, numpy.uint8))
"""
TORCH_STEP = "import torch; w = torch.nn.Parameter(torch.ones(1)); w.sum().backward(); torch.optim.Adam([w]).step()"


class StartUp(NamedTuple):
    """Median CPU seconds of processes.

    Attributes:
        help: of ``train --help``.
        mistake: of a mistyped key.
        first_step: of a training up to its first step.
        torch: of a step of plain torch, with its import.
        predict: of ``predict`` with one photo.
        predictor: of the first prediction of a `KeypointPredictor`, with its import.
    """

    help: float
    mistake: float
    first_step: float
    torch: float
    predict: float
    predictor: float


def measure_startup(scratch: Path) -> StartUp:
    """Measure each command in a new process.

    Args:
        scratch: a folder for the runs and for byte code.
    """
    scratch = scratch.absolute()
    photo = scratch / "photo.png"
    cv2.imwrite(str(photo), np.full((96, 96), 128, np.uint8))
    predict = ("-m", "facekp.predict", str(photo), "detector=none")
    training = ((*TRAIN, "--help"), (*TRAIN, "data.rws=1"), (*TRAIN, *FIRST_STEP), ("-c", TORCH_STEP))
    commands = (*training, predict, ("-c", FIRST_PREDICTION))
    rounds = [[_cpu_seconds(command, scratch, i) for command in commands] for i in range(ROUNDS + 1)]
    return StartUp(*(median(times) for times in zip(*rounds[1:], strict=True)))  # the first round compiles


def _cpu_seconds(arguments: tuple[str, ...], scratch: Path, number: int) -> float:
    folder = scratch / f"start{number}"
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(scratch / "bytecode")
    out = (f"out={folder / 'run'}",) if "-m" in arguments and "--help" not in arguments else ()
    before = os.times()
    subprocess.run([sys.executable, *arguments, *out], cwd=folder, env=environment, capture_output=True, check=False)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system
