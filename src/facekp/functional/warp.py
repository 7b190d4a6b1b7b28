"""Affine maps and smooth displacement fields, applied to batches of images and of points alike.

Pixel convention: an integer coordinate is a pixel's centre. Axes: N images of H x W pixels, K points.
"""

from __future__ import annotations

import torch
from torch import Tensor, einsum
from torch.nn.functional import grid_sample

KNOTS = 24  # pixels between the knots of a field; with knots so far apart, displacements below 11 pixels cannot fold it
ITERATIONS = 8  # that follow a point through a field; at displacements of 5 pixels each more than halves the error


def warp(images: Tensor, points: Tensor, matrix: Tensor, field: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Move images and points by the same maps.

    Args:
        images: float (N, I, H, W), any number of channels I.
        points: (N, K, 2) pixels.
        matrix: (N, 2, 3), maps (x, y, 1) of the old image to (x, y) of the new one.
        field: (N, 2, rows, columns), displacements (x, y) in pixels at knots `KNOTS` pixels apart, the first one before
            the image. The new image shows at p what the affine map puts at p + d(p). d is the cubic B-spline of the
            knots, which never exceeds them. None: no displacement.

    Returns:
        the warped images and the moved points, NaN where they left [0, W] x [0, H].
    """
    height, width = images.shape[-2:]
    return warp_images(images, matrix, field), move_points(points, matrix, (height, width), field)


def warp_images(images: Tensor, matrix: Tensor, field: Tensor | None = None) -> Tensor:
    """The images of `warp`: bilinear; beyond the border the border's pixels are repeated."""
    height, width = images.shape[-2:]
    linear = matrix[:, :, :2]
    back = torch.linalg.inv(linear) if linear.device.type == "cpu" else _inverse_on_gpu(linear)
    x = torch.arange(width, device=images.device, dtype=images.dtype)
    y = torch.arange(height, device=images.device, dtype=images.dtype)
    target = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (H, W, 2)
    if field is not None:
        across, down = _spline(x, field.shape[-1]), _spline(y, field.shape[-2])
        target = target + einsum("hr,ndrc,wc->nhwd", down, field, across)
    old = (target - matrix[:, None, None, :, 2]) @ back[:, None].transpose(-1, -2)  # (N, H, W, 2)
    half = torch.stack([x[-1], y[-1]]) / 2  # made on the device, as a copy from the CPU would wait for a GPU
    return grid_sample(images, old / half - 1, mode="bilinear", padding_mode="border", align_corners=True)


def move_points(points: Tensor, matrix: Tensor, size: tuple[int, int], field: Tensor | None = None) -> Tensor:
    """The points of `warp`, without the images.

    Args:
        points: (N, K, 2) pixels.
        matrix: (N, 2, 3).
        size: (H, W) of the images.
        field: (N, 2, rows, columns), or None.

    Returns:
        (N, K, 2), NaN where they left [0, W] x [0, H].
    """
    moved = points @ matrix[:, :, :2].transpose(-1, -2) + matrix[:, None, :, 2]
    if field is not None:
        moved = _through_field(moved, field)
    height, width = size
    inside = (moved >= 0).all(dim=-1) & (moved[..., 0] <= width) & (moved[..., 1] <= height)
    return moved.where(inside[..., None], torch.nan)


def _inverse_on_gpu(matrices: Tensor) -> Tensor:
    """The inverses of matrices (N, 2, 2) by plain kernels.

    `torch.linalg.inv` waits for a GPU to check the result, and a CUDA graph can't hold it. This function rounds
    differently, so CPUs keep `inv` and the bits of earlier runs.
    """
    (a, b), (c, d) = (row.unbind(-1) for row in matrices.unbind(1))
    adjugate = torch.stack((d, -b, -c, a), dim=-1).view_as(matrices)
    return adjugate / (a * d - b * c)[:, None, None]


def _spline(position: Tensor, knots: int) -> Tensor:
    """Weights (..., knots) of the cubic B-splines at positions (...) in pixels; beyond the ends those at the ends."""
    units = position.clamp(0, (knots - 3) * KNOTS) / KNOTS
    distance = (units[..., None] - torch.arange(-1, knots - 1, device=position.device)).abs()
    return ((2 - distance).clamp_min(0) ** 3 - 4 * (1 - distance).clamp_min(0) ** 3) / 6


def _through_field(points: Tensor, field: Tensor) -> Tensor:
    """The positions p (N, K, 2) with p + d(p) at the points, where `warp_images` shows them; by fixed-point steps."""
    position = points
    for _ in range(ITERATIONS):
        across, down = _spline(position[..., 0], field.shape[-1]), _spline(position[..., 1], field.shape[-2])
        position = points - einsum("nkr,ndrc,nkc->nkd", down, field, across)
    return position
