"""Views of an image for test-time augmentation: moved and scaled copies, on which the network predicts as well.

What lies at pixel p of the image lies at factor * p + offset of a view. `facekp.models.keypoint_model` predicts on all
views in one batch, maps the points back to the image, and averages them. Axes: N images of H x W pixels, V views (the
image itself comes first); points have any leading axes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from facekp.core.errors import UserError
from facekp.models.settings import DecoderSettings

CPU_BATCH_SIZE = 16  # images that go through the network together: the heatmaps of more do not fit the CPU's cache
GPU_BATCH_SIZE = 128  # the same on a GPU, which fewer would leave idle; takes 4 GB with the largest network here


def images_at_once(device: torch.device) -> int:
    """How many images, views and mirror images go through the network together.

    Example:
        >>> images_at_once(torch.device("cpu")), images_at_once(torch.device("cuda"))
        (16, 128)
    """
    return GPU_BATCH_SIZE if device.type == "cuda" else CPU_BATCH_SIZE


class View(NamedTuple):
    """A copy of the image, scaled by ``factor`` and then moved by pixels.

    Attributes:
        factor: scale.
        right: pixels.
        down: pixels.
    """

    factor: float
    right: float
    down: float


def other_views(decoder: DecoderSettings, size: tuple[int, int]) -> list[View]:
    """The views besides the image itself; none where ``shift`` and ``scale`` are 0.

    Args:
        decoder: its ``shift`` moves the image to four sides, its ``scale`` enlarges and shrinks it around its centre.
        size: (H, W) of the image in pixels.

    Example:
        >>> decoder = DecoderSettings(rule="mean", floor=0.0, flip=True, shift=2.0, scale=0.0)
        >>> other_views(decoder, (96, 96))[0]
        View(factor=1.0, right=-2.0, down=0.0)
    """
    (height, width), shift, scale = size, decoder.shift, decoder.scale
    moved = [View(1.0, -shift, 0.0), View(1.0, shift, 0.0), View(1.0, 0.0, -shift), View(1.0, 0.0, shift)]
    scaled = [View(1 + s, -s * (width - 1) / 2, -s * (height - 1) / 2) for s in (scale, -scale)]
    return (moved if shift else []) + (scaled if scale else [])


def count_views(shift: float, scale: float) -> int:
    """The number of views of a decoder with this ``shift`` and ``scale``, with the image itself (`other_views`)."""
    return 1 + 4 * (shift > 0) + 2 * (scale > 0)


def passes(decoder: DecoderSettings) -> int:
    """How often each image goes through the network: as many views, twice with mirror images.

    Example:
        >>> decoder = DecoderSettings(rule="mean", floor=0.0, flip=True, shift=0.0, scale=0.0)
        >>> passes(decoder), passes(decoder.replaced(shift=1.0, scale=0.1))
        (2, 14)
    """
    return count_views(decoder.shift, decoder.scale) * (2 if decoder.flip else 1)


class Views(nn.Module):
    """All views of images of one size. It makes them, and maps points of views back to the image.

    Args:
        decoder: which views there are (`other_views`).
        size: (H, W) of the images in pixels.

    Raises:
        UserError: a view is moved so far that it shows nothing of the image.
    """

    across: Tensor  # (V, W, W) and (V, H, H): bilinear weights of the image's columns and rows in each view
    down: Tensor
    factor: Tensor  # (V, 1)
    offset: Tensor  # (V, 2) pixels

    def __init__(self, decoder: DecoderSettings, size: tuple[int, int]) -> None:
        super().__init__()
        (height, width), self.size = size, size
        if decoder.shift >= min(size):
            raise UserError(f"decoder.shift={decoder.shift}: must be below the image's side of {min(size)} pixels")
        views = torch.tensor([View(1.0, 0.0, 0.0), *other_views(decoder, size)])
        factor, right, down = views.T
        self.register_buffer("across", _bilinear(factor, right, width), persistent=False)
        self.register_buffer("down", _bilinear(factor, down, height), persistent=False)
        self.register_buffer("factor", factor[:, None], persistent=False)
        self.register_buffer("offset", views[:, 1:], persistent=False)

    def __len__(self) -> int:
        """V."""
        return len(self.factor)

    def forward(self, images: Tensor) -> Tensor:
        """float32 (N, V, I, H, W): the views of images (N, I, H, W), grey (I = 1) or in colour (I = 3)."""
        images = images.float()
        if len(self) == 1:
            return images.unsqueeze(1)
        return (self.down @ images.unsqueeze(2) @ self.across.mT).transpose(1, 2)

    def to_image(self, points: Tensor) -> Tensor:
        """Points (..., V, 2) of the views, in pixels of the image."""
        return to_image(points, self.factor, self.offset)

    def shows(self, points: Tensor) -> Tensor:
        """bool (..., V): whether each view shows points (..., 1, 2) of the image; the image itself always does."""
        inside = is_inside(to_view(points, self.factor, self.offset), self.size)
        return inside | (torch.arange(len(self), device=points.device) == 0)


def _bilinear(factor: Tensor, offset: Tensor, pixels: int) -> Tensor:
    """(V, pixels, pixels): weight of each old pixel in each new one, where old pixel p moves to factor * p + offset.

    Pixels from outside the image repeat its border, as in `facekp.functional.warp.warp`.
    """
    pixel = torch.arange(pixels)
    old = ((pixel - offset[:, None]) / factor[:, None]).clamp(0, pixels - 1)
    return (1 - (old[..., None] - pixel).abs()).clamp_min(0)


def to_view(points: Tensor, factor: Tensor | float, offset: Tensor) -> Tensor:
    """Points (..., 2) of the image, in pixels of a view."""
    return points * factor + offset


def to_image(points: Tensor, factor: Tensor | float, offset: Tensor) -> Tensor:
    """Points (..., 2) of a view, in pixels of the image."""
    return (points - offset) / factor


def is_inside(points: Tensor, size: tuple[int, int]) -> Tensor:
    """bool (...): whether points (..., 2) lie within an image of ``size``; False for NaN."""
    height, width = size
    return ((points >= 0) & (points <= points.new_tensor([width, height]))).all(dim=-1)


def mean_over_views(values: Tensor, counted: Tensor, dim: int) -> Tensor:
    """Mean of the values that count; NaN where none does.

    Args:
        values: with V views on the axis ``dim``; may be NaN where they don't count.
        counted: bool, broadcastable to ``values``.
        dim: axis of the views.

    Example:
        >>> import torch
        >>> mean_over_views(torch.tensor([1.0, 3.0, torch.nan]), torch.tensor([True, True, False]), dim=0)
        tensor(2.)
    """
    return values.where(counted, 0).sum(dim=dim) / counted.sum(dim=dim)
