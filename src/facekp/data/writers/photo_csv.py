"""``format=csv``: a CSV for ``data=folder``, which keeps all that faces have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facekp.core.files import write_csv
from facekp.data.readers.photo_csv import ATTRIBUTE, BOX, NAME, SOURCE
from facekp.data.writers.base import WRITERS, LabelFile, Written, visibility


@WRITERS.register("csv")
def write_photo_csv(folder: Path, file: LabelFile) -> Written:
    """Write ``labels.csv``; columns that no face needs are left out.

    Raises:
        CannotWrite: the file can't be written.
    """
    faces, scheme = file.faces, file.keypoints
    columns: dict[str, Any] = {NAME: [face.name for face in faces]}
    points = np.array([face.points for face in faces]).reshape(len(faces), -1)
    columns |= dict(zip(scheme.columns, points.T, strict=True))
    if any(face.box is not None for face in faces):
        columns |= dict(zip(BOX, np.array([face.box or [np.nan] * 4 for face in faces]).T, strict=True))
    if any(face.source for face in faces):
        columns[SOURCE] = [scheme.source_names[face.source] for face in faces]
    if any(face.visible is not None for face in faces):
        visible = np.array([visibility(face) for face in faces])
        columns |= {f"{name}_v": v for name, v in zip(scheme.names, visible.T, strict=True)}
    for name in dict.fromkeys(name for face in faces for name in face.attributes):
        columns[f"{ATTRIBUTE}{name}"] = [face.attributes.get(name, "") for face in faces]
    path = folder / "labels.csv"
    write_csv(path, pd.DataFrame(columns))
    return Written(path, "folder", keeps_sources=True)
