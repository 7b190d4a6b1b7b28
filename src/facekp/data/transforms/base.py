"""Further augmentations by name: ``augment.transforms=[{name: NAME, ...}]``, applied after the built-in ones.

A transform is a function of a batch and a random generator. Its keyword arguments are its settings::

    from facekp.data.transforms.base import AUGMENTATIONS

    @AUGMENTATIONS.register("invert")
    def invert(images, points, generator, probability: Fraction = 0.5):
        chosen = torch.rand(len(images), generator=generator) < probability
        return torch.where(chosen.to(images.device)[:, None, None, None], 255 - images, images), points

With ``plugins=[mymodule] augment.transforms=[{name:invert,probability:0.1}]`` every training batch passes through it.

- images: float (N, 1, H, W), or in colour (N, 3, H, W), levels 0..255; points: (N, K, 2) pixels, NaN where unlabelled.
- generator: on the CPU. All random numbers must come from it, so that a resumed run repeats them.
- Returns images and points of the same shapes. A point that leaves the image becomes NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from facekp.core.channels import CHANNEL_NAMES
from facekp.core.errors import UserError
from facekp.core.registry import Registry
from facekp.core.settings import Settings, Text

Transform = Callable[..., tuple[Tensor, Tensor]]
TRIAL_SIDE = 64  # pixels of the image on which a library's transform is tried when settings are read


class TransformSettings(Settings):
    """An entry of ``augment.transforms``: the transform's name; each transform adds its settings.

    Attributes:
        moves_points: whether the transform can change points. False saves time with accumulated batches.
    """

    moves_points: ClassVar[bool] = True
    name: str

    def problem(self, channels: int) -> str:
        """Why the transform can't be used on images of 1 (grey) or 3 (colour) channels; empty where it can be."""
        return ""


class LibrarySettings(TransformSettings):
    """A transform of another library that changes levels only. It is tried on a small image when settings are read.

    Attributes:
        transform: the library's name of it, e.g. ``RandomGaussianBlur`` of kornia.
        arguments: of its constructor, e.g. ``{p: 0.2}``; lists become tuples.
    """

    moves_points: ClassVar[bool] = False
    transform: Text
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _try(self) -> Self:
        self.find()
        problem = self.problem(1)
        if problem and self.problem(3):
            raise ValueError(problem)
        return self

    def find(self) -> Any:
        """The library's class.

        Raises:
            ValueError: the library is not installed, or has no such transform.
        """
        raise NotImplementedError

    def problem(self, channels: int) -> str:
        images = torch.full((1, channels, TRIAL_SIDE, TRIAL_SIDE), 127.0)
        try:
            AUGMENTATIONS.partial(self)(images, torch.zeros(1, 0, 2), torch.Generator())
        except Exception as error:  # whatever the library raises for arguments and shapes that it does not accept
            reason = " ".join(str(error).split())
            return f"{self.name}'s {self.transform} can't be used on {CHANNEL_NAMES[channels]} images: {reason}"
        return ""


AUGMENTATIONS: Registry[Transform] = Registry(
    "transform",
    key="augment.transforms",
    base=TransformSettings,
    entry_points="facekp.augmentations",
    inputs=3,
    package="facekp.data.transforms",
)


def apply_transform(
    settings: TransformSettings, images: Tensor, points: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Apply the transform that the settings name. What it raises gets a note with its name.

    Raises:
        UserError: it returned something else than two tensors, or tensors of other shapes.
    """
    before = (images.shape, points.shape)
    transform = AUGMENTATIONS.partial(settings)
    try:
        returned: Any = transform(images, points, generator)
    except Exception as error:  # perhaps another package's code
        error.add_note(f"raised by the transform {settings.name} of augment.transforms")
        raise
    if fault := _fault(returned):
        raise UserError(f"augment.transforms: {settings.name} returned {fault}; it must return images, points")
    images, points = returned
    if (images.shape, points.shape) != before:
        raise UserError(
            f"augment.transforms: {settings.name} returned images and points of shapes {tuple(images.shape)} and "
            f"{tuple(points.shape)}, not {tuple(before[0])} and {tuple(before[1])}"
        )
    return images, points


def _fault(returned: Any) -> str:
    """What a transform returned if it is not two tensors; empty if it is."""
    if not isinstance(returned, (tuple, list)):
        return type(returned).__name__
    types = ", ".join(type(part).__name__ for part in returned)
    are_two = len(returned) == 2 and all(isinstance(part, Tensor) for part in returned)
    return "" if are_two else f"a {type(returned).__name__} of ({types})"


def draw_seed(generator: torch.Generator) -> int:
    """A seed for a library that has its own random state; below 2**32, as NumPy's older generators need."""
    return int(torch.randint(2**32, (1,), generator=generator))


def with_tuples(value: object) -> object:
    """Lists as tuples, also in lists: YAML has no tuples, and libraries ask for them."""
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value


def subclasses(module: ModuleType, base: type) -> dict[str, Any]:
    """The subclasses of a class that a library's module holds, by name."""
    classes = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return {name: value for name, value in classes.items() if issubclass(value, base) and value is not base}


def missing_library(name: str) -> str:
    """The message for a library that is not installed."""
    return f"needs {name}, which is not installed: pip install 'facekp[augment]', or pip install {name}"
