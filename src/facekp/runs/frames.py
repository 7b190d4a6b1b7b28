"""The tables of a run's folder, made of arrays: split.csv and predictions.csv."""

from __future__ import annotations

import numpy as np
import pandas as pd

from facekp.data.table import FaceTable


def split_frame(
    table: FaceTable, fold_of: np.ndarray, groups: np.ndarray, train: np.ndarray, val: np.ndarray
) -> pd.DataFrame:
    """The set of every row of a table.

    Args:
        table: N rows.
        fold_of: int (N,), the fold of each row.
        groups: int (N,), index of a row that stands for the row's group; groups are never split.
        train: indices of the training rows.
        val: indices of the validation rows.

    Returns:
        columns row, source, group, fold, set (``train``, ``val`` or ``unused``); for photos also name; and
        attribute_NAME for each attribute of the table.
    """
    part = np.full(len(table), "unused", dtype=object)
    part[train], part[val] = "train", "val"
    source = np.array(table.keypoints.source_names)[table.source]
    group = table.row[groups]
    frame = pd.DataFrame({"row": table.row, "source": source, "group": group, "fold": fold_of, "set": part})
    frame = frame if table.name is None else frame.assign(name=table.name)
    return frame.assign(**{f"attribute_{name}": values for name, values in table.attributes.items()})


def predictions_frame(table: FaceTable, part: str, points: np.ndarray, confidence: np.ndarray) -> pd.DataFrame:
    """Every labelled point of a table with its prediction.

    Args:
        table: N rows.
        part: the set the rows belong to, such as ``val``.
        points: float (N, K, 2), predictions in image pixels.
        confidence: float (N, K).

    Returns:
        columns row, set, source, keypoint, true_x, true_y, x, y, confidence, error (pixels). For photos also name, and
        photo_true_x, photo_true_y, photo_x, photo_y in the pixels of the photo. Where the labels say which points are
        hidden, also visible: 1 hidden, 2 in view.
    """
    n, k = np.nonzero(table.mask)
    truth, predicted = table.points[n, k], points[n, k]
    frame = pd.DataFrame(
        {
            "row": table.row[n],
            "set": part,
            "source": np.array(table.keypoints.source_names)[table.source[n]],
            "keypoint": np.array(table.keypoints.names)[k],
            "true_x": truth[:, 0],
            "true_y": truth[:, 1],
            "x": predicted[:, 0],
            "y": predicted[:, 1],
            "confidence": confidence[n, k],
            "error": np.linalg.norm(predicted - truth, axis=1),
        }
    )
    if table.visible is not None:
        frame["visible"] = table.visible[n, k]
    if table.name is None:
        return frame
    truth, predicted = (table.to_photo(positions)[n, k].round(3) for positions in (table.points, points))
    columns = ["photo_true_x", "photo_true_y", "photo_x", "photo_y"]
    return frame.assign(name=table.name[n], **dict(zip(columns, [*truth.T, *predicted.T], strict=True)))
