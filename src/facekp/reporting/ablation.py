"""The ablation: run the rows of conf/ablation.yaml that are missing, then write the table of all results."""

from __future__ import annotations

import pandas as pd

from facekp.reporting.ablation_rows import AblationSettings, perform, runs_of
from facekp.reporting.ablation_table import check_outputs, write_results


def run_ablation(settings: AblationSettings) -> pd.DataFrame:
    """Run what is missing, then show and write the table.

    Returns:
        the table (`facekp.reporting.ablation_table.tabulate`).

    Raises:
        UserError: an output file can't be written, or a training that is to be scored is missing.
        SystemExit: a command failed; the exit code is the same.
    """
    check_outputs(settings)  # before hours of training
    wanted = [row for row in settings.rows if settings.only is None or row.name in settings.only]
    for row in wanted if settings.train_missing else ():
        for run in runs_of(row, settings):
            perform(run)
    return write_results(settings)
