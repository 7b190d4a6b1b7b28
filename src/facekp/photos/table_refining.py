"""`predict_refined`: predicts a table, and looks a second time at faces that fit their image badly.

`facekp evaluate refine=true` and `facekp submit refine=true` predict with it, as `facekp predict` does with photos.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from facekp.core.channels import to_colour
from facekp.core.crop import Crop
from facekp.core.device import AUTO
from facekp.data.table import FaceTable
from facekp.models.checkpoint import LoadedCheckpoint
from facekp.models.ensemble import LoadedModel, predict_table
from facekp.models.prediction import Prediction
from facekp.models.predictor import KeypointPredictor
from facekp.models.settings import Engine
from facekp.photos.face import Face
from facekp.photos.reading import Photo
from facekp.photos.second_look import second_look

log = logging.getLogger(__name__)


def predict_refined(models: Sequence[LoadedModel], table: FaceTable) -> Prediction[np.ndarray]:
    """Predict as `facekp.models.ensemble.predict_table`, then faces again in crops that suit them better.

    A new prediction is taken only where its mean confidence is higher (`facekp.photos.second_look.second_look`). The
    log counts such faces.

    Args:
        models: at least one; with the table's scheme and image size.
        table: N rows.

    Returns:
        points, confidence and, for a calibrated checkpoint, expected error (N, K); no deviation.

    Raises:
        UserError: as `facekp.models.ensemble.predict_table`.
    """
    first = predict_table(models, table)
    points, confidence = first.points.copy(), first.confidence.copy()
    errors = None if first.expected_error is None else first.expected_error.copy()
    engine: Engine = "torch" if all(isinstance(model, LoadedCheckpoint) for model in models) else "auto"
    for source in np.unique(table.source):
        rows = np.flatnonzero(table.source == source)
        predictor = KeypointPredictor(models, table.keypoints.source_names[source], AUTO, None, engine)
        crop = Crop(0, 0, table.size[1], table.size[0], table.size)
        faces = [Face(crop, points[row], confidence[row], None if errors is None else errors[row]) for row in rows]
        images = np.array(table.images[rows])  # (n, H, W) or (n, H, W, 3)
        photos = [Photo(f"row {row}", to_colour(image)) for row, image in zip(rows, images, strict=True)]
        for row, face in zip(rows, second_look(faces, photos, predictor), strict=True):
            points[row], confidence[row] = face.points, face.confidence
            if errors is not None:
                errors[row] = face.expected_error
    changed = int((points != first.points).any(axis=(1, 2)).sum())
    log.info("second look: %d of %d faces were predicted in another crop", changed, len(table))
    return Prediction(points, confidence, None, errors)
