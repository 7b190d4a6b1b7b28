"""facekp.functional.warp."""

from __future__ import annotations

import torch
from torch import Tensor, einsum
from torch.nn.functional import grid_sample

KNOTS = 24  # pixels between the knots of an elastic field; so far apart, displacements below 11 pixels can't fold it

ROUNDS = 8  # of a point's way through the field; at a displacement of 5 pixels each more than halves what is left


def warp(images: Tensor, points: Tensor, matrix: Tensor, field: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Move images and points by affine maps and smooth fields, bilinear; what comes from outside repeats the border.

    Args:
        images: float (N, 1, H, W).
        points: (N, K, 2) pixels.
        matrix: (N, 2, 3), takes (x, y, 1) of the old image to (x, y) of the new one.
        field: (N, 2, rows, columns), displacements (x, y) in pixels at knots `KNOTS` pixels apart, the first one before
            the image. What the affine maps put at p + d(p) comes to p, with d the cubic B-spline of the knots, which
            never exceeds them. None: no displacement.

    Returns:
        the warped images and the moved points, NaN where they left [0, W] x [0, H].
    """
    height, width = images.shape[-2:]
    back = torch.linalg.inv(matrix[:, :, :2])
    x = torch.arange(width, device=images.device, dtype=images.dtype)
    y = torch.arange(height, device=images.device, dtype=images.dtype)
    target = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (H, W, 2)
    moved = points @ matrix[:, :, :2].transpose(-1, -2) + matrix[:, None, :, 2]
    if field is not None:
        across, down = _spline(x, field.shape[-1]), _spline(y, field.shape[-2])
        target = target + einsum("hr,ndrc,wc->nhwd", down, field, across)
        moved = _through(moved, field)
    old = (target - matrix[:, None, None, :, 2]) @ back[:, None].transpose(-1, -2)  # (N, H, W, 2)
    half = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=images.device, dtype=images.dtype)
    images = grid_sample(images, old / half - 1, mode="bilinear", padding_mode="border", align_corners=True)
    limit = torch.tensor([width, height], device=points.device)
    inside = ((moved >= 0) & (moved <= limit)).all(dim=-1, keepdim=True)
    return images, moved.where(inside, torch.nan)


def _spline(place: Tensor, knots: int) -> Tensor:
    """Weights (..., knots) of the cubic B-splines at places (...) in pixels; beyond the ends those at the ends."""
    units = place.clamp(0, (knots - 3) * KNOTS) / KNOTS
    apart = (units[..., None] - torch.arange(-1, knots - 1, device=place.device)).abs()
    return ((2 - apart).clamp_min(0) ** 3 - 4 * (1 - apart).clamp_min(0) ** 3) / 6


def _through(points: Tensor, field: Tensor) -> Tensor:
    """The places p (N, K, 2) with p + d(p) at the points, where `warp` shows them; by fixed-point steps."""
    place = points
    for _ in range(ROUNDS):
        across, down = _spline(place[..., 0], field.shape[-1]), _spline(place[..., 1], field.shape[-2])
        place = points - einsum("nkr,ndrc,nkc->nkd", down, field, across)
    return place
