"""The end of a sweep: a table of its jobs, and the best configuration with its command."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from facekp.core.files import write_csv
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.arguments import resume_sweep_text
from facekp.runs.sweeps.job import SUCCESSFUL

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def finish_sweep(
    folder: SweepFolder, sources: Sequence[str], plugins: Sequence[str] = (), options: Sequence[str] = ()
) -> bool:
    """Show all jobs in a table, write sweep.csv, and log the best configuration and its command.

    Jobs whose results can't be compared are logged, too.

    Args:
        folder: of the sweep.
        sources: names of the labelling conventions, for a sweep without a job that has begun.
        plugins: modules that the sweep needs again when it is resumed.
        options: further arguments of the command that trains the best job again.

    Returns:
        whether no job failed.
    """
    from facekp.core.console import show  # imported here: these take seconds, and only the end of a sweep needs them
    from facekp.runs.sweeps.configurations import comparison_warnings, repeated_keys
    from facekp.runs.sweeps.table import DAMAGED, read_jobs, sweep_table

    jobs = read_jobs(folder, sources)
    write_csv(folder.table, jobs)
    show(sweep_table(jobs, str(folder)))
    if repeated := repeated_keys(jobs):
        _log_best_configuration(folder, jobs, repeated, options)
    else:
        for name in jobs.loc[(jobs["status"] == "ok") & jobs["rmse"].notna(), "folder"].head(1):
            _log_best([*folder.job(name).read_overrides(), *options])
    for warning in comparison_warnings(folder, jobs):
        log.warning("%s", warning)
    failed = jobs.loc[~jobs["status"].isin([*SUCCESSFUL, DAMAGED]), "folder"]
    damaged = jobs.loc[jobs["status"] == DAMAGED, "folder"]
    if len(failed):
        runs = [folder.job(name) for name in failed]
        reasons = ", ".join(str(run.traceback if run.traceback.is_file() else run.status) for run in runs)
        log.warning("%d of %d jobs failed: %s", len(failed), len(jobs), reasons)
        log.warning("%s runs them again", resume_sweep_text(folder, plugins))
    if len(damaged):
        log.warning(
            "%d of %d jobs have damaged files; remove their folders (%s), and %s trains them anew",
            len(damaged),
            len(jobs),
            ", ".join(str(folder.job(name)) for name in damaged),
            resume_sweep_text(folder, plugins),
        )
    return failed.empty and damaged.empty


def _log_best_configuration(
    folder: SweepFolder, jobs: pd.DataFrame, repeated: Sequence[str], options: Sequence[str]
) -> None:
    """Show and write the configurations, and log the one with the lowest mean RMSE over folds and seeds."""
    from facekp.core.console import show
    from facekp.runs.sweeps.configurations import by_configuration, command_of, configurations_table, mean_and_deviation

    configurations = by_configuration(jobs)
    write_csv(folder.configurations, configurations)
    show(configurations_table(configurations, repeated))
    for _, best in configurations[configurations["rmse"].notna()].head(1).iterrows():
        pruned = int(best.get("pruned", 0))
        total = best["jobs"] + pruned
        of_several = f", mean and standard deviation of {total} jobs that differ in {' and '.join(repeated)}"
        of_pruned = f" ({pruned} of them pruned)" if pruned else ""
        log.info("best: RMSE %s px%s", mean_and_deviation(best), f"{of_several}{of_pruned}" if total > 1 else "")
        _log_best([*command_of(folder.job(best["folder"]).read_overrides(), repeated), *options])


def _log_best(arguments: Sequence[str]) -> None:
    log.info("best: python -m facekp.train %s", shlex.join(arguments))
