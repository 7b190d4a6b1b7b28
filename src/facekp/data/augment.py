"""Augmentation of training batches: random warps and changes of light, which move the points with the pixels.

Images and points of a batch come in and the augmented batch goes out, on the same device. All random numbers come from
the given generator, never from the global state. Points that leave the image become unlabelled (NaN). Pixel convention:
an integer coordinate is a pixel centre, as everywhere (`facekp.functional.heatmap`).

Random numbers are drawn on the CPU (`Augmentation.draw`) and applied on the device (`Augmentation.apply`). For N images
they are float32 tensors by name; a part that is switched off is missing::

    matrix       (N, 2, 3), maps (x, y, 1) of the old image to (x, y) of the new one
    mirrored     (N,), 1 where the matrix mirrors the image, so that left and right points are exchanged
    field        (N, 2, rows, columns), an elastic displacement field (`facekp.functional.warp.warp`)
    light        (3, N), contrast, brightness, and the power of the tone curve
    kernel       (N, 2 R + 1), that blurs along each axis; R is `BLUR_RADIUS`
    noise_level  (N,), standard deviation of the noise
    noise        (N, I, H, W), standard normal
    erased       (2, N, 2), first and last (x, y) of a rectangle
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import conv2d, pad

from facekp.core.device import copied_together, draw_normal
from facekp.core.settings import Fraction, NonNegative, Settings
from facekp.data.transforms.base import AUGMENTATIONS, TransformSettings, apply_transform
from facekp.functional.warp import KNOTS, move_points, warp_images

MAX_BLUR = 1.5  # standard deviation, pixels
BLUR_RADIUS = 4  # half width of the blur's kernel, pixels
MAX_ERASED = 0.4  # side of an erased rectangle, as a fraction of the image's side
WILD_FACTOR = 3.0  # a wild face is rotated, scaled, sheared and shifted up to this many times as far
MIN_SCALE = 0.4  # a face never shrinks below this fraction of its size

# Above 0.9 a scale or width can reach 0 or become negative, which would be a mirror image with unswapped points.
BelowOne = Annotated[float, Field(ge=0, le=0.9)]

Draws = dict[str, Tensor]  # the random numbers of a batch, see the module


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
        blur: probability of a blur with a standard deviation of up to `MAX_BLUR` pixels.
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
        """Whether points depend on more than what `draw_movement` draws."""
        return any(transform.moves_points for transform in self.transforms)

    def __call__(
        self, images: Tensor, points: Tensor, flip_order: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: float32 (N, 1, H, W) or (N, 3, H, W), levels 0..255.
            points: (N, K, 2) pixels, NaN where unlabelled.
            flip_order: int (K,), the point that replaces each point in a mirror image.
            generator: on the CPU, as only a few numbers are drawn for each image.

        Returns:
            images and points of the same shapes.
        """
        draws = self.draw(images.shape, images.device, generator)
        images, points = self.apply(images, points, flip_order, draws)
        for transform in self.transforms:
            images, points = apply_transform(transform, images, points, generator)
        return images, points

    def draw(self, shape: Sequence[int], device: torch.device, generator: torch.Generator) -> Draws:
        """The random numbers of `apply`, on a device.

        Args:
            shape: (N, I, H, W), of the images.
            device: of the images.
            generator: on the CPU.
        """
        n, (height, width) = shape[0], shape[-2:]
        draws = self._draw_movement(n, (height, width), generator) | self._draw_light(n, generator)
        on_device = {}
        if self.blur:
            draws["kernel"] = _draw_kernel(n, self.blur, generator)
        if self.noise:
            draws["noise_level"] = self.noise * torch.rand(n, generator=generator)
            on_device["noise"] = draw_normal(shape, device, generator)
        if self.erase:
            draws["erased"] = _draw_erased(n, (height, width), self.erase, generator)
        return copied_together(draws, device) | on_device

    def draw_movement(self, n: int, size: tuple[int, int], device: torch.device, generator: torch.Generator) -> Draws:
        """The random numbers of `move_points`, which are the first ones of `draw`.

        Args:
            n: number of images.
            size: (H, W) of the images.
            device: of the points.
            generator: on the CPU.
        """
        return copied_together(self._draw_movement(n, size, generator), device)

    def apply(self, images: Tensor, points: Tensor, flip_order: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Augment a batch by given random numbers, without `transforms`. On a GPU these are kernels alone.

        Args:
            images, points, flip_order: as of `__call__`.
            draws: of `draw`.
        """
        height, width = images.shape[-2:]
        points = self.move_points(points, (height, width), flip_order, draws)
        images = warp_images(images, draws["matrix"], draws.get("field"))
        return _degrade(_relight(images, *draws["light"]), draws), points

    def move_points(self, points: Tensor, size: tuple[int, int], flip_order: Tensor, draws: Draws) -> Tensor:
        """Move points (N, K, 2) as `apply` does; NaN where they leave an image of that size (H, W)."""
        points = move_points(points, draws["matrix"], size, draws.get("field"))
        return torch.where(draws["mirrored"][:, None, None] > 0, points[:, flip_order], points)

    def _draw_movement(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Draws:
        height, width = size
        factor = self._draw_factor(n, generator)
        angle = torch.deg2rad(factor * self.rotate * _uniform(n, generator))
        scale = (1 + factor * self.scale * _uniform(n, generator)).clamp_min(MIN_SCALE)
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
        draws = {"matrix": torch.cat((linear, offset[..., None]), dim=-1), "mirrored": mirrored.float()}
        if self.elastic:
            rows, columns = (math.ceil(pixels / KNOTS) + 3 for pixels in size)
            draws["field"] = self.elastic * _uniform((n, 2, rows, columns), generator)
        return draws

    def _draw_factor(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,): the factor by which each image is moved farther than usual."""
        if not self.wild:
            return torch.ones(n)
        return torch.where(torch.rand(n, generator=generator) < self.wild, WILD_FACTOR, 1.0)

    def _draw_light(self, n: int, generator: torch.Generator) -> Draws:
        gain = 1 + self.contrast * _uniform(n, generator)
        lift = self.brightness * _uniform(n, generator)
        power = torch.exp2(self.gamma * _uniform(n, generator))
        return {"light": torch.stack((gain, lift, power))}


def _uniform(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform draws from -1 to 1."""
    return 2 * torch.rand(shape, generator=generator) - 1


def _draw_kernel(n: int, probability: float, generator: torch.Generator) -> Tensor:
    """Kernels (N, 2 R + 1) that blur some images, with a different standard deviation for each."""
    chosen = torch.rand(n, generator=generator) < probability
    sigma = torch.where(chosen, MAX_BLUR * torch.rand(n, generator=generator), 0.0).clamp_min(1e-3)
    distance = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1)
    kernel = torch.exp(-(distance**2) / (2 * sigma[:, None] ** 2))
    return kernel / kernel.sum(dim=1, keepdim=True)


def _draw_erased(n: int, size: tuple[int, int], probability: float, generator: torch.Generator) -> Tensor:
    """Rectangles (2, N, 2), up to `MAX_ERASED` of a side: first and last (x, y); most of them empty."""
    height, width = size
    chosen = torch.rand(n, generator=generator) < probability
    low, extent = torch.rand(2, n, 2, generator=generator)
    side = torch.tensor([width, height])
    first = low * side
    return torch.stack((first, torch.where(chosen[:, None], first + MAX_ERASED * extent * side, first)))


def _relight(images: Tensor, gain: Tensor, lift: Tensor, power: Tensor) -> Tensor:
    """Contrast, brightness and tone curve, each (N,)."""
    gain, lift, power = (factor.view(-1, 1, 1, 1) for factor in (gain, lift, power))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = ((images - mean) * gain + mean + lift).clamp(0, 255)
    return 255 * (images / 255) ** power


def _degrade(images: Tensor, draws: Draws) -> Tensor:
    """Blur, noise and erased rectangles; a part that is switched off costs nothing."""
    if "kernel" in draws:
        images = _blur(images, draws["kernel"])
    if "noise" in draws:
        images = images + draws["noise_level"].view(-1, 1, 1, 1) * draws["noise"]
    if "erased" in draws:
        images = _erase(images, *draws["erased"])
    return images.clamp(0, 255)


def _blur(images: Tensor, kernel: Tensor) -> Tensor:
    padded = pad(images.transpose(0, 1), (BLUR_RADIUS,) * 4, mode="replicate")  # (1, N, H + 2 R, W + 2 R)
    across = conv2d(padded, kernel[:, None, None, :], groups=len(images))
    return conv2d(across, kernel[:, None, :, None], groups=len(images)).transpose(0, 1)


def _erase(images: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Paint a rectangle with the image's mean grey; its corners are (N, 2)."""
    height, width = images.shape[-2:]
    x, y = (torch.arange(pixels, device=images.device) for pixels in (width, height))
    across = (x >= first[:, :1]) & (x < last[:, :1])  # (N, W)
    down = (y >= first[:, 1:]) & (y < last[:, 1:])  # (N, H)
    hidden = (down[:, :, None] & across[:, None, :])[:, None]
    return torch.where(hidden, images.mean(dim=(1, 2, 3), keepdim=True), images)
