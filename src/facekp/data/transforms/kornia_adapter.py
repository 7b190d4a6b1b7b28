"""Intensity transforms of kornia: ``{name: kornia, transform: RandomGaussianNoise, arguments: {std: 0.1, p: 0.2}}``.

They run on the device of the images. kornia draws from PyTorch's global random state, so each call seeds that state
from the batch's generator and restores it afterwards.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from facekp.core.channels import NAMES
from facekp.core.settings import Text, one_of
from facekp.data.transforms.base import (
    AUGMENTATIONS,
    TransformSettings,
    draw_seed,
    missing_library,
    subclasses,
    with_tuples,
)

TRIAL_SIDE = 64  # pixels of the image on which a transform is tried when settings are read


class KorniaSettings(TransformSettings):
    """A transform of kornia that changes levels only.

    Attributes:
        transform: a subclass of kornia's ``IntensityAugmentationBase2D``, e.g. ``RandomGaussianBlur``.
        arguments: of its constructor, e.g. ``{p: 0.2}``; lists become tuples.
    """

    moves_points: ClassVar[bool] = False
    transform: Text
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _try(self) -> Self:
        _find(self.transform)
        problem = self.problem(1)
        if problem and self.problem(3):
            raise ValueError(problem)
        return self

    def problem(self, channels: int) -> str:
        images = torch.full((1, channels, TRIAL_SIDE, TRIAL_SIDE), 127.0)
        try:
            apply_kornia(images, torch.zeros(1, 0, 2), torch.Generator(), self.transform, self.arguments)
        except Exception as error:  # whatever kornia raises for arguments and shapes that it does not accept
            reason = " ".join(str(error).split())
            return f"kornia's {self.transform} can't be used on {NAMES[channels]} images: {reason}"
        return ""


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
