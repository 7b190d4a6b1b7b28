"""A face as a label file describes it: what photo readers return and `facekp.data.crops` cuts out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """A face in a photo, as a label file describes it.

    Attributes:
        name: path of the photo, relative to the photos' folder.
        points: float64 (K, 2), pixels of the photo; NaN where a point is not labelled.
        box: left, top, right, bottom edge in the photo; None: the face is located by its points.
        source: index into ``keypoints.source_names``.
        row: number of the face in its file.
        where: position of its labels, for messages: ``faces.csv: line 3``.
        size: (W, H) of the photo according to the label file, which is checked; None: not stated.
    """

    name: str
    points: np.ndarray
    box: tuple[float, float, float, float] | None
    source: int
    row: int
    where: str
    size: tuple[int, int] | None = None
