"""Image-only transforms of albumentations: ``{name: albumentations, transform: MotionBlur, arguments: {p: 0.2}}``.

They run on the CPU, image by image, on whole levels. Each call seeds the transform from the batch's generator.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facekp.core.settings import one_of
from facekp.data.transforms.base import (
    AUGMENTATIONS,
    LibrarySettings,
    draw_seed,
    missing_library,
    subclasses,
    with_tuples,
)


class AlbumentationsSettings(LibrarySettings):
    """A transform of albumentations: a subclass of ``ImageOnlyTransform``, e.g. ``MotionBlur``."""

    def find(self) -> Any:
        return _find(self.transform)


@AUGMENTATIONS.register("albumentations", AlbumentationsSettings)
def apply_albumentations(
    images: Tensor, points: Tensor, generator: torch.Generator, transform: str, arguments: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Apply a transform of albumentations to images (N, 1, H, W) or (N, 3, H, W) of levels 0..255; the points stay."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not valid for transform")  # else unknown arguments are ignored
        change = _find(transform)(**{key: with_tuples(value) for key, value in arguments.items()})
    change.set_random_seed(draw_seed(generator))
    if not len(images):
        return images, points
    levels = np.ascontiguousarray(images.round().to(torch.uint8).cpu().numpy().transpose(0, 2, 3, 1))  # (N, H, W, I)
    changed = np.stack([np.asarray(change(image=image)["image"]).reshape(image.shape) for image in levels])
    return torch.from_numpy(changed.transpose(0, 3, 1, 2)).to(images), points


def _find(name: str) -> Any:
    """The class that albumentations calls by this name.

    Raises:
        ValueError: albumentations is not installed, or has no such image-only transform.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask a server for a newer version
    try:
        import albumentations
    except ImportError as error:
        raise ValueError(missing_library("albumentations")) from error
    transforms = subclasses(albumentations, albumentations.ImageOnlyTransform)
    if name not in transforms:
        raise ValueError(f"albumentations has no image-only transform {name!r}; {one_of(transforms, name)}")
    return transforms[name]
