"""Keeps drawn faces in a process of the tests: most trainings use the same 60, and drawing them takes a while."""

from functools import cache
from typing import Any

from facekp.data.synthetic import faces

ROWS = 100  # that are kept of each seed, 9 KB each
draw = faces._photograph


def draw_once(row: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """What facekp draws, from memory for the first rows."""
    return _keep(row, seed) if row < ROWS else draw(row, seed)


@cache
def _keep(row: int, seed: int) -> tuple[Any, dict[str, Any]]:
    image, positions = draw(row, seed)
    image.flags.writeable = False  # a test that changed it would change the faces of others
    return image, positions


faces._photograph = draw_once
