"""A reader: labels in a file with one JSON object per line.

{"photo": "anna.jpg", "points": {"left_eye": [180.4, 113.7], "nose": [141.7, 168.1]}}
"""

from __future__ import annotations

import json

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings


@READERS.register("example_jsonl")
def read_jsonl(settings: PhotoDataSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """The faces of a label file; facekp reads the photos and crops the faces.

    Raises:
        UserError: a line is not valid.
    """
    faces = []
    for number, line in enumerate(settings.label_file.read_text().splitlines(), start=1):
        where = f"{settings.labels}: line {number}"
        try:
            label = json.loads(line)
            known = {str(name): xy for name, xy in label["points"].items()}
            points = np.array([known.get(name, (np.nan, np.nan)) for name in keypoints.names], dtype=float)
            faces.append(LabelledFace(label["photo"], points, None, 0, number, where))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{where}: not a label ({error}); write photo and points") from error
    return faces
