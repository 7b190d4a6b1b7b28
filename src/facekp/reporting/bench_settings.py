"""Settings of the command ``facekp.bench``."""

from __future__ import annotations

from typing import Annotated

from facekp.config.command import CommandSettings
from facekp.core.keypoints import KeypointsField
from facekp.core.settings import CheckpointPath, CheckpointPaths, NewPath, PositiveCount
from facekp.data.augment import Augmentation
from facekp.data.readers.kaggle import KaggleSettings
from facekp.functional.losses import LOSSES, LossSettings
from facekp.models.settings import DecoderSettings, ModelSettings


class BenchSettings(CommandSettings):
    """Settings of ``facekp.bench``.

    Attributes:
        ckpt: a checkpoint, an exported file, or a list of both, whose time per face is compared.
        rounds: how often both sides of a ratio are measured; medians are compared.
        steps: training steps per round.
        threads: of torch.
        out: CSV file for the measurements; None: they are only shown.
        overwrite: replace ``out`` if it exists.
        row_by_row: rows on which the reader of the published system is timed; its time grows linearly.
        data: the competition's data. If its files are missing, drawn faces are read instead.
        keypoints: landmark scheme of the data.
        model, loss, augment, decoder: of the training step that is measured.
    """

    ckpt: CheckpointPaths
    rounds: PositiveCount
    steps: PositiveCount
    threads: PositiveCount
    out: NewPath | None
    overwrite: bool = False
    row_by_row: PositiveCount
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
