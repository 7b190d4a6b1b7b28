"""Which box of a photo a point belongs to, where a label file does not say."""

from __future__ import annotations

from collections.abc import Sequence

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
