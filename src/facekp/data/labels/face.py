"""A face as a label file describes it: what photo readers return and `facekp.data.crops` cuts out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
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
        attributes: subsets that the face belongs to, such as ``{"pose": "large", "occlusion": "1"}``.
        visible: uint8 (K,), COCO's v: 0 not labelled, 1 labelled but hidden, 2 labelled and in view; None: not stated.
    """

    name: str
    points: np.ndarray
    box: tuple[float, float, float, float] | None
    source: int
    row: int
    where: str
    size: tuple[int, int] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    visible: np.ndarray | None = None
