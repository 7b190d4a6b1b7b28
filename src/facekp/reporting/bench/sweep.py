"""What a sweep costs beside the trainings themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from facekp.core.errors import UserError
from facekp.reporting.bench.measurement import Measurement
from facekp.reporting.bench.settings import BenchSettings
from facekp.reporting.bench.timing import seconds

JOBS = 9  # few jobs drown in the noise of the start
# Trainings of one batch, so that everything else is what counts
TRIVIAL = (
    "data=synthetic",
    "data.rows=60",
    "model.network.channels=8",
    "model.network.levels=1",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=1",
    "trainer.limit_val_batches=1",
    "callbacks.progress=false",
    "callbacks.pictures=0",
)


def measure_sweep(settings: BenchSettings, scratch: Path) -> Iterator[Measurement]:
    """Seconds that another job adds to a sweep, beside a command of its own for each."""
    seeds = ",".join(str(seed) for seed in range(JOBS))
    _train(["-m", "seed=0", f"hydra.sweep.dir={scratch / 'first'}"])  # the first start is slower
    one = seconds(lambda: _train(["-m", "seed=0", f"hydra.sweep.dir={scratch / 'one'}"]))
    several = seconds(lambda: _train(["-m", f"seed={seeds}", f"hydra.sweep.dir={scratch / 'several'}"]))
    alone = seconds(lambda: _train([f"out={scratch / 'alone'}"]))
    name = f"another job of a sweep, of {JOBS} trivial ones"
    yield Measurement(name, (several - one) / (JOBS - 1), "s", alone, "a command for each")
    again = seconds(lambda: _train([f"sweep.resume={scratch / 'several'}"], trivial=False))
    yield Measurement(f"  sweep.resume of {JOBS} finished jobs", again, "s", several, "the sweep itself")


def _train(arguments: Sequence[str], trivial: bool = True) -> None:
    command = [sys.executable, "-m", "facekp.train", *(TRIVIAL if trivial else ()), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(arguments)}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
