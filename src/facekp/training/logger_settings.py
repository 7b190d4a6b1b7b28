"""Settings of the group ``logger``; this module imports neither torch nor Lightning."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from facekp.core.settings import Count, NonNegative, Text
from facekp.training.targets import SettingsWithTargets

Tag = Annotated[str, Field(min_length=1, max_length=64)]  # W&B refuses the run of a longer one


class LoggerSettings(SettingsWithTargets):
    """Which loggers a run has, and their settings.

    Several choices, ``logger=[csv,wandb]``, are merged into one group, so each choice sets its own keys only.
    Loggers of other packages are added as ``logger.NAME._target_=package.Class`` (`facekp.training.targets`).

    Attributes:
        csv: write metrics.csv.
        wandb: log to W&B, which needs ``project``, ``offline``, ``tags``, ``faces`` and ``patience``.
        tensorboard: write TensorBoard's event files.
        project: W&B project.
        offline: keep the W&B run on disk, even if there is an API key.
        tags: of the W&B run.
        faces: number of sample faces that W&B and TensorBoard get at the end; 0: none.
        patience: seconds that the end of a run waits for W&B.
    """

    csv: bool = False
    wandb: bool = False
    tensorboard: bool = False
    project: Text | None = None
    offline: bool = False
    tags: list[Tag] = Field(default_factory=list)
    faces: Count = 0
    patience: NonNegative = 0.0

    @model_validator(mode="after")
    def _wandb_needs_a_project(self) -> Self:
        if self.wandb and self.project is None:
            raise ValueError("wandb=true needs a project; choose logger=wandb or logger=[csv,wandb]")
        return self
