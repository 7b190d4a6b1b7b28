"""Finished jobs of a resumed sweep: their results are read from their folders, without composing each config again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from hydra.core.utils import JobReturn, JobStatus

from facekp.core.errors import UserError
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.job_names import differing, job_name

log = logging.getLogger(__name__)

Launch = Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]


def launch_unfinished(
    launch: Launch,
    jobs: Sequence[Sequence[str]],
    first: int,
    folder: str,
    shared: Collection[str],
    taken: Collection[str],
) -> list[JobReturn]:
    """The results of all jobs, of which those that are not finished are launched.

    Args:
        launch: of a launcher; runs jobs, the number of the first one is its second argument.
        jobs: the overrides of each job.
        first: number of the first job.
        folder: folder of the sweep.
        shared: keys that are the same for all jobs.
        taken: names that a key must not be shortened to (`facekp.runs.sweeps.job_names.differing`).
    """
    sweep = SweepFolder(folder)
    results = [_finished(sweep, overrides, shared, taken) for overrides in jobs]
    if kept := sum(result is not None for result in results):
        log.info("skipped: %d of %d jobs are already finished", kept, len(jobs))
    left = [overrides for overrides, result in zip(jobs, results, strict=True) if result is None]
    launched = iter(launch(left, first) if left else ())
    return [next(launched) if result is None else result for result in results]


def _finished(
    sweep: SweepFolder, overrides: Sequence[str], shared: Collection[str], taken: Collection[str]
) -> JobReturn | None:
    """The result of a job that has ended well; None of any other, also of one whose files are damaged."""
    job = sweep.job(job_name(differing(overrides, shared, taken)))
    if job.known_status().status != "ok":
        return None
    try:
        metrics = job.read_metrics()
    except UserError:
        return None
    return JobReturn(overrides=overrides, working_dir=str(job), status=JobStatus.COMPLETED, _return_value=metrics)
