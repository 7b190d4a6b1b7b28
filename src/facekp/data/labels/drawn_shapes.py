"""Shapes that annotators drew in photos, as readers of annotation tools make them from the values of their files.

`facekp.data.labels.drawn_faces` makes faces of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from facekp.data.labels.boxes import Box
from facekp.data.labels.crop_labels import MAX_VALUE_LENGTH
from facekp.data.labels.json_values import number_of, short_texts, shown
from facekp.data.labels.words import is_hidden


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A point, a box or an outline.

    Attributes:
        where: position in the label file, for messages.
        given: its coordinates as the file has them, for messages.
        xy: float (N, 2), those of the point, of the outline's vertices or of some of the box's corners, in pixels as
            the file counts them; NaN where it has no number.
        label: name of a point, or what a box is around; "" if it has none.
        group: the face that the shape belongs to; "" if that is not stated.
        attributes: by name.
        is_hidden: whether a point is labelled but hidden.
    """

    where: str
    given: Any
    xy: np.ndarray
    label: str = ""
    group: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_hidden: bool = False

    @property
    def title(self) -> str:
        """What a message calls a point."""
        return f"point {self.label!r}" if self.label else "a point"

    @property
    def edges(self) -> Box:
        """The edges around all corners."""
        (left, top), (right, bottom) = self.xy.min(axis=0), self.xy.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


@dataclass(eq=False)
class DrawnPhoto:
    """What was drawn in a photo.

    Attributes:
        where: its entry in the label files, for messages.
        entry: the values of the entry that name the photo and state its size.
        attributes: of all its faces.
        points, boxes, outlines: its shapes.
        left_out: position and kind of its other shapes.
        fault: why its entry is not valid; "" if it is.
    """

    where: str
    entry: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    points: list[Shape] = field(default_factory=list)
    boxes: list[Shape] = field(default_factory=list)
    outlines: list[Shape] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    fault: str = ""


def xy_of(pairs: Any) -> np.ndarray:
    """Coordinates from a list of x, y in any spelling: (N, 2), NaN for what is not a number; (0, 2) for another value.

    Example:
        >>> xy_of([[1, "2.5"], [None, 3]]).tolist(), xy_of("1, 2").shape
        ([[1.0, 2.5], [nan, 3.0]], (0, 2))
    """
    valid = isinstance(pairs, list) and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs)
    return np.array([[number_of(value) for value in pair] for pair in (pairs if valid else [])]).reshape(-1, 2)


def name_of(value: Any) -> str:
    """The name of a point or a group in one line: a text or a whole number; "" for any other value.

    Example:
        >>> name_of(" left  eye\\n"), name_of(7), name_of(7.0), name_of(None), name_of(True), name_of([7])
        ('left eye', '7', '7', '', '', '')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return " ".join(value.split()) if isinstance(value, str) else shown(value) if is_number else ""


def attributes_in(values: Mapping[str, Any], of_point: bool = False) -> dict[str, str]:
    """Texts, numbers and flags as attributes of a face; empty and long ones are left out.

    Args:
        values: by name.
        of_point: whether they are of a point; then what states that it is hidden is no attribute of the face.
    """
    texts = short_texts(values, MAX_VALUE_LENGTH)
    return {name: text for name, text in texts.items() if name and text and not (of_point and is_hidden(name))}
