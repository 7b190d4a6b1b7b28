"""A metric: how many faces fail."""

from __future__ import annotations

import numpy as np

from facekp.functional.metrics import MetricInput, metric


@metric("example_failures", label="faces with a point off by more than 5 px", digits=4, better="lower")
def failures(scored: MetricInput) -> float:
    """Fraction of the faces whose worst labelled point is more than 5 pixels off."""
    worst = np.nanmax(scored.distance, axis=1, initial=0)  # (N,)
    return float((worst > 5).mean())
