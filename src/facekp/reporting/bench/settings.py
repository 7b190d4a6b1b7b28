"""Settings of the command ``facekp.bench``."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from facekp.config.command import CommandSettings
from facekp.core.keypoints import KeypointsField
from facekp.core.settings import CheckpointPath, CheckpointPaths, FilePath, NewPath, PositiveCount, Text
from facekp.data.augment import Augmentation
from facekp.data.readers.kaggle import KaggleSettings
from facekp.functional.losses import LOSSES, LossSettings
from facekp.models.settings import DecoderSettings, ModelSettings

Section = Literal["startup", "reading", "splitting", "steps", "training", "prediction", "report", "sweep", "growth"]
SECTIONS: tuple[Section, ...] = get_args(Section)


class BenchSettings(CommandSettings):
    """Settings of ``facekp.bench``.

    Attributes:
        only: sections to measure; None: all.
        ckpt: a checkpoint, an exported file, or a list of both, whose time per face is compared.
        rounds: how often both sides of a ratio are measured; medians are compared.
        steps: training steps per round.
        threads: number of torch's threads.
        runs: in the report that is measured.
        largest: rows, and runs, up to which costs are followed as they grow.
        out: JSON file for all figures; None: they are only shown.
        compare: an earlier ``out``; what became slower or faster since is shown.
        overwrite: replace ``out`` if it exists.
        row_by_row: rows on which the reader of the published system is timed; its time grows linearly.
        train: overrides of the trainings that are measured.
        data: the competition's data. If its files are missing, drawn faces are read instead.
        keypoints: landmark scheme of the data.
        model, loss, augment, decoder: of the steps that are measured singly.
    """

    only: Annotated[list[Section], Field(min_length=1)] | None
    ckpt: CheckpointPaths
    rounds: PositiveCount
    steps: PositiveCount
    threads: PositiveCount
    runs: PositiveCount
    largest: Annotated[int, Field(ge=1000)]
    out: NewPath | None
    compare: FilePath | None
    overwrite: bool = False
    row_by_row: PositiveCount
    train: list[Text]
    data: KaggleSettings
    keypoints: KeypointsField
    model: ModelSettings
    loss: Annotated[LossSettings, LOSSES.validator]
    augment: Augmentation
    decoder: DecoderSettings

    @property
    def checkpoints(self) -> list[CheckpointPath]:
        """``ckpt`` as a list."""
        return self.ckpt if isinstance(self.ckpt, list) else [self.ckpt]

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections to measure, in their order."""
        return tuple(name for name in SECTIONS if self.only is None or name in self.only)
