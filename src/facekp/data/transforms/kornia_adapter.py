"""Intensity transforms of kornia: ``{name: kornia, transform: RandomGaussianNoise, arguments: {std: 0.1, p: 0.2}}``.

They run on the device of the images. kornia draws from PyTorch's global random state, so each call seeds that state
from the batch's generator and restores it afterwards.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from facekp.core.settings import one_of
from facekp.data.transforms.base import (
    AUGMENTATIONS,
    LibrarySettings,
    draw_seed,
    missing_library,
    subclasses,
    with_tuples,
)


class KorniaSettings(LibrarySettings):
    """A transform of kornia: a subclass of kornia's ``IntensityAugmentationBase2D``, e.g. ``RandomGaussianBlur``."""

    def find(self) -> Any:
        return _find(self.transform)


@AUGMENTATIONS.register("kornia", KorniaSettings)
def apply_kornia(
    images: Tensor, points: Tensor, generator: torch.Generator, transform: str, arguments: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Apply a transform of kornia to images (N, 1, H, W) or (N, 3, H, W) of levels 0..255; the points stay."""
    module = _find(transform)(**{key: with_tuples(value) for key, value in arguments.items()})
    seed = draw_seed(generator)
    if not len(images):
        return images, points
    with torch.random.fork_rng([images.device] if images.is_cuda else []):
        torch.default_generator.manual_seed(seed)
        if images.is_cuda:
            torch.cuda.manual_seed(seed)
        changed = module(images / 255)
    return (255 * changed).clamp(0, 255), points


def _find(name: str) -> type[nn.Module]:
    """The class that kornia calls by this name.

    Raises:
        ValueError: kornia is not installed, or has no such intensity transform.
    """
    try:
        from kornia import augmentation
    except ImportError as error:
        raise ValueError(missing_library("kornia")) from error
    transforms = subclasses(augmentation, augmentation.IntensityAugmentationBase2D)
    if name not in transforms:
        raise ValueError(f"kornia has no intensity transform {name!r}; {one_of(transforms, name)}")
    return transforms[name]
