"""Views of an image for test-time augmentation: moved and scaled copies, on which the network predicts as well.

What lies at pixel p of the image lies at factor * p + offset of a view. Predictions on the views are mapped back to the
image and averaged. `facekp.models.keypoint_model` does so view by view, `facekp.models.export_graph` with all views in
one batch; both use these functions. Axes: N images, K points, V views.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from facekp.models.settings import DecoderSettings


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
