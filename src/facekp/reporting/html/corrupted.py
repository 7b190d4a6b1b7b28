"""The section on corrupted images, for runs that were evaluated on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from facekp.reporting.html import figures, page
from facekp.reporting.html.cells import names_of
from facekp.reporting.html.collect import Run
from facekp.reporting.html.page import Section


def corruptions_section(runs: Sequence[Run]) -> Section:
    """Figures for corrupted images of the runs that were evaluated on them."""
    measured = [run for run in runs if len(run.corruptions)]
    kept = {run.name: _shared_conditions(run, measured) for run in measured}
    kinds = dict.fromkeys(kind for run in measured for kind in kept[run.name]["corruption"])
    columns = [
        page.column("name", "run"),
        page.column("mean", "mean", 3, hint="over the corruptions, without the images as they are"),
        *(page.column(f"corruption {kind}", kind, 2, shade=True) for kind in kinds),
    ]
    return page.section(
        "Corrupted images",
        "RMSE in pixels without the worst 1 %, of facekp.evaluate corruptions=standard. Column none: the images as "
        "they are. The other columns: the mean over the strengths of a corruption. The darkest cell of a column is the "
        "worst. Below: each strength, then expected and measured errors of points in all corrupted images, also of "
        "faces that facekp.calibrate may have fitted on. Corruptions and strengths that not all of these runs were "
        "evaluated on are not in the table.",
        page.table("corruptions", columns, [_corruption_row(run, kept[run.name]) for run in measured]),
        page.figure("corruption-strengths", figures.corruptions(runs), pick=figures.VISIBLE_TRACES),
        page.figure("corrupted-reliability", figures.reliability(runs, corrupted=True)),
    )


def _shared_conditions(run: Run, runs: Sequence[Run]) -> pd.DataFrame:
    """The rows of a run's corruptions whose corruption and strength all of the runs have."""
    shared = set.intersection(*(set(_conditions(each)) for each in runs))
    return run.corruptions[[condition in shared for condition in _conditions(run)]]


def _conditions(run: Run) -> list[tuple[str, float]]:
    """Corruption and strength of each row; images as they are have a strength of 0."""
    return list(zip(run.corruptions["corruption"], run.corruptions["strength"].fillna(0), strict=True))


def _corruption_row(run: Run, corruptions: pd.DataFrame) -> dict[str, Any]:
    means = corruptions.groupby("corruption", sort=False)["rmse/trimmed"].mean()
    mean = means.drop("none", errors="ignore").mean()
    cells = {f"corruption {kind}": value for kind, value in means.items()}
    return {**names_of(run), "mean": None if np.isnan(mean) else float(mean), **cells}
