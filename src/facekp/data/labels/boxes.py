"""Boxes of a photo that are turned, and which box points belong to where a label file does not say."""

from __future__ import annotations

import math
from collections.abc import Sequence

EDGE = 0.5  # pixels from the photo's edge to the centre of its first pixel
MAX_OVERLAP = 0.5  # fraction of a box in another one with another label; faces overlap less
Box = tuple[float, float, float, float]  # left, top, right, bottom edge


def smallest_around(boxes: Sequence[Box], points: Sequence[tuple[float, float]]) -> int | None:
    """The position of the smallest box that holds all points; None if no box does.

    Example:
        >>> smallest_around([(0, 0, 9, 9), (2, 2, 5, 5), (7, 7, 9, 9)], [(3, 3), (4, 5)])
        1
    """
    around = [
        ((right - left) * (bottom - top), i)
        for i, (left, top, right, bottom) in enumerate(boxes)
        if all(left <= x <= right and top <= y <= bottom for x, y in points)
    ]
    return min(around)[1] if around else None


def boxes_of_point(boxes: Sequence[Box], labels: Sequence[str], point: tuple[float, float]) -> list[int]:
    """The positions of the smallest box around a point, and of the boxes that may be its face's instead.

    These have another label, and hold the point and most of the smallest box. No box around the point: [].

    Example:
        >>> boxes_of_point([(0, 0, 9, 9), (2, 2, 5, 5), (0, 0, 8, 8)], ["face", "face", "ring"], (3, 3))
        [1, 2]
    """
    at = smallest_around(boxes, [point])
    if at is None:
        return []
    others = [i for i, box in enumerate(boxes) if labels[i] != labels[at] and smallest_around([box], [point]) == 0]
    return [at, *(i for i in others if _overlap(boxes[at], boxes[i]) > MAX_OVERLAP)]


def _overlap(small: Box, large: Box) -> float:
    """The fraction of the smaller box that lies in the larger one."""
    sides = [min(small[i + 2], large[i + 2]) - max(small[i], large[i]) for i in range(2)]
    area = (small[2] - small[0]) * (small[3] - small[1])
    return sides[0] * sides[1] / area if area > 0 and min(sides) > 0 else 0.0


def extent_of_turned(box: Box, degrees: float, pivot: tuple[float, float]) -> Box:
    """The edges around a box that is turned clockwise about a point.

    Example:
        >>> [round(edge, 6) for edge in extent_of_turned((2, 2, 6, 4), 90, pivot=(4, 3))]
        [3.0, 1.0, 5.0, 5.0]
    """
    if not degrees:
        return box  # to the last bit
    left, top, right, bottom = box
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    from_pivot = [(x - pivot[0], y - pivot[1]) for x in (left, right) for y in (top, bottom)]
    xs = [pivot[0] + cos * x - sin * y for x, y in from_pivot]
    ys = [pivot[1] + sin * x + cos * y for x, y in from_pivot]
    return min(xs), min(ys), max(xs), max(ys)
