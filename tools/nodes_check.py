"""`make nodes-check`: one training on two hosts, which are network namespaces of this machine, started by torchrun.

    python -m tools.nodes_check              # all checks, some minutes
    python -m tools.nodes_check same killed  # these alone

It needs root and iproute2. Each check prints one line. The exit code is 1 if one fails, and 2 if there are no hosts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tools.checks import TIMEOUT, check, chosen_names, facekp, run_checks, scratch_folder, wait_until
from tools.nodes.hosts import TwoHosts

from facekp.config.command import exit_with_error
from facekp.core.errors import UserError
from facekp.core.plain_files import read_json
from facekp.core.signals import stop_at_signals
from facekp.runs.folder import RunFolder

DATA = ["data=synthetic", "data.rows=65"]  # 13 validation rows: the hosts have 7 and 6 of them
TRAINING = [
    *DATA,
    "data.batch_size=13",
    "augment=none",
    "optimizer=sgd",
    "lr=0.1",  # at 0.3 rounding is amplified: channels-last weights alone change the RMSE of one process by 4e-3
    "decoder=mean",
    "decoder.floor=0",  # predictions of the network, however uncertain
    "callbacks.progress=false",
    "callbacks.pictures=0",
]
PLUGIN = "plugins=[tools.nodes.group_norm]"
GROUP_NORM = [PLUGIN, "model=group_norm", *TRAINING]
BATCH_NORM = ["model.network.channels=8", "model.network.levels=1", *TRAINING]
EPOCHS = 200  # of the training that is killed
EQUAL = 1e-4  # largest relative difference between two hosts and one process
ROUNDING = 1e-6  # the same between metrics of the same predictions
ENDING = 60.0  # seconds after which both hosts must have ended


def same(hosts: TwoHosts, folder: Path) -> str:
    """Two hosts train like one process with the same batches, where a network takes no statistics from a batch."""
    equal = _differences(hosts, folder, "group_norm", GROUP_NORM)
    check(max(equal.values()) <= EQUAL, f"two hosts differ from one process by {_text(equal)}")
    differing = _differences(hosts, folder, "batch_norm", BATCH_NORM)
    return f"differences are {_text(equal)}; with BatchNorm {_text(differing)}"


def metrics(hosts: TwoHosts, folder: Path) -> str:
    """Validation metrics of two hosts are those of their checkpoint in one process."""
    together(hosts, folder, *GROUP_NORM, "trainer.max_epochs=1", "out=run")
    run = RunFolder(folder / "run")
    evaluate(hosts.environment, folder, PLUGIN, *DATA, f"ckpt={run.best_checkpoint}", "views=one", "out=evaluation")
    expected, logged = read_json(folder / "evaluation" / "metrics.json"), run.read_curves().iloc[0]
    names = [name for name in logged.index if name.startswith(("val/rmse", "val/nme"))]
    worst = max(abs(logged[name] / expected[name.removeprefix("val/")] - 1) for name in names)
    check(worst <= ROUNDING, f"relative difference {worst:.1e}")
    return f"{len(names)} figures of 13 rows, largest relative difference {worst:.0e}"


def killed(hosts: TwoHosts, folder: Path) -> str:
    """SIGKILL to a rank: both hosts end with an error; the same command with resume=auto continues and finishes."""
    arguments = [*GROUP_NORM, f"trainer.max_epochs={EPOCHS}", "out=run", "resume=auto"]
    run = RunFolder(folder / "run")
    processes = hosts.start(folder, *arguments)
    wait_until(lambda: _epochs(run) >= 3, TIMEOUT, "no epoch ends")
    (victim,) = hosts.trainings(2)
    os.kill(victim, signal.SIGKILL)
    codes, seconds = _ended(processes, ENDING)
    check(all(codes), f"exit codes {codes}")
    check(not run.is_finished(), "the run counts as finished")
    _check_no_process(hosts)
    first = (folder / "host1.txt").read_text()
    check("facekp: error: rank 0 lost another process" in first, f"no message: {first[-1000:]}")
    before = _epochs(run)
    check(before < EPOCHS, "the training was finished before the signal")
    together(hosts, folder, *arguments)
    check(run.is_finished(), "the resumed run is not finished")
    epochs = run.read_curves()["epoch"].tolist()
    check(epochs == list(range(1, EPOCHS + 1)), f"epochs {epochs}")
    return f"both ended after {seconds:.0f} s; continued after epoch {before}; epochs up to {EPOCHS}, each once"


def refused(hosts: TwoHosts, folder: Path) -> str:
    """The first host refuses the command, as its folder holds a run: the second one does not wait for it."""
    arguments = [*GROUP_NORM, "trainer.max_epochs=1", "out=run"]
    together(hosts, folder, *arguments)
    codes, seconds = _ended(hosts.start(folder, *arguments), TIMEOUT)
    check(all(codes), f"exit codes {codes}")
    _check_no_process(hosts)
    return f"both ended, {seconds:.0f} s after the start"


CHECKS: dict[str, Callable[[TwoHosts, Path], str]] = {
    "same": same, "metrics": metrics, "killed": killed, "refused": refused,
}  # fmt: skip


def together(hosts: TwoHosts, folder: Path, *arguments: str) -> None:
    """Train on both hosts.

    Raises:
        AssertionError: one of them ends with an error.
    """
    codes, _ = _ended(hosts.start(folder, *arguments), TIMEOUT)
    check(not any(codes), f"exit codes {codes}: {(folder / 'host1.txt').read_text()[-2000:]}")


def evaluate(environment: Mapping[str, str], folder: Path, *arguments: str) -> None:
    """Run `facekp.evaluate` in one process.

    Raises:
        AssertionError: it ends with an error.
    """
    command = [sys.executable, "-m", "facekp.evaluate", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    check(done.returncode == 0, done.stderr[-2000:])


def _ended(processes: list[subprocess.Popen[bytes]], seconds: float) -> tuple[list[int], float]:
    """Wait for both hosts, and return their exit codes and the seconds that it took."""
    started = time.monotonic()
    wait_until(lambda: all(each.poll() is not None for each in processes), seconds, "a host does not end")
    return [each.wait() for each in processes], time.monotonic() - started


def _check_no_process(hosts: TwoHosts) -> None:
    left = hosts.processes(1) + hosts.processes(2)
    check(not left, f"{len(left)} processes are left")


def _differences(hosts: TwoHosts, folder: Path, name: str, arguments: list[str]) -> dict[str, float]:
    """Relative differences between a training of one process and that of two hosts."""
    alone, both = RunFolder(folder / f"{name}_alone"), RunFolder(folder / f"{name}_both")
    facekp(hosts.environment, folder, *arguments, "trainer.max_epochs=2", "trainer.fast_cpu=false", f"out={alone}")
    together(hosts, folder, *arguments, "trainer.max_epochs=2", f"out={both}")
    return compared(alone.read_curves(), both.read_curves()) | {"weights": _distance(alone, both)}


def compared(alone: pd.DataFrame, both: pd.DataFrame) -> dict[str, float]:
    """The largest relative difference of any epoch, of the losses and the validation RMSE."""
    check(len(alone) == len(both), f"{len(alone)} and {len(both)} epochs")
    names = ("train/loss", "val/loss", "val/rmse")
    return {name: float(np.abs(both[name] / alone[name] - 1).max()) for name in names}


def _distance(alone: RunFolder, both: RunFolder) -> float:
    """The norm of the difference between the last weights of the networks, divided by the norm of the weights."""
    first, second = (torch.load(run.last_checkpoint, weights_only=True)["state_dict"] for run in (alone, both))
    pairs = [(first[name].double(), second[name].double()) for name in first if name.startswith("model.network.")]
    difference = sum(float((a - b).square().sum()) for a, b in pairs)
    return float((difference / sum(float(a.square().sum()) for a, _ in pairs)) ** 0.5)


def _text(differences: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0e}" for name, value in differences.items())


def _epochs(run: RunFolder) -> int:
    return len(run.read_curves()) if run.curves.is_file() else 0


def main() -> None:
    names = chosen_names(__doc__, CHECKS)
    repository = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    try:
        with stop_at_signals(), scratch_folder("nodes") as scratch, TwoHosts(environment) as hosts:
            failed = run_checks({name: partial(CHECKS[name], hosts) for name in names}, Path(scratch))
    except UserError as error:
        exit_with_error(error)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
