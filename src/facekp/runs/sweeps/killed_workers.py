"""Jobs in worker processes of which one may be killed: the other jobs are still trained.

Joblib ends all workers as soon as one is killed, so the job that caused it is unknown. The jobs that were running
continue alone, one after another. A job whose process is killed again has failed. Then the other jobs follow. A search
launches its jobs in several threads (`facekp.runs.searches.search`); `LaunchLock` keeps a job alone there, too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from filelock import FileLock, Timeout
from hydra.core.utils import JobReturn, JobStatus

from facekp.config.command import one_line
from facekp.core.errors import UserError
from facekp.runs.folder import RunFolder
from facekp.runs.sweeps.arguments import resume_sweep_text

log = logging.getLogger(__name__)
LOCK_TIMEOUT = 10.0  # seconds to wait for a killed worker to release its job's lock
KILLED = "its process was killed twice, perhaps because memory ran out"


class Launch(Protocol):
    """Trains jobs side by side, or one job in a process of its own (``alone``)."""

    def __call__(self, jobs: Sequence[Sequence[str]], first: int, alone: bool) -> Sequence[JobReturn]: ...


class LaunchLock:
    """Lets several threads launch jobs at a time, or one thread alone, which takes precedence.

    Example:
        >>> lock = LaunchLock()
        >>> with lock.acquired(alone=False), lock.acquired(alone=False):
        ...     lock.launching
        2
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.launching = 0  # threads
        self._alone = 0  # threads that launch a job alone, or wait for it

    @contextmanager
    def acquired(self, alone: bool) -> Iterator[None]:
        """Wait for the lock, and hold it during the block."""
        with self._condition:
            self._alone += alone
            self._condition.wait_for(lambda: not self.launching if alone else not self._alone)
            self.launching += 1
        try:
            yield
        finally:
            with self._condition:
                self._alone -= alone
                self.launching -= 1
                self._condition.notify_all()


def run_joblib_jobs(
    launch: Launch, jobs: Sequence[Sequence[str]], first: int, folders: Sequence[str], plugins: Sequence[str] = ()
) -> list[JobReturn]:
    """Train jobs, also if workers are killed.

    Args:
        launch: trains jobs.
        jobs: overrides of each.
        first: number of the first job.
        folders: folder of each job.
        plugins: modules that the sweep needs again when it is resumed.

    Returns:
        a result per job; an empty one where a worker was killed meanwhile. Its status.json holds its result.
    """
    results = [placeholder_result() for _ in jobs]
    runs = [RunFolder(folder) for folder in folders]
    remaining = list(range(len(jobs)))
    try:
        while remaining:
            batch = _consecutive(remaining)
            before = {i: _status_time(runs[i]) for i in batch}
            try:
                results[batch[0] : batch[-1] + 1] = launch([jobs[i] for i in batch], first + batch[0], False)
                remaining = remaining[len(batch) :]
            except BrokenProcessPool:
                begun = [i for i in batch if _status_time(runs[i]) != before[i]] or batch[:1]
                _run_alone(launch, jobs, first, {i: runs[i] for i in begun if _status(runs[i]) in ("", "running")})
                remaining = [i for i in remaining if i not in begun]
    except (KeyboardInterrupt, SystemExit):
        for run in runs:
            mark_interrupted(run)
        log.warning("sweep stopped; continue with %s", resume_sweep_text(runs[0].path.parent, plugins))
        raise
    return results


def _run_alone(launch: Launch, jobs: Sequence[Sequence[str]], first: int, runs: Mapping[int, RunFolder]) -> None:
    """Train jobs one after another; one whose process is killed has failed."""
    names = ", ".join(run.path.name for run in runs.values())
    log.warning("a worker process was killed; the jobs that were running continue one after another: %s", names)
    for i, run in runs.items():
        try:
            launch([jobs[i]], first + i, True)
        except BrokenProcessPool:
            mark_killed(run)


def mark_killed(run: RunFolder) -> None:
    """Note that a job has failed because its process was killed twice."""
    run.write_status(replace(run.known_status(), status="failed", message=KILLED))
    log.error("facekp: error: %s: %s", run.path.name, KILLED)


def mark_interrupted(run: RunFolder) -> None:
    """Note that a job was stopped, unless a process still trains it."""
    try:
        if _status(run) == "running":
            with FileLock(run.lock, timeout=LOCK_TIMEOUT):
                if _status(run) == "running":  # not that of a job which has just ended
                    run.write_status(replace(run.read_status(), status="interrupted"))
    except (Timeout, OSError, UserError) as error:
        log.warning("%s: its status is not known: %s", run, one_line(error))


def _consecutive(numbers: Sequence[int]) -> list[int]:
    """The first numbers that follow each other without a gap.

    Example:
        >>> _consecutive([2, 3, 4, 7])
        [2, 3, 4]
    """
    return [number for i, number in enumerate(numbers) if number == numbers[0] + i]


def _status_time(run: RunFolder) -> int:
    """When the job's status was last written; 0: never."""
    return run.status.stat().st_mtime_ns if run.status.is_file() else 0


def _status(run: RunFolder) -> str:
    return run.read_status().status


def placeholder_result() -> JobReturn:
    """Stands for the real result, which is in the folder of the job."""
    result = JobReturn()
    result.status, result.return_value = JobStatus.COMPLETED, None
    return result
