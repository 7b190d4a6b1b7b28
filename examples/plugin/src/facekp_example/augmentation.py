"""An augmentation: darker corners."""

from __future__ import annotations

import torch
from torch import Tensor

from facekp.core.settings import Fraction
from facekp.data.transforms.base import AUGMENTATIONS


@AUGMENTATIONS.register("example_vignette")
def vignette(
    images: Tensor, points: Tensor, generator: torch.Generator, strength: Fraction = 0.5
) -> tuple[Tensor, Tensor]:
    """Darken the corners of each image by a random amount.

    Args:
        images: float (N, 1, H, W), or in colour (N, 3, H, W), levels 0 to 255.
        points: (N, K, 2) pixels; returned as they are.
        generator: the only source of randomness, on the CPU.
        strength: the largest darkening at a corner.
    """
    height, width = images.shape[-2:]
    y, x = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    distance = (x**2 + y[:, None] ** 2) / 2  # (H, W), 0 in the middle, 1 at the corners
    amount = strength * torch.rand(len(images), 1, 1, 1, generator=generator)
    return images * (1 - amount * distance).to(images), points
