"""Settings of ``data=synthetic``."""

from __future__ import annotations

from facekp.core.settings import Count, PositiveCount
from facekp.data.settings import DataSettings


class SyntheticSettings(DataSettings):
    """``data=synthetic``.

    Attributes:
        rows: number of faces.
        seed: random seed of the drawing.
    """

    rows: PositiveCount
    seed: Count
