"""The published system's four steps, trained again one after another.

Every step is a `facekp.train` with a folder of its own. A finished step is kept and a stopped one is resumed, so the
ladder can be killed and started again. Its table compares our validation RMSE with the published score.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from rich.table import Table

from facekp.config.command import CommandSettings
from facekp.core.console import show
from facekp.core.settings import NewPath, Positive, PositiveCount, Settings, Text
from facekp.functional.metrics import MAIN, METRICS
from facekp.runs.folder import RunFolder
from facekp.runs.sequence import (
    replaced_checkpoints,
    run_unless_finished,
    warn_of_changed_overrides,
    with_plugins,
)

log = logging.getLogger(__name__)


class StepSettings(Settings):
    """A step of the ladder.

    Attributes:
        experiment: of `facekp.train`.
        fast_epochs: epochs with ``fast=true``.
        continues: whether the training starts from the weights of the step before.
        published: the author's leaderboard RMSE, private half; None: the published training did not learn.
    """

    experiment: Text
    fast_epochs: PositiveCount
    continues: bool
    published: Positive | None


class LadderSettings(CommandSettings):
    """Settings of ``facekp ladder``.

    Attributes:
        fast: train a smaller network for fewer epochs.
        root: folder of all steps.
        train: further overrides of every step.
        ladder: the steps.
        fast_overrides: overrides of every step with ``fast=true``.
    """

    fast: bool
    root: NewPath
    train: list[Text]
    ladder: Annotated[list[StepSettings], Field(min_length=1)]
    fast_overrides: list[Text]


def run_ladder(settings: LadderSettings) -> list[dict[str, Any]]:
    """Train the steps that are not finished, and show all of them.

    Returns:
        metrics.json of every step.

    Raises:
        SystemExit: a training failed; the exit code is the same.
    """
    metrics = []
    for number in range(1, len(settings.ladder) + 1):
        folder, overrides = step_folder(settings, number), step_overrides(settings, number)
        if folder.is_finished():
            warn_of_changed_overrides(folder, overrides)
            _warn_of_replaced_start(settings, number)
        run_unless_finished("train", overrides, folder)
        metrics.append(folder.read_metrics())
    show(ladder_table(settings.ladder, metrics))
    return metrics


def _warn_of_replaced_start(settings: LadderSettings, number: int) -> None:
    """Warn where a finished step continues from a step that has been trained again since."""
    folder = step_folder(settings, number)
    before = [step_folder(settings, number - 1)] if settings.ladder[number - 1].continues else []
    for checkpoint in replaced_checkpoints(folder, before):
        log.warning(
            "%s: was trained before %s was written. The old results of this step and of those that continue from it "
            "are shown; remove their folders to train them again",
            folder,
            checkpoint,
        )


def step_folder(settings: LadderSettings, number: int) -> RunFolder:
    """The run of a step, counted from 1."""
    return RunFolder(Path(settings.root) / str(number))


def step_overrides(settings: LadderSettings, number: int) -> list[str]:
    """What `facekp.train` is called with for a step, counted from 1."""
    step = settings.ladder[number - 1]
    start = [f"init_from={step_folder(settings, number - 1).best_checkpoint}"] if step.continues else []
    fast = [*settings.fast_overrides, f"trainer.max_epochs={step.fast_epochs}"] if settings.fast else []
    return [
        f"experiment={step.experiment}",
        *start,
        *fast,
        *with_plugins(settings.train, settings.plugins),
        f"out={step_folder(settings, number)}",
    ]


def ladder_table(steps: Sequence[StepSettings], metrics: Sequence[dict[str, Any]]) -> Table:
    """Our validation RMSE of each step, and the published score.

    Args:
        steps: steps in the order of the table.
        metrics: metrics.json of each step.
    """
    table = Table(title="validation RMSE in pixels, and the published score")
    for heading in (
        "step",
        "ours",
        "dense",
        "sparse",
        "of mean face",
        "mean face predicted",
        "minutes",
        "leaderboard (other images)",
    ):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    errors = ("rmse", "rmse/dense", "rmse/sparse")
    text = METRICS[MAIN].text
    for step, found in zip(steps, metrics, strict=True):
        table.add_row(
            step.experiment.removeprefix("seed/"),
            *(text(found.get(key)) for key in errors),
            f"{found[MAIN] / found['mean_face'][MAIN]:.2f}" if MAIN in found else "",
            f"{100 * found['below_floor']:.0f} %" if "below_floor" in found else "",
            f"{found['minutes']:.1f}",
            "does not learn" if step.published is None else f"{step.published}",
        )
    table.add_section()
    face = metrics[0]["mean_face"]
    table.add_row("mean face", *(text(face.get(key)) for key in errors), "1.00", "100 %", "", "")
    return table
