"""A decoder: the mean position of the squared heatmap."""

from __future__ import annotations

import torch
from torch import Tensor

from facekp.functional.decoders import DECODERS


@DECODERS.register("example_softargmax")
def sharpened_mean(maps: Tensor, cell: Tensor, sigma: float) -> Tensor:
    """Positions float64 (N, 2) as (x, y) in cells, of maps (N, h, w); the maximum's cell where a map is empty."""
    weight = maps.double().clamp_min(0) ** 2
    y, x = (torch.arange(n, dtype=torch.float64, device=maps.device) for n in maps.shape[-2:])
    total = weight.sum(dim=(1, 2))
    position = torch.stack([weight.sum(1) @ x, weight.sum(2) @ y], dim=-1) / total[:, None]
    return torch.where(total[:, None] > 0, position, cell.double())
