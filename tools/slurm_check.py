"""`make slurm-check`: facekp on a real SLURM, which is started on this machine for the time of the check.

    python -m tools.slurm_check                 # all checks, some minutes
    python -m tools.slurm_check requeue notice  # these alone

Each check prints one line. The exit code is 1 if one fails.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from tools.checks import (
    SMALL,
    SWEEP,
    TIMEOUT,
    check,
    chosen_names,
    command,
    facekp,
    jobs_that_are_ok,
    new_folder,
    resume,
    run_checks,
    scratch_folder,
    started,
    wait_until,
)
from tools.slurm.cluster import Cluster

from facekp.runs.folder import RunFolder

LAUNCHER = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=main", "hydra.launcher.timeout_min=10"]
RATES = "lr=tag(log, interval(1e-4, 1e-2))"
TRIALS = 6


def sweep(cluster: Cluster, folder: Path) -> str:
    """Each job of a sweep is a job of SLURM, and all of them end well."""
    facekp(
        cluster.environment, folder, "-m", *SMALL, *LAUNCHER, "trainer.max_epochs=1", "lr=1e-3,3e-3", "seed=0,1", SWEEP
    )
    return f"{jobs_that_are_ok(folder, 4)} jobs"


def search(cluster: Cluster, folder: Path) -> str:
    """A search draws its trials, two at a time, and each of them is there once."""
    given = ["hparams_search=optuna", f"hparams_search.trials={TRIALS}", "hparams_search.parallel=2", RATES]
    facekp(cluster.environment, folder, "-m", *SMALL, *LAUNCHER, "trainer.max_epochs=1", *given, SWEEP)
    return f"{jobs_that_are_ok(folder, TRIALS)} trials"


def killed(cluster: Cluster, folder: Path) -> str:
    """The process that started a sweep is killed: its jobs go to their end, and a resumed sweep keeps them."""
    arguments = ["-m", *SMALL, *LAUNCHER, "trainer.max_epochs=6", "lr=1e-3,3e-3", "seed=0,1", SWEEP]
    process = started(cluster.environment, folder, *arguments)
    process.kill()
    process.wait()
    cluster.wait_for_all(TIMEOUT)
    return resume(cluster.environment, folder, 4)


def requeue(cluster: Cluster, folder: Path) -> str:
    """A job that SLURM puts back into its queue continues in its folder."""
    script = _script(folder, *SMALL, "trainer.max_epochs=40", "out=run", "resume=auto")
    job = cluster.submit(script, "--requeue", f"--output={folder}/log.txt", "--open-mode=append")
    curves = folder / "run" / "metrics.csv"
    wait_until(lambda: _epochs(curves) >= 3, TIMEOUT, "no epoch ends")
    cluster.run("scontrol", "requeue", job)
    until = _epochs(curves)
    cluster.wait_for_all(TIMEOUT)
    check(RunFolder(folder / "run").is_finished(), (folder / "log.txt").read_text()[-500:])
    numbers = pd.read_csv(curves)["epoch"].tolist()
    check(numbers == sorted(set(numbers)) and len(numbers) == 40, f"epochs {numbers}")
    return f"stopped after epoch {until}, then epochs up to 40, each once"


def notice(cluster: Cluster, folder: Path) -> str:
    """SIGTERM 30 seconds before the end of a job's time: the training ends with 143, and is resumed."""
    script = _script(folder, *SMALL, "trainer.max_epochs=100000", "out=run")
    with script.open("a") as file:
        file.write(f"echo $? > {folder}/code.txt\n")
    begun = time.monotonic()
    cluster.submit(script, "--time=2", "--signal=TERM@30", f"--output={folder}/log.txt")
    wait_until((folder / "code.txt").is_file, TIMEOUT, "the training does not end")
    seconds, code = time.monotonic() - begun, (folder / "code.txt").read_text().strip()
    check(code == "143", f"exit code {code}: {(folder / 'log.txt').read_text()[-500:]}")
    epochs = _epochs(folder / "run" / "metrics.csv")
    facekp(cluster.environment, folder, "resume=run", f"trainer.max_epochs={epochs + 2}")
    check(_epochs(folder / "run" / "metrics.csv") == epochs + 2, "epochs are missing")
    return f"exit code 143 after {seconds:.0f} s and {epochs} epochs; resumed"


CHECKS: dict[str, Callable[[Cluster, Path], str]] = {
    "sweep": sweep, "search": search, "killed": killed, "requeue": requeue, "notice": notice,
}  # fmt: skip


def _script(folder: Path, *arguments: str) -> Path:
    """A batch script that trains in a folder."""
    script = folder / "job.sh"
    script.write_text(f"#!/bin/bash\ncd {folder}\nsrun {' '.join(command(*arguments))}\n")
    return script


def _epochs(curves: Path) -> int:
    return max(len(curves.read_text().splitlines()) - 1, 0) if curves.is_file() else 0


def main() -> None:
    names = chosen_names(__doc__, CHECKS)
    with scratch_folder("slurm") as scratch, Cluster(new_folder(Path(scratch), "slurm")) as cluster:
        print(
            f"{cluster.run('sinfo', '--version')}, {cluster.run('sinfo', '-h', '-o', '%D node, %c cores')}", flush=True
        )
        failed = run_checks({name: partial(CHECKS[name], cluster) for name in names}, Path(scratch))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
