"""``data=yolo``: pose datasets of Ultralytics YOLO, which Roboflow, CVAT and Label Studio export, too.

A photo ``images/train/a.jpg`` has a label file ``labels/train/a.txt`` (or ``train/images``, ``train/labels``) with a
line for each face: class, box (centre, width, height), and x, y, v or x, y for each point. ``labels`` is the dataset's
YAML (`facekp.data.yolo.dataset`), or a folder of label files.

Coordinates are fractions of the photo as a viewer shows it, from its edge, so half a pixel is subtracted from points.
v = 0: not labelled; 1: labelled but hidden; 2: in view. Without v, a point at (0, 0) or with a negative coordinate is
not labelled. The split (train, val, test) becomes an attribute, and so does the class, if several are read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from facekp.core.console import listed
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import Text
from facekp.data.coco.categories import ALL, CHOOSE
from facekp.data.images import UnreadableImage, upright_size
from facekp.data.labels.boxes import EDGE, Box
from facekp.data.labels.checks import ZeroPoints
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of
from facekp.data.labels.point_names import SCHEME, check_count, index_by_name
from facekp.data.labels.text import read_text
from facekp.data.labels.words import SPLIT
from facekp.data.readers.base import (
    MAX_LOOKED_AT,
    READERS,
    LabelledFace,
    PhotoDataSettings,
    mirrors_points,
    names_points,
    recognises,
)
from facekp.data.yolo.dataset import PoseDataset, is_dataset, read_dataset
from facekp.data.yolo.lines import (
    BEFORE_POINTS,
    Layout,
    Line,
    check_line,
    has_length,
    label_files,
    layout_of,
    points_of,
    read_lines,
)
from facekp.data.yolo.photos import PhotosOfLabels

log = logging.getLogger(__name__)
LOWEST, HIGHEST = -1, 2  # fractions; points may be outside their photo, but pixels and per cent are larger
DECIMALS = 2  # of a box's edges in pixels; fractions with six decimals give 19.998 for 20, and the crop another pixel
MAX_NAMES = 20  # of classes that a message lists


class YoloSettings(PhotoDataSettings):
    """``data=yolo``; ``labels`` is the YAML of a dataset, or a folder of label files.

    Attributes:
        category: name of the class to read, or a list of names of classes with the same points; ``all``: every class
            with points; None: the only one.
    """

    category: Text | int | tuple[Text | int, ...] | None


@READERS.register("yolo")
def read_yolo(settings: YoloSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each line of the chosen classes; ``row`` counts the lines of all label files from 1.

    Raises:
        UserError: the first fault of the dataset.
    """
    dataset = read_dataset(settings.label_file)
    lines = read_lines(dataset)
    layout = layout_of(dataset, lines)
    classes = _choose_classes(dataset, lines, layout, settings.category)
    orders = {number: _point_order(dataset, number, layout, keypoints) for number in classes}
    has_hidden = layout.per_point == 3 and _states_visibility(lines, layout)
    photos = PhotosOfLabels(settings.images, dataset.root, dict.fromkeys(line.file for line in lines))
    folder, zeros = Path(settings.images).expanduser(), ZeroPoints()
    size_of = cache(lambda name: upright_size(str(folder / name)))

    def parse(entry: tuple[int, Line]) -> LabelledFace | None:
        row, line = entry
        check_line(line, layout)
        number, labels = _class_of(line, dataset), points_of(line, layout)
        if number not in orders or not labels[:, 2].any():
            return None
        _check_fractions(line, labels)
        name = photos.find(line.file, line.where)
        try:
            size = size_of(name)
        except (UnreadableImage, UnidentifiedImageError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"{line.where}: {folder / name}: can't be read as an image ({reason})") from error
        labels = labels[orders[number]]
        points = zeros.remove(np.where(labels[:, 2:] > 0, labels[:, :2] * size, np.nan)) - EDGE
        if np.isnan(points).all():
            return None
        return LabelledFace(
            name=name,
            points=points,
            box=_box(line, size),
            source=0,
            row=row,
            where=line.where,
            attributes=_attributes(line, layout, dataset.class_name(number) if len(classes) > 1 else ""),
            visible=np.where(np.isnan(points[:, 0]), 0, labels[:, 2]).astype(np.uint8) if has_hidden else None,
        )

    faces = collect_faces(enumerate(lines, start=1), parse, dataset.path, settings.skip_broken)
    zeros.log()
    return faces


@names_points("yolo", by_settings=True)
def point_names(path: Path, settings: YoloSettings) -> list[str]:
    """The points of the chosen class as the YAML names them, or as many numbers as a line has points."""
    dataset = read_dataset(path)
    lines = read_lines(dataset)
    layout = layout_of(dataset, lines)
    classes = _choose_classes(dataset, lines, layout, settings.category)
    names = dataset.names_of(classes[0]) if classes else None
    return [str(number) for number in range(layout.n_points)] if names is None else list(names)


@mirrors_points("yolo")
def mirror_points(path: Path) -> Sequence[int] | None:
    """``flip_idx`` of the YAML."""
    return read_dataset(path).flip


@recognises("yolo")
def is_yolo(path: Path, text: str) -> bool:
    """Whether the text is the YAML of a dataset or a label file, or the path is the folder of such files."""
    if not path.is_dir():
        return is_dataset(text) or _is_label(text)
    try:
        dataset = read_dataset(path)
        files = islice(label_files(dataset), MAX_LOOKED_AT)  # those of photos without faces are empty
        return dataset.layout is not None or any(_is_label(read_text(path / file)) for file in files)
    except UserError:  # no label files, or not of texts
        return False


def _is_label(text: str) -> bool:
    """Whether the first line has a class, and a box in fractions."""
    numbers = [number_of(item) for item in text.strip().partition("\n")[0].split(maxsplit=BEFORE_POINTS)]
    box = numbers[1:BEFORE_POINTS]
    return len(box) == BEFORE_POINTS - 1 and numbers[0].is_integer() and all(0 <= number <= 1 for number in box)


def _choose_classes(
    dataset: PoseDataset, lines: Sequence[Line], layout: Layout, category: str | int | Sequence[str | int] | None
) -> list[int]:
    """The numbers of the classes to read, among those with a labelled point.

    Raises:
        UserError: none has that name, or several have points that may differ, and none was chosen.
    """
    valid = [line for line in lines if has_length(line, layout) and points_of(line, layout)[:, 2].any()]
    numbers = sorted({line.numbers[0] for line in valid})
    usable = [int(number) for number in numbers if number in dataset.classes or not dataset.classes]
    names = [dataset.class_name(number) for number in usable]
    if category is None:
        named = {dataset.names_of(number) for number in usable}
        if len(usable) > 1 and (len(named) > 1 or None in named):
            raise UserError(f"{dataset.path}: classes with points: {listed(names, MAX_NAMES)}; {CHOOSE}")
        return usable
    wanted = [str(name) for name in (category if isinstance(category, (list, tuple)) else [category])]
    if wanted == [ALL]:
        return usable
    for name in wanted:
        if name not in names:
            raise UserError(
                f"data.category={name}: {dataset.path} has no such class with points; choose one of: "
                f"{listed(names, MAX_NAMES)}"
            )
    return [number for number, name in zip(usable, names, strict=True) if name in wanted]


def _point_order(dataset: PoseDataset, number: int, layout: Layout, keypoints: Keypoints) -> np.ndarray:
    """int (K,), the position of each point of the scheme in a line of a class.

    Raises:
        UserError: the class has other points than the scheme, or another number of them.
    """
    names = dataset.names_of(number)
    if names is None:
        check_count(layout.n_points, keypoints, str(dataset.path))
        order = np.arange(layout.n_points)
    else:
        index = index_by_name(names, keypoints, f"{dataset.path}: kpt_names of class {dataset.class_name(number)!r}")
        order = np.argsort([index[name] for name in names])
    _check_mirror(dataset, order, keypoints, are_named=names is not None)
    return order


def _check_mirror(dataset: PoseDataset, order: np.ndarray, keypoints: Keypoints, are_named: bool) -> None:
    """Compare the mirror points of the dataset with the scheme's pairs.

    Points without names are known by their order only, so other mirror points mean other points. Those of named points
    only change mirror images.

    Raises:
        UserError: they differ, and the points have no names; a warning, if they have.
    """
    if dataset.flip is None or not keypoints.pairs:
        return
    flip, expected = np.array(dataset.flip), keypoints.flip_order()
    different = np.flatnonzero(np.argsort(order)[flip[order]] != expected)
    if not different.size:
        return
    at = int(different[0])
    fault = (
        f"{dataset.path}: flip_idx mirrors point {order[at]} to {flip[order[at]]}, but keypoints {keypoints.name} "
        f"mirrors point {order[at]}, {keypoints.names[at]}, to {keypoints.names[expected[at]]}"
    )
    if not are_named:
        raise UserError(
            f"{fault}: the points seem to be in another order; choose {SCHEME} of a scheme in their order "
            "(facekp.data.inspect makes one), or remove flip_idx if it is wrong"
        )
    log.warning("%s; the scheme's pairs are used", fault)


def _states_visibility(lines: Sequence[Line], layout: Layout) -> bool:
    """Whether a point has v = 2; otherwise v = 1 means labelled, and what is hidden is not stated."""
    return any((points_of(line, layout)[:, 2] == 2).any() for line in lines if has_length(line, layout))


def _class_of(line: Line, dataset: PoseDataset) -> int:
    """The number of a line's class.

    Raises:
        UserError: the dataset has no such class.
    """
    number = line.numbers[0]
    if not (number >= 0 and number.is_integer()) or (dataset.classes and number not in dataset.classes):
        raise UserError(f"{line.where}: {number:g} is not the number of a class; correct it, or add the class to names")
    return int(number)


def _check_fractions(line: Line, labels: np.ndarray) -> None:
    """Refuse coordinates in other units than fractions of the photo.

    Raises:
        UserError: one of the box or of a labelled point is too large.
    """
    named = {f"{axis} of the box": value for axis, value in zip("xywh", line.numbers[1:BEFORE_POINTS], strict=True)}
    for point in np.flatnonzero(labels[:, 2]):
        named |= {f"{axis} of point {point}": labels[point, i] for i, axis in enumerate("xy")}
    name = next((name for name, value in named.items() if not LOWEST <= value <= HIGHEST), None)
    if name is not None:
        raise UserError(
            f"{line.where}: {name} is {named[name]:g}, not a fraction of the photo; divide x by its width and y by its "
            "height"
        )


def _box(line: Line, size: tuple[int, int]) -> Box | None:
    """The edges of the face's box in pixels; None for a box without area, which programs write for no box."""
    x, y, width, height = line.numbers[1:BEFORE_POINTS] * (*size, *size)
    if width <= 0 or height <= 0:
        return None
    left, top, right, bottom = (
        round(float(edge), DECIMALS) for edge in (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    )
    return left, top, right, bottom


def _attributes(line: Line, layout: Layout, class_name: str) -> dict[str, str]:
    has_track = len(line.numbers) > BEFORE_POINTS + layout.n_points * layout.per_point
    track = f"{line.numbers[-1]:.0f}" if has_track else ""
    values = {SPLIT: line.split, "class": class_name, "track": track}
    return {name: value for name, value in values.items() if value}
