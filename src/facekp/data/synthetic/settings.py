"""Settings of ``data=synthetic``."""

from __future__ import annotations

from facekp.core.settings import Count, PositiveCount
from facekp.data.settings import GreyDataSettings


class SyntheticSettings(GreyDataSettings):
    """``data=synthetic``.

    Attributes:
        rows: number of faces.
        seed: random seed of the drawing.
    """

    rows: PositiveCount
    seed: Count
