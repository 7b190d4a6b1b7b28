"""`make slurm-check`: facekp on a real SLURM, which is started on this machine for the time of the check.

    python -m tools.slurm_check                 # all checks, some minutes
    python -m tools.slurm_check requeue notice  # these alone

Each check prints one line. The exit code is 1 if one fails.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from tools.slurm.cluster import Cluster, wait_until

from facekp.runs.folder import RunFolder

SMALL = [
    "data=synthetic",
    "data.rows=60",
    "model.network.channels=8",
    "model.network.levels=1",
    "callbacks.progress=false",
    "callbacks.pictures=0",
]
LAUNCHER = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=main", "hydra.launcher.timeout_min=10"]
SWEEP = "hydra.sweep.dir=s"
RATES = "lr=tag(log, interval(1e-4, 1e-2))"
PATIENCE = 300.0  # seconds
TRIALS = 6


def sweep(cluster: Cluster, folder: Path) -> str:
    """Each job of a sweep is a job of SLURM, and all of them end well."""
    facekp(cluster, folder, "-m", *SMALL, *LAUNCHER, "trainer.max_epochs=1", "lr=1e-3,3e-3", "seed=0,1", SWEEP)
    return f"{_jobs_that_are_ok(folder, 4)} jobs"


def search(cluster: Cluster, folder: Path) -> str:
    """A search draws its trials, two at a time, and each of them is there once."""
    given = ["hparams_search=optuna", f"hparams_search.trials={TRIALS}", "hparams_search.parallel=2", RATES]
    facekp(cluster, folder, "-m", *SMALL, *LAUNCHER, "trainer.max_epochs=1", *given, SWEEP)
    return f"{_jobs_that_are_ok(folder, TRIALS)} trials"


def killed(cluster: Cluster, folder: Path) -> str:
    """The process that started a sweep is killed: its jobs go to their end, and a resumed sweep keeps them."""
    arguments = ["-m", *SMALL, *LAUNCHER, "trainer.max_epochs=6", "lr=1e-3,3e-3", "seed=0,1", SWEEP]
    started = subprocess.Popen(
        command(*arguments), cwd=folder, env=cluster.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: any((folder / "s").glob("*/metrics.csv")), PATIENCE, "no job begins")
    started.send_signal(signal.SIGKILL)
    started.wait()
    cluster.wait_for_all(PATIENCE)
    before = {
        path: path.stat().st_mtime_ns
        for path in (folder / "s").glob("*/metrics.json")
        if RunFolder(path.parent).is_finished()
    }
    facekp(cluster, folder, "-m", "sweep.resume=s")
    jobs = _jobs_that_are_ok(folder, 4)
    again = [path.parent.name for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns]
    check(not again, f"trained again: {again}")
    return f"{len(before)} of {jobs} jobs were finished and kept"


def requeue(cluster: Cluster, folder: Path) -> str:
    """A job that SLURM puts back into its queue continues in its folder."""
    script = _script(folder, *SMALL, "trainer.max_epochs=40", "out=run", "resume=auto")
    job = cluster.submit(script, "--requeue", f"--output={folder}/log.txt", "--open-mode=append")
    curves = folder / "run" / "metrics.csv"
    wait_until(lambda: _epochs(curves) >= 3, PATIENCE, "no epoch ends")
    cluster.run("scontrol", "requeue", job)
    until = _epochs(curves)
    cluster.wait_for_all(PATIENCE)
    check(RunFolder(folder / "run").is_finished(), (folder / "log.txt").read_text()[-500:])
    numbers = pd.read_csv(curves)["epoch"].tolist()
    check(numbers == sorted(set(numbers)) and len(numbers) == 40, f"epochs {numbers}")
    return f"stopped after epoch {until}, then epochs up to 40, each once"


def notice(cluster: Cluster, folder: Path) -> str:
    """SIGTERM 30 seconds before the end of a job's time: the training ends with 143, and is resumed."""
    script = _script(folder, *SMALL, "trainer.max_epochs=100000", "out=run")
    with script.open("a") as file:
        file.write(f"echo $? > {folder}/code.txt\n")
    started = time.monotonic()
    cluster.submit(script, "--time=2", "--signal=TERM@30", f"--output={folder}/log.txt")
    wait_until((folder / "code.txt").is_file, PATIENCE, "the training does not end")
    seconds, code = time.monotonic() - started, (folder / "code.txt").read_text().strip()
    check(code == "143", f"exit code {code}: {(folder / 'log.txt').read_text()[-500:]}")
    epochs = _epochs(folder / "run" / "metrics.csv")
    facekp(cluster, folder, "resume=run", f"trainer.max_epochs={epochs + 2}")
    check(_epochs(folder / "run" / "metrics.csv") == epochs + 2, "epochs are missing")
    return f"exit code 143 after {seconds:.0f} s and {epochs} epochs; resumed"


CHECKS: dict[str, Callable[[Cluster, Path], str]] = {
    "sweep": sweep, "search": search, "killed": killed, "requeue": requeue, "notice": notice,
}  # fmt: skip


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "facekp.train", *arguments]


def facekp(cluster: Cluster, folder: Path, *arguments: str) -> None:
    """Run `facekp.train` in a folder, outside of SLURM's jobs.

    Raises:
        AssertionError: it ends with an error.
    """
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=cluster.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    check(done.returncode == 0, done.stderr)


def check(holds: bool, problem: str) -> None:
    """
    Raises:
        AssertionError: it does not hold.
    """
    if not holds:
        raise AssertionError(problem)


def _script(folder: Path, *arguments: str) -> Path:
    """A batch script that trains in a folder."""
    script = folder / "job.sh"
    script.write_text(f"#!/bin/bash\ncd {folder}\nsrun {' '.join(command(*arguments))}\n")
    return script


def _jobs_that_are_ok(folder: Path, expected: int) -> int:
    status = pd.read_csv(folder / "s" / "sweep.csv")["status"].tolist()
    check(status == ["ok"] * expected, f"status {status}")
    return len(status)


def _epochs(curves: Path) -> int:
    return max(len(curves.read_text().splitlines()) - 1, 0) if curves.is_file() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*CHECKS, []], metavar="NAME", help=", ".join(CHECKS))
    names = parser.parse_args().names or list(CHECKS)
    failed = 0
    with (
        tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True) as scratch,
        Cluster(_new(Path(scratch), "slurm")) as cluster,
    ):
        print(
            f"{cluster.run('sinfo', '--version')}, {cluster.run('sinfo', '-h', '-o', '%D node, %c cores')}", flush=True
        )
        for name in names:
            started = time.monotonic()
            try:
                outcome = CHECKS[name](cluster, _new(Path(scratch), name))
            except (AssertionError, SystemExit, subprocess.TimeoutExpired) as error:
                failed += 1
                outcome = f"FAILED: {error}"
            print(f"{name}: {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    sys.exit(1 if failed else 0)


def _new(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


if __name__ == "__main__":
    main()
