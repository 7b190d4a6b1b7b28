"""Reads the data: settings come in, a `FaceTable` comes out."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from facekp.core.channels import CHANNEL_NAMES
from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.crops import read_crops
from facekp.data.labels.face import LabelledFace
from facekp.data.readers.base import READERS, DataSettings, PhotoDataSettings
from facekp.data.readers.kaggle import KaggleSettings, read_test_files
from facekp.data.sampling import spread_rows
from facekp.data.subsets import attributes_of_table, check_attribute, subset_of_faces, subset_of_table
from facekp.data.table import FaceTable, HostImages, Images
from facekp.data.table_checks import check_table

log = logging.getLogger(__name__)
ONLY = "data.only"
FILE = "file"  # attribute of faces of several label files: which of them labels the face


def read_table(settings: DataSettings, keypoints: Keypoints) -> FaceTable:
    """Read the labelled rows of ``data=NAME``.

    Args:
        settings: of the reader, e.g. from ``READERS.parse``.
        keypoints: the landmark scheme of the rows.

    Returns:
        the table. Its images are `HostImages` where they need more than ``settings.device_bytes``.

    Raises:
        UserError: a file is missing or not valid.
    """
    if isinstance(settings, PhotoDataSettings):
        faces = choose_faces(_read_faces(settings, keypoints), settings, keypoints)
        rows: object = read_crops(faces, settings, keypoints)
    else:
        rows = READERS[settings.name](settings, keypoints)
    if not isinstance(rows, FaceTable):
        raise UserError(f"data={settings.name}: the reader returned {type(rows).__name__}, not a FaceTable")
    _check_images(rows, settings.name)
    _check_channels(rows, settings)
    check_table(rows, settings.name)
    for name in settings.group_by or ():
        check_attribute(name, attributes_of_table(rows), "data.group_by")
    rows = replace(rows, group_by=settings.group_by or ())
    if not isinstance(settings, PhotoDataSettings):  # in photos, faces are chosen before they are cropped
        rows = _choose(rows, settings)
    log.info("%s", describe(rows, settings.name))
    small = math.prod(rows.images.shape) <= settings.device_bytes
    return replace(rows, images=rows.images[:] if small else _on_host(rows.images))


def _choose(table: FaceTable, settings: DataSettings) -> FaceTable:
    """The rows that ``data.only`` and ``data.rows`` leave; none of their images is read."""
    if settings.only is not None:
        chosen = subset_of_table(table, settings.only, ONLY)
        table = replace(table, images=_on_host(table.images)).take(chosen)
    if settings.rows is not None and settings.rows < len(table):
        chosen = _chosen_rows(settings, table.source)
        table = replace(table, images=_on_host(table.images)).take(chosen)
    return table


def _on_host(images: Images) -> HostImages:
    return images if isinstance(images, HostImages) else HostImages(images)


def _check_images(table: FaceTable, name: str) -> None:
    """Refuse images of a reader that are not uint8 levels.

    Raises:
        UserError: the images are not levels 0..255 in uint8.
    """
    first = np.asarray(table.images[:1])
    if first.dtype != np.uint8:
        raise UserError(f"data={name}: the images are {first.dtype}; give levels 0..255 as uint8")
    if len(table) and all(image.max(initial=0) <= 1 for image in table.images):
        raise UserError(
            f"data={name}: no grey level is above 1; give levels 0..255: multiply levels from 0 to 1 by 255 before "
            "they become integers"
        )


def _check_channels(table: FaceTable, settings: DataSettings) -> None:
    """Refuse images of a reader that have another shape or number of channels than ``data.channels``.

    Raises:
        UserError: the images are not (N, H, W) or (N, H, W, 3), or have not the number of channels that is set.
    """
    shape = table.images.shape
    if len(shape) not in (3, 4) or table.channels not in CHANNEL_NAMES:
        raise UserError(f"data={settings.name}: the images have the shape {shape}; give (N, H, W) or (N, H, W, 3)")
    if table.channels != settings.channels:
        colour = CHANNEL_NAMES[table.channels]
        raise UserError(
            f"data.channels={settings.channels}: the images of data={settings.name} are {colour}; use "
            f"data.channels={table.channels}"
        )


def _read_faces(settings: PhotoDataSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """The faces of the label file; of several files with the attribute `FILE`, and rows that continue between files.

    Raises:
        UserError: a file can't be read, or the reader returns something else.
    """
    if not isinstance(settings.labels, list):
        return checked_faces(READERS[settings.name](settings, keypoints), settings.name, keypoints)
    faces: list[LabelledFace] = []
    for path, name in zip(settings.labels, short_names(settings.labels), strict=True):
        of_file = READERS[settings.name](settings.replaced(labels=path), keypoints)
        rows_before = max((face.row for face in faces), default=0)
        faces += [
            replace(face, row=face.row + rows_before, attributes={**face.attributes, FILE: name})
            for face in checked_faces(of_file, settings.name, keypoints)
        ]
    return faces


def short_names(paths: Sequence[str]) -> list[str]:
    """Names of files without folders and ending; where two would be the same, their paths from the folder of all.

    Raises:
        UserError: a file is named twice.

    Example:
        >>> short_names(["wflw/train.txt", "wflw/test.txt"]), short_names(["a/labels.json", "b/labels.json"])
        (['train', 'test'], ['a/labels.json', 'b/labels.json'])
    """
    if twice := [path for path, times in Counter(paths).items() if times > 1]:
        raise UserError(f"data.labels: {twice[0]} is named twice; name each file once")
    stems = [Path(path).stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    full = [os.path.abspath(path) for path in paths]
    above = os.path.commonpath(map(os.path.dirname, full))  # so that names stay where all files are moved
    return [Path(path).relative_to(above).as_posix() for path in full]


def choose_faces(
    faces: Sequence[LabelledFace], settings: PhotoDataSettings, keypoints: Keypoints
) -> list[LabelledFace]:
    """The faces of a label file that ``data.only`` and ``data.rows`` leave.

    Raises:
        UserError: no face has an attribute or a value of ``data.only``.
    """
    if settings.only is not None:
        chosen = np.flatnonzero(subset_of_faces(faces, keypoints, settings.only, ONLY))
        faces = [faces[i] for i in chosen.tolist()]
    if settings.rows is not None:
        chosen = _chosen_rows(settings, np.array([face.source for face in faces], np.int64))
        faces = [faces[i] for i in chosen.tolist()]
    return list(faces)


def checked_faces(faces: object, name: str, keypoints: Keypoints) -> list[LabelledFace]:
    """What a photo reader returned; what a plug-in's reader can get wrong is checked.

    Args:
        faces: returned by the reader.
        name: of the reader.
        keypoints: the landmark scheme.

    Raises:
        UserError: it is not a list of faces; or names the face and the attribute.
    """
    if not isinstance(faces, list):
        raise UserError(f"data={name}: the reader returned {type(faces).__name__}, not a list of LabelledFace")
    for face in faces:
        if not isinstance(face, LabelledFace):
            raise UserError(f"data={name}: the reader returned a list with {type(face).__name__}, not LabelledFace")
        if not (isinstance(face.source, (int, np.integer)) and 0 <= face.source < len(keypoints.sources)):
            raise UserError(
                f"data={name}: {face.where}: source is {face.source!r}; give an index into "
                f"{', '.join(keypoints.source_names)}"
            )
        shape = getattr(face.points, "shape", None)
        if shape != (len(keypoints.names), 2):
            raise UserError(
                f"data={name}: {face.where}: points have the shape {shape}; give an array ({len(keypoints.names)}, 2)"
            )
    return faces


def _chosen_rows(settings: DataSettings, source: np.ndarray) -> np.ndarray:
    """The rows that ``data.rows`` takes of a file, from the source of each, int (N,)."""
    assert settings.rows is not None
    if settings.rows_from == "first":
        return np.arange(min(settings.rows, len(source)))
    return spread_rows(source, settings.rows)


def describe(table: FaceTable, name: str) -> str:
    """One line: the number of faces, by source, and of labelled points."""
    counts = [f"{(table.source == s).sum()} {source}" for s, source in enumerate(table.keypoints.source_names)]
    faces, points = count(len(table), "face"), count(int(table.mask.sum()), "labelled point")
    return f"data={name}: {faces} ({', '.join(counts)}), {points}"


def read_test(settings: DataSettings, keypoints: Keypoints) -> tuple[FaceTable, pd.DataFrame]:
    """Read the competition's test images and the values that are requested of them.

    Returns:
        the table without points, and the lookup table (`facekp.data.competition.read_test_csv`).

    Raises:
        UserError: the data have no test images, or a file is missing or not valid.
    """
    if not isinstance(settings, KaggleSettings):
        raise UserError(f"data={settings.name}: has no test images; use data=kaggle data.dir=DIR")
    table, lookup = read_test_files(settings, keypoints)
    _check_images(table, settings.name)
    return table, lookup
