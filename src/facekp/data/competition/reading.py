"""Reads training.csv, test.csv and IdLookupTable.csv into a `FaceTable`, and decides which values are missing."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from facekp.core.console import progress
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.cache import cached
from facekp.data.competition.files import File, content_key, find_file, open_file
from facekp.data.competition.pixels import SIDE, parse_images
from facekp.data.competition.rows import Row, batches, parse_integer, parse_new_id, read_rows
from facekp.data.growing_images import GrowingImages
from facekp.data.table import FaceTable

log = logging.getLogger(__name__)
PARSER_VERSION = 1  # part of the cache key: increase it whenever the same file would give another table
TOLERANCE = 2.0  # pixels outside [0, SIDE] within which a coordinate counts as missing; beyond them it is an error
LOOKUP_COLUMNS = ["RowId", "ImageId", "FeatureName"]


def read_training_csv(
    directory: Path, keypoints: Keypoints, cache_dir: Path | None = None, rows: int | None = None
) -> FaceTable:
    """Read training.csv; ``row`` of the table counts from 1, as in error messages.

    Of large files, the images lie in a temporary file and are memory-mapped.

    A point is labelled if both coordinates are given and in [0, SIDE]. Up to `TOLERANCE` pixels outside, it counts as
    missing, and a warning says how many do. ``source`` follows from the number of values that the row has.

    Args:
        directory: holds training.csv, plain or in a zip file.
        keypoints: the scheme; its columns must be the file's.
        cache_dir: folder that keeps the parsed table for the next call; None: no cache.
        rows: read only the first rows, without the cache; None: all.

    Raises:
        MissingFile: there is no training.csv.
        UserError: the first fault of the file.
    """
    file = find_file(directory, "training.csv")
    if rows is not None and rows < 1:
        raise UserError(f"{file}: rows={rows} leaves nothing to read; take at least 1")
    if cache_dir is None or rows is not None:
        return _read_training(file, keypoints, rows, cache_dir)
    key = [PARSER_VERSION, *content_key(file)]
    return cached(cache_dir, key, keypoints, lambda: _read_training(file, keypoints, None, cache_dir))


def _read_training(file: File, keypoints: Keypoints, count: int | None, cache_dir: Path | None) -> FaceTable:
    columns = keypoints.columns
    values, images = [], GrowingImages(cache_dir)
    with open_file(file) as stream:
        rows = islice(read_rows(stream, file, [*columns, "Image"]), count)
        for batch in batches(progress(rows, f"reading rows of {file}")):
            of_batch = [
                [_parse_coordinate(row, *item) for item in zip(columns, row.fields, strict=False)] for row in batch
            ]
            values.append(np.array(of_batch, np.float32))
            images.append(parse_images(batch, column=-1))
    numbers = np.concatenate(values)  # (N, 2K)
    return FaceTable(
        keypoints=keypoints,
        images=images.finish(),
        points=_labelled_points(numbers.reshape(len(numbers), -1, 2), file),
        source=keypoints.source_of(np.isfinite(numbers).sum(axis=1)),
        row=np.arange(1, len(numbers) + 1),
    )


def _parse_coordinate(row: Row, column: str, text: bytes) -> float:
    """Pixels; NaN for an empty field."""
    text = text.strip()
    if not text:
        return np.nan
    try:
        value = float(text) if b"_" not in text else np.nan  # Python reads 1_0 as 10
    except ValueError:
        value = np.nan
    if -TOLERANCE <= value <= SIDE + TOLERANCE:
        return value
    if np.isfinite(value):
        raise row.error(column, text, f"is outside 0..{SIDE} pixels", "correct it, or leave the field empty")
    fix = "write a number, or leave the field empty where the point is not labelled"
    raise row.error(column, text, "is not a valid coordinate", fix)


def _labelled_points(points: np.ndarray, file: File) -> np.ndarray:
    """The points (N, K, 2) that count as labelled; NaN in place of the others."""
    both = np.isfinite(points).all(axis=2)
    inside = np.asarray(((points >= 0) & (points <= SIDE)).all(axis=2))
    if outside := int((both & ~inside).sum()):
        log.warning("%s: %d points are up to %g pixels outside 0..%d: taken as missing", file, outside, TOLERANCE, SIDE)
    return np.where(inside[..., None], points, np.float32(np.nan))


def read_test_csv(
    directory: Path, keypoints: Keypoints, cache_dir: Path | None = None
) -> tuple[FaceTable, pd.DataFrame]:
    """Read test.csv and the requests in IdLookupTable.csv.

    Args:
        directory: holds both files, plain or in zip files, with any number of images and any features of each.
        keypoints: the scheme that names the features.
        cache_dir: folder that keeps the parsed images for the next call; None: no cache.

    Returns:
        The table: no points, ``row`` is the ImageId, ``source`` follows from the number of requested features (the
        first source where none is). The lookup table: RowId, ImageId, FeatureName in the file's order.

    Raises:
        MissingFile: one of the files is missing.
        UserError: the first fault of test.csv, or else of IdLookupTable.csv.
    """
    file, lookup_file = find_file(directory, "test.csv"), find_file(directory, "IdLookupTable.csv")
    if cache_dir is None:
        table = _read_test_images(file, keypoints, None)
    else:
        key = [PARSER_VERSION, *content_key(file)]
        table = cached(cache_dir, key, keypoints, lambda: _read_test_images(file, keypoints, cache_dir))
    lookup, requested = _read_lookup(lookup_file, table)
    count = requested.sum(axis=1)
    source = np.where(count > 0, keypoints.source_of(count), 0).astype(np.int8)
    return replace(table, source=source), lookup


def _read_test_images(file: File, keypoints: Keypoints, cache_dir: Path | None) -> FaceTable:
    rows_of_ids: dict[int, int] = {}
    images = GrowingImages(cache_dir)
    with open_file(file) as stream:
        for batch in batches(progress(read_rows(stream, file, ["ImageId", "Image"]), f"reading rows of {file}")):
            for row in batch:
                parse_new_id(row, "ImageId", row.fields[0], rows_of_ids)
            images.append(parse_images(batch, column=1))
    points = np.full((len(rows_of_ids), len(keypoints.names), 2), np.nan, np.float32)
    source = np.zeros(len(rows_of_ids), np.int8)
    return FaceTable(keypoints, images.finish(), points, source, np.array(list(rows_of_ids), np.int64))


def _read_lookup(file: File, table: FaceTable) -> tuple[pd.DataFrame, np.ndarray]:
    """IdLookupTable.csv (RowId, ImageId, FeatureName), and bool (N, 2K): the values requested of each image."""
    images = {int(name): at for at, name in enumerate(table.row)}
    features = {name: at for at, name in enumerate(table.keypoints.columns)}
    requested = np.zeros((len(images), len(features)), bool)
    rows_of_ids: dict[int, int] = {}
    requests = []
    with open_file(file) as stream:
        for row in read_rows(stream, file, LOOKUP_COLUMNS, ignored="Location"):
            row_id = parse_new_id(row, "RowId", row.fields[0], rows_of_ids)
            image = parse_integer(row, "ImageId", row.fields[1])
            feature = row.fields[2].decode(errors="replace").strip()
            if image not in images:
                raise row.error("ImageId", row.fields[1], "is not in test.csv", "take both files from one download")
            if feature not in features:
                fault = f"is not a feature of {table.keypoints.name}"
                known = f"{table.keypoints.columns[0]} … {table.keypoints.columns[-1]}"
                fix = f"use {known}, or a checkpoint that predicts it"
                raise row.error("FeatureName", row.fields[2], fault, fix)
            requested[images[image], features[feature]] = True
            requests.append((row_id, image, feature))
    return pd.DataFrame(requests, columns=LOOKUP_COLUMNS), requested
