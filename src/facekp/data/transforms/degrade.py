"""Degrades faces as bad photos do: ``{name: degrade, probability: 0.5, noise: 40, ...}``.

An image gets one or more of: a grey rectangle, little light, low contrast, motion blur, blur, low resolution, noise,
JPEG-like compression. Strengths are uniform from none to the limit of the settings. Points stay labelled, also those
under a rectangle: the network learns to guess them from the rest of the face. It is batched tensor code on the device
of the images. Axes: N images, of which M are degraded in one way; D kinds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from facekp.core.device import copied_to, draw_normal
from facekp.core.settings import Fraction, PositiveCount
from facekp.data.transforms.base import AUGMENTATIONS, TransformSettings

BLOCK = 8  # side of JPEG's blocks, pixels
SAMPLES = 32  # of the path of a camera movement

# Quantisation steps of luminance at quality 50 (ITU-T T.81, table K.1)
STEPS = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)


class DegradeSettings(TransformSettings):
    """Settings of ``degrade``. A limit at its mildest value switches a kind off.

    Attributes:
        probability: that an image is degraded.
        most: kinds that an image gets at most; it gets 1 to ``most``, with equal probability.
        square: longest side of a grey rectangle, pixels; 0: none.
        darkness: smallest factor on all grey levels; 1: no change.
        contrast: smallest factor on the differences from the image's mean; 1: no change.
        motion: longest straight camera movement, pixels; 0: none.
        blur: largest standard deviation of a Gaussian blur, pixels; 0: none.
        resolution: how many times fewer pixels a side has at most, before it is enlarged again; 1: no change.
        noise: largest standard deviation of Gaussian noise, grey levels; 0: none.
        jpeg: lowest JPEG quality; 100: no compression.
    """

    moves_points: ClassVar[bool] = False
    probability: Fraction
    most: PositiveCount
    square: Annotated[float, Field(ge=0, le=1000)]
    darkness: Annotated[float, Field(gt=0, le=1)]
    contrast: Annotated[float, Field(gt=0, le=1)]
    motion: Annotated[float, Field(ge=0, le=50)]
    blur: Annotated[float, Field(ge=0, le=20)]
    resolution: Annotated[float, Field(ge=1, le=16)]
    noise: Annotated[float, Field(ge=0, le=255)]
    jpeg: Annotated[float, Field(ge=1, le=100)]

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        if self.probability and not _kinds(self.model_dump()):
            raise ValueError("every kind is switched off; give one a limit, e.g. noise: 40, or set probability: 0")
        return self


@AUGMENTATIONS.register("degrade", DegradeSettings)
def degrade(
    images: Tensor, points: Tensor, generator: torch.Generator, probability: float, most: int, **limits: float
) -> tuple[Tensor, Tensor]:
    """Degrade some images (N, 1, H, W) or (N, 3, H, W) of levels 0..255; the points stay.

    Args:
        images: float.
        points: (N, K, 2).
        generator: on the CPU.
        probability: that an image is degraded.
        most: kinds that an image gets at most.
        limits: of each kind, as in `DegradeSettings`.
    """
    kinds = _kinds(limits)
    chosen, strength = _draw(len(images), len(kinds), probability, most, generator)
    for d, kind in enumerate(kinds):
        rows = chosen[:, d].nonzero()[:, 0]
        if len(rows):
            on_device = copied_to(rows, images, dtype=torch.int64)
            changed = KINDS[kind](images[on_device], strength[rows, d], limits[kind], generator)
            images = images.index_copy(0, on_device, changed.clamp(0, 255))
    return images, points


def _kinds(limits: dict[str, Any]) -> list[str]:
    """The kinds that are switched on, in the order in which they happen to a photo."""
    mildest = {"darkness": 1, "contrast": 1, "resolution": 1, "jpeg": 100}
    return [kind for kind in KINDS if limits[kind] != mildest.get(kind, 0)]


def _draw(images: int, kinds: int, probability: float, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which kinds each image gets, bool (N, D), and how strong each would be, float (N, D) from 0 to 1."""
    degraded = torch.rand(images, generator=generator) < probability
    number = torch.randint(1, most + 1, (images,), generator=generator)
    rank = torch.rand(images, kinds, generator=generator).argsort(dim=1).argsort(dim=1)  # a random order of the kinds
    strength = torch.rand(images, kinds, generator=generator)
    return degraded[:, None] & (rank < number[:, None]), strength


# Each kind takes M images (M, I, H, W), their strengths (M,) on the CPU, the limit and the generator.

Kind = Callable[[Tensor, Tensor, float, torch.Generator], Tensor]


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """Values (M,) as (M, 1, 1, 1) on the device of the images."""
    return copied_to(values, images).view(-1, 1, 1, 1)


def _square(images: Tensor, strength: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    """A rectangle of a random grey level. Its sides differ; the longer one is ``strength`` of the limit."""
    size = torch.tensor(images.shape[-2:])
    sides = limit * strength[:, None] * (0.5 + 0.5 * torch.rand(len(images), 2, generator=generator))  # (M, 2)
    first = torch.rand(len(images), 2, generator=generator) * (size - sides).clamp_min(0)
    level = 255 * torch.rand(len(images), generator=generator)
    inside = [
        (torch.arange(length) >= start[:, None]) & (torch.arange(length) < (start + side)[:, None])
        for length, start, side in zip(images.shape[-2:], first.T, sides.T, strict=True)
    ]
    hidden = copied_to((inside[0][:, :, None] & inside[1][:, None, :])[:, None], images, dtype=torch.bool)
    return torch.where(hidden, _per_image(level, images), images)


def _darkness(images: Tensor, strength: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    return (images * _per_image(limit**strength, images)).round()  # a camera keeps whole levels


def _contrast(images: Tensor, strength: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return ((images - mean) * _per_image(limit**strength, images) + mean).round()


def _motion(images: Tensor, strength: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    """The mean of shifted copies along a line in a random direction."""
    reach = math.ceil(limit / 2)
    angle = math.pi * torch.rand(len(images), generator=generator)
    along = limit * strength[:, None] * torch.linspace(-0.5, 0.5, SAMPLES)  # (M, SAMPLES)
    pixel = torch.arange(-reach, reach + 1)
    steps = (angle.cos()[:, None] * along, angle.sin()[:, None] * along)
    across, down = ((1 - (step[..., None] - pixel).abs()).clamp_min(0) for step in steps)  # (M, SAMPLES, 2 reach + 1)
    kernel = copied_to(down.transpose(1, 2) @ across / SAMPLES, images)
    padded = pad(images.transpose(0, 1), (reach,) * 4, mode="replicate")
    return conv2d(padded, kernel[:, None], groups=len(images)).transpose(0, 1)


def _blur(images: Tensor, strength: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    """Gaussian blur by a matrix for rows and one for columns; at the border the kernel is cut and scaled."""
    sigma = copied_to((limit * strength).clamp_min(1e-3), images)[:, None, None]
    down, across = (_gaussian_rows(length, sigma) for length in images.shape[-2:])
    return down[:, None] @ images @ across.transpose(1, 2)[:, None]


def _gaussian_rows(length: int, sigma: Tensor) -> Tensor:
    """(M, length, length): row i holds the weights of a Gaussian around pixel i."""
    pixel = torch.arange(length, device=sigma.device, dtype=sigma.dtype)
    weight = torch.exp(-((pixel[:, None] - pixel) ** 2) / (2 * sigma**2))
    return weight / weight.sum(dim=-1, keepdim=True)


def _resolution(images: Tensor, strength: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    """Each image is shrunk to fewer pixels by area means, and enlarged by cubic interpolation."""
    height, width = images.shape[-2:]
    enlarged = []
    for image, factor in zip(images, (limit**strength).tolist(), strict=True):
        small = interpolate(image[None], (round(height / factor), round(width / factor)), mode="area")
        enlarged.append(interpolate(small, (height, width), mode="bicubic", align_corners=False))
    return torch.cat(enlarged)


def _noise(images: Tensor, strength: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    return images + _per_image(limit * strength, images) * draw_normal(images.shape, images.device, generator)


def _jpeg(images: Tensor, strength: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    """What JPEG keeps: the cosine transform of each block, rounded to multiples of the quality's steps."""
    height, width = images.shape[-2:]
    edge = (0, -width % BLOCK, 0, -height % BLOCK)  # blocks beyond the border repeat its pixels
    padded = pad(images - 128, edge, mode="replicate")
    blocks = padded.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)  # (M, I, rows, columns, 8, 8)
    cosine = copied_to(_cosine(), images)
    quality = 100 - (100 - limit) * strength
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    step = copied_to((STEPS * factor.view(-1, 1, 1, 1, 1, 1)).round().clamp(1, 255), images)
    kept = (cosine @ blocks @ cosine.T / step).round() * step
    decoded = (cosine.T @ kept @ cosine).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return decoded[..., :height, :width] + 128


def _cosine() -> Tensor:
    """The orthonormal cosine transform (8, 8) of a block's columns."""
    k, x = torch.arange(BLOCK)[:, None], torch.arange(BLOCK)
    wave = torch.cos(math.pi * k * (2 * x + 1) / (2 * BLOCK)) * (2 / BLOCK) ** 0.5
    return torch.cat((wave[:1] / 2**0.5, wave[1:]))


KINDS: dict[str, Kind] = {  # in the order in which they happen to a photo
    "square": _square,
    "darkness": _darkness,
    "contrast": _contrast,
    "motion": _motion,
    "blur": _blur,
    "resolution": _resolution,
    "noise": _noise,
    "jpeg": _jpeg,
}
