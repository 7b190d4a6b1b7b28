"""Writes training.csv, test.csv, IdLookupTable.csv and the submission; every file appears complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.data.competition.pixels import SIDE
from facekp.data.competition.reading import LOOKUP_COLUMNS
from facekp.data.table import FaceTable


def write_training(path: Path, table: FaceTable) -> None:
    """Write a table as training.csv; unlabelled points are empty fields.

    Raises:
        UserError: images are not SIDE x SIDE, or the file can't be written.
    """
    texts = _image_texts(path, table)
    with atomic(path) as part, part.open("wb") as stream:
        stream.write(",".join([*table.keypoints.columns, "Image"]).encode() + b"\n")
        for points, image in zip(table.points.reshape(len(table), -1), texts, strict=True):
            values = ["" if np.isnan(value) else f"{value:.9g}" for value in points]  # 9 digits identify a float32
            stream.write(",".join(values).encode() + b"," + image + b"\n")


def write_test(directory: Path, table: FaceTable, requested: np.ndarray) -> None:
    """Write a table as test.csv and IdLookupTable.csv.

    Args:
        directory: created if missing.
        table: ``row`` is the ImageId.
        requested: bool (N, K), the points that the lookup table asks for. It lists them row by row, x before y; RowId
            counts from 1.

    Raises:
        UserError: images are not SIDE x SIDE, or a file can't be written.
    """
    path = directory / "test.csv"
    texts = _image_texts(path, table)
    with atomic(path) as part, part.open("wb") as stream:
        stream.write(b"ImageId,Image\n")
        for name, image in zip(table.row, texts, strict=True):
            stream.write(b"%d,%s\n" % (name, image))
    columns = np.array(table.keypoints.columns)
    face, feature = np.nonzero(np.repeat(requested, 2, axis=1))
    lookup = pd.DataFrame({"ImageId": table.row[face], "FeatureName": columns[feature], "Location": ""})
    lookup.insert(0, "RowId", np.arange(1, len(lookup) + 1))
    with atomic(directory / "IdLookupTable.csv") as part:
        lookup.to_csv(part, index=False)


def _image_texts(path: Path, table: FaceTable) -> Iterator[bytes]:
    """Each image as numbers separated by blanks."""
    if table.size != (SIDE, SIDE):
        raise UserError(
            f"{path}: images are {table.size[0]} x {table.size[1]} pixels; this format holds {SIDE} x {SIDE}"
        )
    words = np.array([f"{value} ".encode() for value in range(256)])  # 4 bytes each, padded with zeros
    return (words[image].tobytes().replace(b"\0", b"").rstrip() for image in table.images)


def write_submission(path: Path, table: FaceTable, points: np.ndarray, lookup: pd.DataFrame) -> None:
    """Write the competition's submission: RowId and Location, in the order of the lookup table.

    Args:
        path: the file.
        table: the test images; ``row`` is the ImageId.
        points: predictions, float (N, K, 2), pixels; clipped to the image.
        lookup: from `facekp.data.competition.read_test_csv`.

    Raises:
        UserError: a requested value is not finite, an ImageId or FeatureName is unknown, or the file can't be written.
    """
    image = pd.Index(table.row).get_indexer(pd.Index(lookup["ImageId"]))
    feature = pd.Index(table.keypoints.columns).get_indexer(pd.Index(lookup["FeatureName"]))
    value = points.reshape(len(points), -1)[image, feature].astype(np.float64)
    for row in np.flatnonzero((image < 0) | (feature < 0) | ~np.isfinite(value)):
        name = "RowId {}: ImageId {}, {}".format(*lookup[LOOKUP_COLUMNS].iloc[row])
        fault = "has no finite prediction" if min(image[row], feature[row]) >= 0 else "is not among the predictions"
        raise UserError(f"{path}: {name} {fault}; nothing written")
    limit = np.array(table.size[::-1])[feature % 2]  # x ends at W, y at H
    submission = pd.DataFrame({"RowId": lookup["RowId"], "Location": value.clip(0, limit)})
    with atomic(path) as part:
        submission.to_csv(part, index=False, float_format="%.9g")
        _check_submission(part, lookup, limit)


def _check_submission(path: Path, lookup: pd.DataFrame, limit: np.ndarray) -> None:
    """Read the submission back, and check its rows.

    Raises:
        RuntimeError: its rows differ from the lookup table's, or a value is outside the image.
    """
    written = pd.read_csv(path)
    if list(written.columns) != ["RowId", "Location"] or not np.array_equal(written["RowId"], lookup["RowId"]):
        raise RuntimeError(f"{path}: the rows written differ from the lookup table's")
    if not written["Location"].between(0, limit).all():
        raise RuntimeError(f"{path}: a value written is outside the image")
