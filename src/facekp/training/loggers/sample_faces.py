"""Sample faces for loggers: a few validation faces with their predictions, as pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facekp.data.table import FaceTable
from facekp.models.keypoint_model import KeypointModel


@dataclass(frozen=True, eq=False)
class SampleFace:
    """One validation face.

    Attributes:
        row: row number in the table.
        source: name of the labelling convention.
        rmse: of its labelled points, in pixels; None where it has none.
        points: uint8 (h, w, 4), the face with labelled and predicted points.
        heatmaps: uint8 (h, w, 4), the heatmaps of all keypoints over the face.
    """

    row: int
    source: str
    rmse: float | None
    points: np.ndarray
    heatmaps: np.ndarray


def sample_faces(model: KeypointModel, table: FaceTable, points: np.ndarray, count: int) -> list[SampleFace]:
    """Faces spread over all sources and the whole table.

    Args:
        model: draws the heatmaps.
        table: N rows.
        points: (N, K, 2) predictions for them, in pixels.
        count: number of faces; fewer if the table is smaller.
    """
    from facekp.reporting.pictures import spread_out  # imported here: the first step need not wait for matplotlib

    rows = spread_out(table.source, count) if count else np.empty(0, dtype=np.int64)
    return [_sample_face(model, table.take(rows[i : i + 1]), points[rows[i]]) for i in range(len(rows))]


def _sample_face(model: KeypointModel, face: FaceTable, points: np.ndarray) -> SampleFace:
    """The face of a table of one row, with its predictions (K, 2)."""
    from facekp.reporting.pictures import draw_faces, draw_heatmaps, pixels

    squared = np.square(points - face.points[0])[face.mask[0]]
    return SampleFace(
        row=int(face.row[0]),
        source=face.keypoints.source_names[face.source[0]],
        rmse=float(np.sqrt(squared.mean())) if len(squared) else None,
        points=pixels(draw_faces(face, points[None])),
        heatmaps=pixels(draw_heatmaps(model, face)),
    )
