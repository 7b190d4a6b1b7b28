"""A learning-rate schedule: a straight line."""

from __future__ import annotations

from facekp.core.settings import Fraction
from facekp.training.optim import SCHEDULES


@SCHEDULES.register("example_linear")
def linear(fraction: float, end: Fraction = 0.0) -> float:
    """Factor of the learning rate: from 1 at the start (fraction 0) to ``end`` at the end (fraction 1)."""
    return 1 + (end - 1) * fraction
