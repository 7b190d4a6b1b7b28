"""Boxes of a photo that are turned, and which box points belong to where a label file does not say."""

from __future__ import annotations

import math
from collections.abc import Sequence

EDGE = 0.5  # pixels from the photo's edge to the centre of its first pixel
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
