"""`make ray-check`: sweeps and a search on a real Ray, which is started on this machine for the time of the check.

    python -m tools.ray_check                 # all checks, some minutes
    python -m tools.ray_check search stopped  # these alone

It needs `pip install 'facekp[ray,optuna]'`. Each check prints one line. The exit code is 1 if one fails, 2 without Ray.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from tools.checks import (
    SMALL,
    SWEEP,
    TIMEOUT,
    check,
    chosen_names,
    facekp,
    jobs_that_are_ok,
    new_folder,
    resume,
    run_checks,
    scratch_folder,
    started,
    statuses,
    wait_until,
)

from facekp.runs.folder import RunFolder
from facekp.runs.searches.study import FOLDER, open_study
from facekp.runs.sweep_folder import SweepFolder

NEEDED = ("ray", "optuna")
LAUNCHER = ["hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"]
TRIALS = 200
LONG = [*SMALL, "data.rows=400", "trainer.max_epochs=8", *LAUNCHER, "lr=1e-3,3e-3", "seed=0,1", SWEEP]
WORKER = b"ray::train_in_worker"  # the title of a process that trains a job


class LocalRay:
    """The processes of Ray that the checks start; all have the folder of their files in their environment.

    Args:
        folder: an empty folder.

    Attributes:
        environment: variables with which facekp is started.
    """

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "RAY_TMPDIR": str(folder)}
        self._marker = f"RAY_TMPDIR={folder}\0".encode()

    def processes(self) -> list[int]:
        """All processes that run, also those whose parent was killed."""
        return [pid for pid in _numbers() if self._marker in _read(pid, "environ") + b"\0"]

    def workers(self) -> list[int]:
        """Processes that train a job."""
        return [pid for pid in self.processes() if _read(pid, "cmdline").startswith(WORKER)]

    def wait_for_workers(self) -> None:
        """Until no process trains a job."""
        wait_until(lambda: not self.workers(), 60, "workers of Ray are left")

    def kill(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """A Ray that sweeps can join; its working directory is the folder."""
        ray = str(Path(sys.executable).with_name("ray"))
        options = ["--head", "--num-cpus=2", "--port=0", "--include-dashboard=false", "--disable-usage-stats"]
        subprocess.run(
            [ray, "start", *options], cwd=folder, env=self.environment, check=True, capture_output=True, timeout=120
        )
        try:
            yield
        finally:
            self.kill()


def sweep(ray: LocalRay, folder: Path) -> str:
    """Jobs of a sweep on a Ray that was started elsewhere: all end well, each in its folder."""
    jobs = [*SMALL, "trainer.max_epochs=1", "lr=1e-3,3e-3", "seed=0,1", SWEEP]
    with ray.running(new_folder(folder, "elsewhere")):
        facekp(ray.environment, folder, "-m", *jobs, "hydra/launcher=ray", "hydra.launcher.ray.init.address=auto")
    finished = [
        path.parent.name for path in (folder / "s").glob("*/metrics.json") if RunFolder(path.parent).is_finished()
    ]
    check(len(finished) == 4, f"finished: {finished}")
    return f"{jobs_that_are_ok(folder, 4)} jobs on a running Ray"


def failed(ray: LocalRay, folder: Path) -> str:
    """A job that fails is the only one, and the exit code is 1."""
    jobs = [*SMALL, *LAUNCHER, "trainer.max_epochs=1", "lr=1e-3,1e30,-1,3e-3", SWEEP]
    facekp(ray.environment, folder, "-m", *jobs, code=1)
    check(statuses(folder) == ["ok", "ok", "failed", "failed"], f"status {statuses(folder)}")
    return "2 of 4 jobs failed alone, exit code 1"


def search(ray: LocalRay, folder: Path) -> str:
    """A worker is killed during a search: no trial is lost, none is duplicated."""
    space = ["lr=tag(log, interval(1e-4, 1e-2))", "model.sigma=interval(0.5, 4)"]
    given = ["hparams_search=optuna", f"hparams_search.trials={TRIALS}", "hparams_search.parallel=2", *space]
    arguments = ["-m", *SMALL, *LAUNCHER, "trainer.max_epochs=1", *given, SWEEP]
    begun = time.monotonic()
    process = started(ray.environment, folder, *arguments)
    wait_until(lambda: len(_finished(folder)) >= TRIALS // 2, 3600, "the search takes too long")
    while not (workers := ray.workers()):
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    code, seconds = process.wait(3600), time.monotonic() - begun
    text = (folder / "output.txt").read_text()
    check(code == 0, f"exit code {code}: {text[-2000:]}")
    check(text.count("the job is tried again") == 1, "the killed worker had no job")
    _check_trials(folder, text)
    training = pd.read_csv(folder / "s" / "sweep.csv")["minutes"].mean() * 60
    return (
        f"{TRIALS} trials, each there once, after SIGKILL to a worker; {seconds / TRIALS:.2f} s per trial, two at a "
        f"time; a job takes {2 * seconds / TRIALS:.2f} s, of which {training:.2f} s are training"
    )


def _check_trials(folder: Path, text: str) -> None:
    """Check that every trial of a search was trained once.

    Raises:
        AssertionError: a trial is missing, duplicated, or was trained twice.
    """
    sweep_folder = SweepFolder(folder / "s")
    settings = sweep_folder.read_search()
    assert settings is not None
    trials = open_study(sweep_folder, settings).get_trials()
    names = [trial.user_attrs[FOLDER] for trial in trials]
    check(len(trials) == TRIALS, f"{len(trials)} trials in the journal")
    check(all(trial.value is not None for trial in trials), "trials without a value")
    check(len(set(names)) == TRIALS, f"{len(set(names))} folders in the journal")
    check(sorted(names) == sorted(job.path.name for job in sweep_folder.jobs()), "folders of other trials")
    check(jobs_that_are_ok(folder, TRIALS) == TRIALS, "")
    check(len(_finished(folder)) == TRIALS, f"{len(_finished(folder))} finished jobs")
    lines = text.splitlines()
    trained = [line.rpartition("run: s/")[2] for line in lines if "run: s/" in line]
    check(len(trained) == len(set(trained)), f"trained twice: {len(trained) - len(set(trained))} jobs")


def killed(ray: LocalRay, folder: Path) -> str:
    """The process that started a sweep is killed: Ray ends, and a resumed sweep keeps what is finished."""
    process = started(ray.environment, folder, "-m", *LONG)
    wait_until(lambda: _finished(folder), TIMEOUT, "no job ends")
    process.kill()
    process.wait()
    ray.wait_for_workers()
    return resume(ray.environment, folder, 4)


def stopped(ray: LocalRay, folder: Path) -> str:
    """SIGTERM to the process that started a sweep: its jobs are interrupted, and continue in a resumed sweep."""
    process = started(ray.environment, folder, "-m", *LONG)
    process.terminate()
    code = process.wait(TIMEOUT)
    check(code == 143, f"exit code {code}")
    status = [job.read_status().status for job in SweepFolder(folder / "s").jobs()]
    check("running" not in status and "interrupted" in status, f"status {status}")
    ray.wait_for_workers()
    return f"exit code 143; {status.count('interrupted')} jobs interrupted; {resume(ray.environment, folder, 4)}"


CHECKS: dict[str, Callable[[LocalRay, Path], str]] = {
    "sweep": sweep, "failed": failed, "search": search, "killed": killed, "stopped": stopped,
}  # fmt: skip


def _finished(folder: Path) -> list[Path]:
    """Jobs with the status ok."""
    return [job.path for job in SweepFolder(folder / "s").jobs() if job.known_status().status == "ok"]


def _numbers() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    """A file of a process; empty where the process has ended or belongs to another user."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def main() -> None:
    names = chosen_names(__doc__, CHECKS)
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        print(f"{', '.join(missing)}: not installed; pip install 'facekp[ray,optuna]'", file=sys.stderr)
        sys.exit(2)
    with scratch_folder("ray") as scratch:
        ray = LocalRay(new_folder(Path(scratch), "ray"))
        print(f"Ray {version('ray')}, {os.cpu_count()} cores", flush=True)
        try:
            problems = run_checks({name: partial(CHECKS[name], ray) for name in names}, Path(scratch))
            left = run_checks({"end": partial(_end, ray)}, Path(scratch))
        finally:
            ray.kill()
    sys.exit(1 if problems or left else 0)


def _end(ray: LocalRay, folder: Path) -> str:
    """Check that no process is left."""
    wait_until(lambda: not ray.processes(), 180, "processes of Ray are left")  # its agents take 60 s after a kill
    return "all processes have ended"


if __name__ == "__main__":
    main()
