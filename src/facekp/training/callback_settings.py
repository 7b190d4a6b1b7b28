"""Settings of the group ``callbacks``; this module imports neither torch nor Lightning."""

from __future__ import annotations

from facekp.core.settings import Count, FractionBelowOne, PositiveCount
from facekp.training.targets import SettingsWithTargets


class CallbackSettings(SettingsWithTargets):
    """What runs beside the training loop.

    Callbacks of other packages are added as ``callbacks.NAME._target_=package.Class`` (`facekp.training.targets`).

    Attributes:
        progress: show a progress bar where stdout is a terminal; each epoch is logged in a line in any case.
        ema: decay of the running average of the weights, which is then validated and kept; None: no average.
        patience: stop after this many validations without a lower RMSE; None: never.
        save_every: epochs between two savings of last.ckpt, from which a stopped run is resumed.
        pictures: number of faces in the run's pictures; 0: no pictures.
    """

    progress: bool
    ema: FractionBelowOne | None
    patience: PositiveCount | None
    save_every: PositiveCount
    pictures: Count
