"""A loss: a divergence that counts maps which are far off more than those which are nearly right."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from facekp.functional.losses import LOSSES, jensen_shannon


@LOSSES.register("example_focal")
def focal(raw: Tensor, target: Tensor, cells: Tensor, gamma: Annotated[float, Field(ge=0)] = 1.0) -> Tensor:
    """Jensen-Shannon divergence to the power of 1 + gamma: the error (N, C) of raw maps (N, C, h, w).

    Args:
        raw, target, cells: see `facekp.functional.losses`.
        gamma: 0 is the plain divergence.
    """
    return jensen_shannon(raw, target, cells).clamp_min(1e-9) ** (1 + gamma)
