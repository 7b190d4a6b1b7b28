"""The label files of a YOLO pose dataset: a line of numbers for each face.

A line is the class, the box (x and y of its centre, width, height), and x, y, v or x, y for each point.
"""

from __future__ import annotations

import io
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.data.labels.json_values import number_of
from facekp.data.labels.photo_names import label_files_below
from facekp.data.labels.point_names import MAX_POINTS
from facekp.data.labels.text import read_text
from facekp.data.yolo.dataset import Layout, PoseDataset
from facekp.data.yolo.photos import IMAGES, LABELS, replaced_folder

log = logging.getLogger(__name__)
BEFORE_POINTS = 5  # numbers of the class and the box
CORNERS = 4  # numbers after a box's first corner in a line of a turned box
MAX_NUMBERS = BEFORE_POINTS + 3 * MAX_POINTS + 1
MAX_TEXT = 2**22  # characters of the labels of a photo; 2000 faces of 68 points have as many
VISIBLE = (0, 1, 2)
CLASSES, README = "classes.txt", "readme"  # names of the classes, from labelling programs; starts of descriptions
SURE = 0.5  # fraction of numbers that may be v, below which they are coordinates, some of which are 0
STATE_LAYOUT = "give the dataset's YAML, with kpt_shape: [number of points, 2 or 3], as data.labels"


class Line(NamedTuple):
    """A line of a label file.

    Attributes:
        file: relative to the dataset's root.
        where: for messages.
        split: of the photo; "" if it has none.
        numbers: float64 (n,).
        fault: why it can't be read; "" if it can.
    """

    file: str
    where: str
    split: str
    numbers: np.ndarray
    fault: str


def read_lines(dataset: PoseDataset) -> list[Line]:
    """All lines of the dataset that are not empty.

    Raises:
        UserError: the dataset has no label files, or its YAML names no folder or photo of one.
    """
    files = label_files(dataset)
    splits = dataset.splits_of([replaced_folder(file, LABELS, IMAGES) for file in files])
    split_of = dict(zip(files, splits, strict=True))
    left_out = [file for file, split in split_of.items() if split is None]
    if left_out:
        what = "photos or folders" if dataset.lists else "folders"
        folders = f"train, val and test of {dataset.path.name} do not name their {what}"
        if len(left_out) == len(files):
            raise UserError(
                f"{dataset.path}: all {len(files)} label files are left out, such as {left_out[0]}, because {folders}; "
                "correct them, or give the folder of the label files as data.labels"
            )
        log.warning("%s left out, such as %s, because %s", count(len(left_out), "label file"), left_out[0], folders)
    return [line for file, split in split_of.items() if split is not None for line in _lines(dataset, file, split)]


def label_files(dataset: PoseDataset) -> list[str]:
    """The text files in folders called labels, or, where there is no such folder, all text files.

    Raises:
        UserError: the dataset has no label files.
    """
    root = dataset.root
    paths = [path for path in map(PurePosixPath, label_files_below(root, ".txt")) if path.name.lower() != CLASSES]
    in_labels = [str(path) for path in paths if LABELS in map(str.casefold, path.parts[:-1])]
    lists = {name for names in dataset.lists.values() for name in names}
    others = (str(path) for path in paths if not path.name.lower().startswith(README))
    files = in_labels or [name for name in others if name not in lists]
    if not files:
        raise UserError(
            f"data.labels={dataset.path}: no label files (.txt) in {root}; give the folder of the label files, or move "
            "the YAML into the folder of its dataset"
        )
    return files


def _lines(dataset: PoseDataset, file: str, split: str) -> Iterator[Line]:
    path = dataset.root / file
    try:
        text = read_text(path)
        if len(text) > MAX_TEXT:
            raise UserError(f"{path}: more than {MAX_TEXT / 1e6:.0f} million characters; a label file is of one photo")
    except UserError as error:
        yield Line(file, str(path), split, np.empty(0), str(error).removeprefix("data.labels="))
        return
    for number, line in enumerate(io.StringIO(text), start=1):
        if fields := line.split(maxsplit=MAX_NUMBERS):
            where = f"{path}: line {number}"
            numbers = np.array([number_of(item) for item in fields])
            faulty = next((item for item, value in zip(fields, numbers, strict=True) if math.isnan(value)), None)
            fault = "" if faulty is None else f"{where}: {faulty[:40]!r} is not a finite number; correct it"
            yield Line(file, where, split, numbers, fault)


def layout_of(dataset: PoseDataset, lines: Sequence[Line]) -> Layout:
    """How many points a line has, and whether with v: as the YAML states, or as the lines show.

    Raises:
        UserError: the lines are no labels of points, contradict the YAML, or do not show whether they have v.
    """
    if dataset.layout is None:
        return _guess_layout(dataset.path, lines)
    points, values = dataset.layout
    numbers = [line.numbers for line in lines if has_length(line, dataset.layout)]
    if values == 2 and numbers and _have_v(np.array([row[BEFORE_POINTS:][: 2 * points] for row in numbers])):
        raise UserError(
            f"{dataset.path}: kpt_shape is [{points}, 2], but every third number after the box is 0, 1 or 2, as v is; "
            f"write kpt_shape: [{2 * points // 3}, 3]"
        )
    return dataset.layout


def _guess_layout(path: Path, lines: Sequence[Line]) -> Layout:
    """The layout of most lines; they have v if all numbers at its positions are 0, 1 or 2."""
    valid = [line.numbers for line in lines if not line.fault]
    if not valid:
        why = f"; the first fault: {lines[0].fault}" if lines else ""
        raise UserError(f"{path}: its label files have no valid line{why}")
    length, times = Counter(map(len, valid)).most_common(1)[0]
    if 2 * times <= len(valid) and len(valid) > 1:
        raise UserError(
            f"{path}: its lines have different lengths, as polygons of segmentation have, which are not read; give "
            f"labels of points, or {STATE_LAYOUT}"
        )
    number = length - BEFORE_POINTS
    if number <= 0:
        what = "as boxes of detection without points" if number == 0 else f"fewer than {BEFORE_POINTS}"
        raise UserError(f"{path}: its lines have {length} numbers, {what}; give labels of points")
    has_v = _have_v(np.array([numbers[BEFORE_POINTS:] for numbers in valid if len(numbers) == length]))
    if has_v is None:
        raise UserError(
            f"{path}: it is not clear whether the points in its lines of {length} numbers have v (0, 1 or 2); "
            f"{STATE_LAYOUT}"
        )
    if number % (3 if has_v else 2):
        raise UserError(
            f"{path}: its lines have {number} numbers after the box, which are neither x, y, v (0, 1 or 2) nor x, y; "
            f"correct them, or {STATE_LAYOUT}"
        )
    if number == CORNERS:
        raise UserError(
            f"{path}: it is not clear whether its lines of {length} numbers are boxes with two points, or corners of "
            f"turned boxes (OBB), which are not read; {STATE_LAYOUT}"
        )
    return Layout(number // (3 if has_v else 2), 3 if has_v else 2)


def has_length(line: Line, layout: Layout) -> bool:
    """Whether a line can be read and has all numbers; CVAT adds the number of a track."""
    number, expected = len(line.numbers), BEFORE_POINTS + layout.n_points * layout.per_point
    has_track = number == expected + 1 and line.numbers[-1].is_integer()
    return not line.fault and (number == expected or has_track)


def points_of(line: Line, layout: Layout) -> np.ndarray:
    """x, y, v of each point, float64 (K, 3), of a line that `has_length`; without v in the file it is 0 or 2."""
    numbers = line.numbers[BEFORE_POINTS:][: layout.n_points * layout.per_point].reshape(
        layout.n_points, layout.per_point
    )
    if layout.per_point == 3:
        return numbers
    unlabelled = (numbers < 0).any(axis=1) | (numbers == 0).all(axis=1)
    return np.column_stack((numbers, np.where(unlabelled, 0, 2)))


def check_line(line: Line, layout: Layout) -> None:
    """Check what a line must have, whatever its class.

    Raises:
        UserError: it can't be read, has another length, or v is not 0, 1 or 2.
    """
    if line.fault:
        raise UserError(line.fault)
    if not has_length(line, layout):
        expected = BEFORE_POINTS + layout.n_points * layout.per_point
        what = {BEFORE_POINTS: "a box of detection without points"}.get(len(line.numbers), "no labels of points")
        raise UserError(
            f"{line.where}: has {len(line.numbers)} numbers ({what}), but class, box and {layout.n_points} points with "
            f"{'x, y, v' if layout.per_point == 3 else 'x, y'} are {expected}; correct the line, or kpt_shape"
        )
    v = points_of(line, layout)[:, 2]
    if (at := np.flatnonzero(~np.isin(v, VISIBLE))).size:
        raise UserError(
            f"{line.where}: v of point {at[0]} is {v[at[0]]:g}; write 0 (no label), 1 (hidden) or 2 (in view), not the "
            "confidence of a prediction"
        )


def _have_v(values: np.ndarray) -> bool | None:
    """Whether every third number is v; None if it is not clear.

    Args:
        values: float64 (N, n), the numbers after the box.
    """
    if values.shape[1] % 3:
        return False
    v = values[:, 2::3]
    fraction = float(np.isin(v, VISIBLE).mean())
    if fraction < SURE:
        return False
    may_be_pairs = values.shape[1] % 2 == 0 and (fraction < 1 or not v.any())
    return None if may_be_pairs else True
