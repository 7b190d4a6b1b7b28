"""Random faces from given ones: batched warps and light changes that move points with pixels.

A batch of images and points comes in, the augmented batch goes out, on whatever device it lives. Every draw comes from
the generator given, never from the global state. Points that leave the image become unlabelled (NaN).
Pixel convention: integer coordinate = pixel centre, as everywhere (`facekp.functional.heatmap`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from facekp.core.errors import UserError
from facekp.functional.warp import KNOTS, warp

BLUR, REACH = 1.5, 4  # largest blur and how far its kernel reaches, pixels

ERASED = 0.4  # largest side of an erased rectangle, as a share of the image's

WILD = 3.0  # times as far as usual a wild face is turned, sized, sheared and shifted

SMALLEST = 0.4  # of its size, whatever `scale` says


@dataclass(frozen=True)
class Augmentation:
    """How far faces are moved and lit; 0 switches a part off.

    Attributes:
        flip: probability of a mirror image.
        rotate: largest rotation either way, degrees.
        scale: largest change of size, as a share (0.1: 0.9 to 1.1).
        stretch: largest change of width against height, as a share.
        shear: largest shear, as a share of the side.
        shift: largest shift along each axis, pixels.
        wild: probability of three times that rotation, scale, shear and shift: few photos frame their face so badly,
            but those cost most.
        elastic: largest displacement along each axis by a smooth random field, pixels; a quarter of it is typical.
        contrast: largest change of contrast around the image's mean, as a share.
        brightness: largest change of brightness, grey levels of 255.
        gamma: largest change of the tone curve, as a power of 2 (1: between a square root and a square).
        blur: probability of a blur of up to `BLUR` pixels standard deviation.
        noise: largest standard deviation of sensor noise, grey levels.
        erase: probability that a rectangle is greyed out; points under it stay labelled.
    """

    flip: float
    rotate: float
    scale: float
    stretch: float
    shear: float
    shift: float
    wild: float
    elastic: float
    contrast: float
    brightness: float
    gamma: float
    blur: float
    noise: float
    erase: float

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Augmentation:
        """From the augment config.

        Raises:
            UserError: a setting is unknown, missing, negative or not a number.
        """
        names = [field.name for field in fields(cls)]
        if set(raw) != set(names):
            odd = sorted(set(raw) ^ set(names))[0]
            raise UserError(f"augment.{odd}: the settings are exactly {', '.join(names)}")
        for name, value in raw.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise UserError(f"augment.{name}: {value!r} must be a number from 0 up")
        return cls(**raw)

    def __call__(
        self, images: Tensor, points: Tensor, flip_order: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: float (N, 1, H, W), grey levels 0..255.
            points: (N, K, 2) pixels, NaN where unlabelled.
            flip_order: int (K,), the point that takes each one's place in a mirror image.
            generator: on the CPU; what is drawn is a few numbers a face.

        Returns:
            images and points of the same shapes.
        """
        matrix, mirrored = self._draw_warp(images, generator)
        images, points = warp(images, points, matrix, self._draw_field(images, generator))
        points = torch.where(mirrored[:, None, None], points[:, flip_order], points)
        return self._degrade(self._relight(images, generator), generator), points

    def _draw_warp(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Affine maps (N, 2, 3) from old to new pixel coordinates, and which of them mirror (N,)."""
        n, height, width = len(images), images.shape[-2], images.shape[-1]
        reach = self._draw_reach(n, generator)
        angle = torch.deg2rad(reach * self.rotate * _uniform(n, generator))
        size = (1 + reach * self.scale * _uniform(n, generator)).clamp_min(SMALLEST)
        wide = 1 + self.stretch * _uniform(n, generator)
        lean = reach * self.shear * _uniform(n, generator)
        mirrored = torch.rand(n, generator=generator) < self.flip
        cos, sin = size * angle.cos(), size * angle.sin()
        wide = torch.where(mirrored, -wide, wide)
        linear = torch.stack((wide * cos, lean * cos - sin, wide * sin, lean * sin + cos), dim=-1).view(n, 2, 2)
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
        shift = torch.stack((_uniform(n, generator), _uniform(n, generator)), dim=-1) * (self.shift * reach[:, None])
        offset = centre + shift - linear @ centre
        return torch.cat((linear, offset[..., None]), dim=-1).to(images), mirrored.to(images.device)

    def _draw_reach(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,) factors: how many times as far as usual each face is moved."""
        if not self.wild:
            return torch.ones(n)
        return torch.where(torch.rand(n, generator=generator) < self.wild, WILD, 1.0)

    def _draw_field(self, images: Tensor, generator: torch.Generator) -> Tensor | None:
        """Vectors (N, 2, rows, columns) at the knots of an elastic field; None where that is switched off."""
        if not self.elastic:
            return None
        rows, columns = (math.ceil(pixels / KNOTS) + 3 for pixels in images.shape[-2:])
        return self.elastic * _uniform((len(images), 2, rows, columns), generator).to(images)

    def _relight(self, images: Tensor, generator: torch.Generator) -> Tensor:
        gain = (1 + self.contrast * _uniform(len(images), generator)).to(images).view(-1, 1, 1, 1)
        lift = (self.brightness * _uniform(len(images), generator)).to(images).view(-1, 1, 1, 1)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = ((images - mean) * gain + mean + lift).clamp(0, 255)
        power = torch.exp2(self.gamma * _uniform(len(images), generator)).to(images).view(-1, 1, 1, 1)
        return 255 * (images / 255) ** power

    def _degrade(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Blur, noise and erased rectangles; a part that is switched off costs nothing."""
        if self.blur:
            images = _blur(images, self.blur, generator)
        if self.noise:
            level = (self.noise * torch.rand(len(images), generator=generator)).to(images).view(-1, 1, 1, 1)
            images = images + level * torch.randn(images.shape, generator=generator).to(images)
        if self.erase:
            images = _erase(images, self.erase, generator)
        return images.clamp(0, 255)


def _uniform(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Even draws from -1 to 1."""
    return 2 * torch.rand(shape, generator=generator) - 1


def _blur(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Gaussian blur of some images, each with its own standard deviation up to `BLUR` pixels."""
    n = len(images)
    chosen = torch.rand(n, generator=generator) < probability
    sigma = torch.where(chosen, BLUR * torch.rand(n, generator=generator), 0.0).clamp_min(1e-3)
    reach = torch.arange(-REACH, REACH + 1)
    kernel = torch.exp(-(reach**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).to(images)  # (N, 2 REACH + 1)
    padded = pad(images.transpose(0, 1), (REACH,) * 4, mode="replicate")  # (1, N, H + 2 REACH, W + 2 REACH)
    across = conv2d(padded, kernel[:, None, None, :], groups=n)
    return conv2d(across, kernel[:, None, :, None], groups=n).transpose(0, 1)


def _erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Some images get a rectangle, up to `ERASED` of a side, of their own mean grey."""
    n, (height, width) = len(images), images.shape[-2:]
    chosen = torch.rand(n, generator=generator) < probability
    low, extent = torch.rand(2, n, 2, generator=generator)
    side = torch.tensor([width, height])
    first = low * side
    last = torch.where(chosen[:, None], first + ERASED * extent * side, first)
    x, y = torch.arange(width), torch.arange(height)
    across = (x >= first[:, :1]) & (x < last[:, :1])  # (N, W)
    down = (y >= first[:, 1:]) & (y < last[:, 1:])  # (N, H)
    hidden = (down[:, :, None] & across[:, None, :]).to(images.device)[:, None]
    return torch.where(hidden, images.mean(dim=(1, 2, 3), keepdim=True), images)
