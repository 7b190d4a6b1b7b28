"""What `tools/slurm_check.py` and `tools/ray_check.py` share: checks that each print one line, and sweeps for them."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd

from facekp.runs.folder import RunFolder

SMALL = [
    "data=synthetic",
    "data.rows=60",
    "model.network.channels=8",
    "model.network.levels=1",
    "callbacks.progress=false",
    "callbacks.pictures=0",
]
SWEEP = "hydra.sweep.dir=s"
TIMEOUT = 300.0  # seconds


def chosen_names(description: str | None, known: Iterable[str]) -> list[str]:
    """The checks that the command line names; all of them without names."""
    names = list(known)
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*names, []], metavar="NAME", help=", ".join(names))
    return parser.parse_args().names or names


def run_checks(checks: Mapping[str, Callable[[Path], str]], scratch: Path) -> int:
    """Run checks one after another, and print a line for each.

    Args:
        checks: by name; each takes an empty folder and returns what to print.
        scratch: where the folders are made.

    Returns:
        how many failed.
    """
    failed = 0
    for name, run in checks.items():
        started = time.monotonic()
        try:
            outcome = run(new_folder(scratch, name))
        except (AssertionError, SystemExit, subprocess.TimeoutExpired) as error:
            failed += 1
            outcome = f"FAILED: {error}"
        print(f"{name}: {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    return failed


def scratch_folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """A folder that is removed at the end; its path is short, as that of a socket must be."""
    return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)


def new_folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


def check(holds: bool, problem: str) -> None:
    """Raise an error with a message unless a condition holds.

    Raises:
        AssertionError: it does not hold.
    """
    if not holds:
        raise AssertionError(problem)


def wait_until(condition: Callable[[], object], seconds: float, problem: str) -> None:
    """Wait for a condition.

    Raises:
        SystemExit: it does not come true in time.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"after {seconds:.0f} s: {problem}")
        time.sleep(0.5)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "facekp.train", *arguments]


def facekp(environment: Mapping[str, str], folder: Path, *arguments: str, code: int = 0, seconds: float = 600) -> str:
    """Run `facekp.train` in a folder.

    Args:
        environment: environment variables of the process.
        folder: working directory.
        arguments: name of the command, and its arguments.
        code: the exit code that it must have.
        seconds: time limit.

    Returns:
        what it printed.

    Raises:
        AssertionError: it ends with another exit code.
    """
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )
    check(done.returncode == code, f"exit code {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout + done.stderr


def started(environment: Mapping[str, str], folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `facekp.train` in a folder, and wait until a job has trained an epoch. The output is kept in output.txt."""
    with (folder / "output.txt").open("wb") as file:
        process = subprocess.Popen(command(*arguments), cwd=folder, env=environment, stdout=file, stderr=file)
    wait_until(lambda: any((folder / "s").glob("*/metrics.csv")), TIMEOUT, "no job begins")
    return process


def resume(environment: Mapping[str, str], folder: Path, expected: int) -> str:
    """Resume a sweep that was stopped.

    Raises:
        AssertionError: a job is missing, or one that was finished is trained again.
    """
    before = {
        path: path.stat().st_mtime_ns
        for path in (folder / "s").glob("*/metrics.json")
        if RunFolder(path.parent).is_finished()
    }
    facekp(environment, folder, "-m", "sweep.resume=s")
    jobs = jobs_that_are_ok(folder, expected)
    again = [path.parent.name for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns]
    check(not again, f"trained again: {again}")
    return f"{len(before)} of {jobs} jobs were finished and kept"


def jobs_that_are_ok(folder: Path, expected: int) -> int:
    status = statuses(folder)
    check(status == ["ok"] * expected, f"status {status}")
    return len(status)


def statuses(folder: Path) -> list[str]:
    """The status of each job, by sweep.csv."""
    return [str(status) for status in pd.read_csv(folder / "s" / "sweep.csv")["status"]]
