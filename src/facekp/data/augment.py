"""Augmentation of training batches: random warps and changes of light, which move the points with the pixels.

Images and points of a batch come in and the augmented batch goes out, on the same device. All random numbers come from
the given generator, never from the global state. Points that leave the image become unlabelled (NaN). Pixel convention:
an integer coordinate is a pixel centre, as everywhere (`facekp.functional.heatmap`).
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import conv2d, pad

from facekp.core.device import copied_to, normal_like
from facekp.core.settings import Fraction, NonNegative, Settings
from facekp.data.transforms.base import AUGMENTATIONS, TransformSettings, apply_transform
from facekp.functional.warp import KNOTS, move_points, warp_images

LARGEST_BLUR = 1.5  # standard deviation, pixels
BLUR_RADIUS = 4  # half width of the blur's kernel, pixels
LARGEST_ERASED = 0.4  # side of an erased rectangle, as a fraction of the image's side
WILD_FACTOR = 3.0  # a wild face is rotated, scaled, sheared and shifted by up to this factor more
SMALLEST_SCALE = 0.4  # a face never shrinks below this fraction of its size

# Above 0.9 a scale or width can reach 0 or become negative, which would be a mirror image with unswapped points.
BelowOne = Annotated[float, Field(ge=0, le=0.9)]


class Movement(NamedTuple):
    """Where the pixels and points of N images go.

    Attributes:
        matrix: (N, 2, 3), maps (x, y, 1) of the old image to (x, y) of the new one.
        field: (N, 2, rows, columns), an elastic displacement field (`facekp.functional.warp.warp`); None: no field.
        mirrored: bool (N,), whether the matrix mirrors the image, so that left and right points are exchanged.
    """

    matrix: Tensor
    field: Tensor | None
    mirrored: Tensor


class Augmentation(Settings):
    """``augment``: how far images are changed. 0 switches a part off.

    Attributes:
        flip: probability of a mirror image.
        rotate: largest rotation in either direction, degrees.
        scale: largest change of size, as a fraction (0.1: 0.9 to 1.1).
        stretch: largest change of width relative to height, as a fraction.
        shear: largest shear, as a fraction of the side.
        shift: largest shift along each axis, pixels.
        wild: probability that an image is rotated, scaled, sheared and shifted three times as far. Few photos frame
            their face so badly, but their errors are the largest.
        elastic: largest displacement along each axis by a smooth random field, pixels; a quarter of it is typical. At
            most 5, so that the field can't fold.
        contrast: largest change of contrast around the image's mean, as a fraction.
        brightness: largest change of brightness, grey levels of 255.
        gamma: largest change of the tone curve, as a power of 2 (1: between a square root and a square).
        blur: probability of a blur with a standard deviation of up to `LARGEST_BLUR` pixels.
        noise: largest standard deviation of sensor noise, grey levels.
        erase: probability that a rectangle is painted grey; points under it stay labelled.
        transforms: further transforms, applied last, in this order (`facekp.data.transforms.base`).
    """

    flip: Fraction
    rotate: NonNegative
    scale: BelowOne
    stretch: BelowOne
    shear: BelowOne
    shift: NonNegative
    wild: Fraction
    elastic: Annotated[float, Field(ge=0, le=5)]
    contrast: Fraction
    brightness: NonNegative
    gamma: NonNegative
    blur: Fraction
    noise: NonNegative
    erase: Fraction
    transforms: list[Annotated[TransformSettings, AUGMENTATIONS.validator]]

    @property
    def moves_points_by_transforms(self) -> bool:
        """Whether points depend on more than the `Movement`."""
        return any(transform.moves_points for transform in self.transforms)

    def __call__(
        self, images: Tensor, points: Tensor, flip_order: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: float (N, 1, H, W) or (N, 3, H, W), levels 0..255.
            points: (N, K, 2) pixels, NaN where unlabelled.
            flip_order: int (K,), the point that replaces each point in a mirror image.
            generator: on the CPU, as only a few numbers are drawn for each image.

        Returns:
            images and points of the same shapes.
        """
        height, width = images.shape[-2:]
        movement = self.draw_movement(images, (height, width), generator)
        points = self.move_points(points, (height, width), flip_order, movement)
        images = warp_images(images, movement.matrix, movement.field)
        images = self._degrade(self._relight(images, generator), generator)
        for transform in self.transforms:
            images, points = apply_transform(transform, images, points, generator)
        return images, points

    def draw_movement(self, batch: Tensor, size: tuple[int, int], generator: torch.Generator) -> Movement:
        """Draw where the pixels of a batch go: the first random numbers of `__call__`.

        Args:
            batch: float (N, ...), the images or the points; gives number, device and type.
            size: (H, W) of the images.
            generator: on the CPU.
        """
        n, (height, width) = len(batch), size
        factor = self._draw_factor(n, generator)
        angle = torch.deg2rad(factor * self.rotate * _uniform(n, generator))
        scale = (1 + factor * self.scale * _uniform(n, generator)).clamp_min(SMALLEST_SCALE)
        stretch = 1 + self.stretch * _uniform(n, generator)
        shear = factor * self.shear * _uniform(n, generator)
        mirrored = torch.rand(n, generator=generator) < self.flip
        cos, sin = scale * angle.cos(), scale * angle.sin()
        stretch = torch.where(mirrored, -stretch, stretch)
        entries = (stretch * cos, shear * cos - sin, stretch * sin, shear * sin + cos)
        linear = torch.stack(entries, dim=-1).view(n, 2, 2)
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
        shift = torch.stack((_uniform(n, generator), _uniform(n, generator)), dim=-1) * (self.shift * factor[:, None])
        offset = centre + shift - linear @ centre
        matrix = torch.cat((linear, offset[..., None]), dim=-1)
        field = self._draw_field(batch, size, generator)
        return Movement(copied_to(matrix, batch), field, copied_to(mirrored, batch, dtype=torch.bool))

    def move_points(self, points: Tensor, size: tuple[int, int], flip_order: Tensor, movement: Movement) -> Tensor:
        """Move points (N, K, 2) as `__call__` does; NaN where they leave an image of that size (H, W)."""
        points = move_points(points, movement.matrix, size, movement.field)
        return torch.where(movement.mirrored[:, None, None], points[:, flip_order], points)

    def _draw_factor(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,): the factor by which each image is moved farther than usual."""
        if not self.wild:
            return torch.ones(n)
        return torch.where(torch.rand(n, generator=generator) < self.wild, WILD_FACTOR, 1.0)

    def _draw_field(self, batch: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor | None:
        """Vectors (N, 2, rows, columns) at the knots of an elastic field; None where it is switched off."""
        if not self.elastic:
            return None
        rows, columns = (math.ceil(pixels / KNOTS) + 3 for pixels in size)
        return self.elastic * copied_to(_uniform((len(batch), 2, rows, columns), generator), batch)

    def _relight(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Contrast, brightness and tone curve."""
        gain = copied_to(1 + self.contrast * _uniform(len(images), generator), images).view(-1, 1, 1, 1)
        lift = copied_to(self.brightness * _uniform(len(images), generator), images).view(-1, 1, 1, 1)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = ((images - mean) * gain + mean + lift).clamp(0, 255)
        power = copied_to(torch.exp2(self.gamma * _uniform(len(images), generator)), images).view(-1, 1, 1, 1)
        return 255 * (images / 255) ** power

    def _degrade(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Blur, noise and erased rectangles; a part that is switched off costs nothing."""
        if self.blur:
            images = _blur(images, self.blur, generator)
        if self.noise:
            level = copied_to(self.noise * torch.rand(len(images), generator=generator), images).view(-1, 1, 1, 1)
            images = images + level * normal_like(images, generator)
        if self.erase:
            images = _erase(images, self.erase, generator)
        return images.clamp(0, 255)


def _uniform(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform draws from -1 to 1."""
    return 2 * torch.rand(shape, generator=generator) - 1


def _blur(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Gaussian blur of some images, with a different standard deviation up to `LARGEST_BLUR` pixels for each."""
    n = len(images)
    chosen = torch.rand(n, generator=generator) < probability
    sigma = torch.where(chosen, LARGEST_BLUR * torch.rand(n, generator=generator), 0.0).clamp_min(1e-3)
    distance = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1)
    kernel = torch.exp(-(distance**2) / (2 * sigma[:, None] ** 2))
    kernel = copied_to(kernel / kernel.sum(dim=1, keepdim=True), images)  # (N, 2 R + 1)
    padded = pad(images.transpose(0, 1), (BLUR_RADIUS,) * 4, mode="replicate")  # (1, N, H + 2 R, W + 2 R)
    across = conv2d(padded, kernel[:, None, None, :], groups=n)
    return conv2d(across, kernel[:, None, :, None], groups=n).transpose(0, 1)


def _erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Paint a rectangle, up to `LARGEST_ERASED` of a side, in some images with their mean grey."""
    n, (height, width) = len(images), images.shape[-2:]
    chosen = torch.rand(n, generator=generator) < probability
    low, extent = torch.rand(2, n, 2, generator=generator)
    side = torch.tensor([width, height])
    first = low * side
    last = torch.where(chosen[:, None], first + LARGEST_ERASED * extent * side, first)
    x, y = torch.arange(width), torch.arange(height)
    across = (x >= first[:, :1]) & (x < last[:, :1])  # (N, W)
    down = (y >= first[:, 1:]) & (y < last[:, 1:])  # (N, H)
    hidden = copied_to(down[:, :, None] & across[:, None, :], images, dtype=torch.bool)[:, None]
    return torch.where(hidden, images.mean(dim=(1, 2, 3), keepdim=True), images)
