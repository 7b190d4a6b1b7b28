"""CPU seconds until facekp prints its help, trains or predicts, each in a new process.

The packages' byte code is compiled before, as an installation has it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import cv2
import numpy as np

import facekp
from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.reporting.bench.measurement import Measurement
from facekp.reporting.bench.settings import BenchSettings

TRAIN = ("-m", "facekp.train")
# A training that ends after its first step; a small network, so that the step itself takes almost nothing.
FIRST_STEP = (
    "data=synthetic",
    "data.rows=60",
    "data.batch_size=4",
    "model.network.channels=8",
    "model.network.levels=1",
    "trainer.max_epochs=1",
    "++callbacks.first_step._target_=facekp.reporting.bench.step_timer.StopAfterFirstStep",
)
FIRST_PREDICTION = """
import numpy, facekp
facekp.KeypointPredictor.from_checkpoint()(numpy.full((96, 96), 128, numpy.uint8))
"""
TORCH_STEP = "import torch; w = torch.nn.Parameter(torch.ones(1)); w.sum().backward(); torch.optim.Adam([w]).step()"


MISTAKE, FIRST, PLAIN = "  a mistake in a key", "  first training step", "a step of plain torch"


def measure_startup(settings: BenchSettings, scratch: Path) -> Iterator[Measurement]:
    """The help of every command, a mistake, the first training step and the first prediction."""
    scratch = scratch.absolute()
    cases = start_cases(scratch / "photo.png")
    rounds = []
    for number in range(settings.rounds + 1):
        folder = scratch / f"start{number}"
        rounds.append(
            [_cpu_seconds(case, folder / str(i), name == MISTAKE) for i, (name, case) in enumerate(cases.items())]
        )
    times = dict(zip(cases, map(median, zip(*rounds[1:], strict=True)), strict=True))  # the first round compiles
    plain = times.pop(PLAIN)
    for name, time in times.items():
        if name == FIRST:
            yield Measurement(name, time, "CPU s", plain, PLAIN, goal="at most 6 s")
        else:
            yield Measurement(
                name, time, "CPU s", goal="at most 1 s" if name == MISTAKE or name.endswith("help") else ""
            )


def start_cases(photo: Path) -> dict[str, tuple[str, ...]]:
    """Arguments of Python by what they start.

    Args:
        photo: is written, and predicted.
    """
    cv2.imwrite(str(photo), np.full((96, 96), 128, np.uint8))
    return {
        **{f"start: {name} --help": (*_module(name), "--help") for name in command_names()},
        MISTAKE: (*TRAIN, "data.rws=1"),
        FIRST: (*TRAIN, *FIRST_STEP),
        "  predict of one photo": (*_module("predict"), str(photo), "detector=none"),
        "  first prediction of a KeypointPredictor": ("-c", FIRST_PREDICTION),
        PLAIN: ("-c", TORCH_STEP),
    }


def command_names() -> list[str]:
    """The commands, which have a config of their own, in alphabetical order."""
    return sorted(path.stem for path in CONF_DIR.glob("*.yaml"))


def _module(name: str) -> tuple[str, str]:
    """Arguments of Python that run a command; some are modules of the package data."""
    package = "facekp" if (Path(facekp.__file__).parent / f"{name}.py").is_file() else "facekp.data"
    return ("-m", f"{package}.{name}")


def _cpu_seconds(arguments: tuple[str, ...], folder: Path, is_mistake: bool) -> float:
    """Run a command, and measure its CPU time in seconds.

    Raises:
        UserError: the process failed otherwise than by a user's mistake, if it should.
    """
    folder.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder.parent.parent / "bytecode")
    out = ("out=run",) if "-m" in arguments and "--help" not in arguments else ()
    command = [sys.executable, *arguments, *out]
    before = os.times()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after = os.times()
    if done.returncode != (2 if is_mistake else 0):
        raise UserError(f"{' '.join(command)}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return after.children_user - before.children_user + after.children_system - before.children_system
