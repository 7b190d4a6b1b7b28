"""The YAML of a YOLO pose dataset: its classes, points, mirrored points and splits.

::

    path: ../datasets/faces  # as on the machine that wrote it; not used to open files
    train: images/train
    val: images/val
    kpt_shape: [5, 3]        # number of points; 3: x, y, v; 2: x, y
    flip_idx: [1, 0, 2, 4, 3]
    names: {0: face}
    kpt_names: {0: [right_eye, left_eye, nose, right_mouth, left_mouth]}
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from facekp.core.errors import UserError
from facekp.core.plain_files import MAX_BYTES, DamagedFile, parse_yaml
from facekp.data.labels.json_values import number_of, shown
from facekp.data.labels.photo_names import is_file
from facekp.data.labels.photo_paths import MAX_PARTS, in_folder
from facekp.data.labels.point_names import MAX_POINTS
from facekp.data.labels.text import read_text

SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}  # keys of the YAML
SPLIT_FOLDER = re.compile(r"(train|val|test)(ing|id|idation)?\d*")  # such as valid, train2017
SHAPE = re.compile(r"^kpt_shape\s*:", re.MULTILINE)
OTHERS = (re.compile(r"^train\s*:", re.MULTILINE), re.compile(r"^(names|nc)\s*:", re.MULTILINE))
FORMAT = "the YAML of a YOLO pose dataset"


class Layout(NamedTuple):
    """How many points a line has, and how many values a point: 3 for x, y, v; 2 for x, y."""

    n_points: int
    per_point: int


@dataclass(frozen=True)
class PoseDataset:
    """What is known of a dataset before its label files are read.

    Attributes:
        path: its YAML, or the folder of label files, for messages.
        root: the folder that is searched for label files.
        layout: of a line; None: no YAML states it.
        classes: names by number; empty: not stated.
        point_names: names of the points by class, those of all classes by None; empty: not stated.
        flip: the number of each point's mirror point; None: not stated.
        folders: by split, parts of the paths of its folders.
        lists: by split, the text files that list its photos, relative to the root; empty: none, or one is missing.
    """

    path: Path
    root: Path
    layout: Layout | None = None
    classes: Mapping[int, str] = field(default_factory=dict)
    point_names: Mapping[int | None, tuple[str, ...]] = field(default_factory=dict)
    flip: tuple[int, ...] | None = None
    folders: Mapping[str, list[tuple[str, ...]]] = field(default_factory=dict)
    lists: Mapping[str, list[str]] = field(default_factory=dict)

    def class_name(self, number: int) -> str:
        """The name of a class; its number where the dataset names no classes."""
        return self.classes.get(number, str(number))

    def names_of(self, number: int) -> tuple[str, ...] | None:
        """The names of the points of a class; None where the dataset does not name them."""
        return self.point_names.get(number, self.point_names.get(None))

    def splits_of(self, photos: Sequence[PurePosixPath]) -> list[str | None]:
        """The split of each photo; "" if it has none; None if the YAML names neither the photo nor its folder.

        Args:
            photos: their paths relative to `root`, with any ending.
        """
        listed = self._listed({str(photo.with_suffix("")) for photo in photos})
        return [self._split_of(photo.parent.parts, listed.get(str(photo.with_suffix("")), set())) for photo in photos]

    def _listed(self, photos: Collection[str]) -> dict[str, set[str]]:
        """By photo, the splits whose lists name it. A list may name photos from any folder above, also elsewhere."""
        splits: dict[str, set[str]] = defaultdict(set)
        for split, name in ((split, name) for split, names in self.lists.items() for name in names):
            for line in filter(None, map(str.strip, read_text(self.root / name).split("\n"))):
                path = PurePosixPath(name).parent / line.replace("\\", "/")
                parts = (path.parent / path.stem).parts[-MAX_PARTS:]
                for end in ("/".join(parts[start:]) for start in range(len(parts))):
                    if end in photos:
                        splits[end].add(split)
        return splits

    def _split_of(self, folder: tuple[str, ...], listed: Collection[str]) -> str | None:
        if listed:
            return next(iter(listed)) if len(listed) == 1 else ""
        if not self.folders:
            words = (SPLIT_FOLDER.fullmatch(part.casefold()) for part in folder)
            return None if self.lists else next((word[1] for word in words if word), "")
        lengths = {split: max(_shared(folder, path) for path in paths) for split, paths in self.folders.items()}
        longest = max(lengths.values())
        splits = [split for split, length in lengths.items() if length == longest]
        return None if longest < 0 else splits[0] if len(splits) == 1 else ""


def _shared(folder: tuple[str, ...], path: tuple[str, ...]) -> int:
    """How many leading parts of a folder are the last parts of a path, which may start at any folder above; or -1.

    Example:
        >>> _shared(("images", "train", "a"), ("home", "faces", "images", "train"))
        2
        >>> _shared(("images", "val"), ("home", "faces", "images", "train"))
        -1
    """
    lengths = (n for n in range(len(folder), 0, -1) if path[-n:] == folder[:n])
    return next(lengths, -1 if folder and path else 0)


def is_dataset(text: str) -> bool:
    """Whether a text is the YAML of a dataset, with points or without."""
    return bool(SHAPE.search(text)) or all(key.search(text) for key in OTHERS)


def read_dataset(path: Path) -> PoseDataset:
    """Read the YAML of a dataset, or the one in a folder; a folder may have none.

    Raises:
        UserError: the YAML can't be read, is not valid, or is not that of a pose dataset; or a folder has several.
    """
    if not path.is_dir():
        return _parse(path, _read_yaml(path))
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in (".yaml", ".yml") and file.is_file()]
    files = [file for file in files if SHAPE.search(read_text(file))]
    if len(files) > 1:
        names = " and ".join(file.name for file in files[:3])
        raise UserError(f"data.labels={path}: holds several datasets, {names}; name one of them as data.labels")
    return _parse(files[0], _read_yaml(files[0])) if files else PoseDataset(path, path)


def _read_yaml(path: Path) -> Mapping[str, Any]:
    text = read_text(path)
    if len(text) > MAX_BYTES:
        raise UserError(f"data.labels={path}: more than {MAX_BYTES / 1e6:.0f} MB; give {FORMAT}")
    try:
        content = parse_yaml(text)
    except DamagedFile as error:
        raise UserError(f"data.labels={path}: {error}; give {FORMAT}") from error
    if not isinstance(content, Mapping):
        raise UserError(
            f"data.labels={path}: has no keys such as kpt_shape; give {FORMAT}, or the folder of its labels"
        )
    return content


def _parse(path: Path, content: Mapping[str, Any]) -> PoseDataset:
    layout = _parse_layout(path, content)
    folders, lists = _parse_splits(path, content)
    return PoseDataset(
        path=path,
        root=path.parent,
        layout=layout,
        classes=_parse_classes(path, content.get("names")),
        point_names=_parse_point_names(path, content.get("kpt_names"), layout.n_points),
        flip=_parse_flip(path, content.get("flip_idx"), layout.n_points),
        folders=folders,
        lists=lists,
    )


def _parse_layout(path: Path, content: Mapping[str, Any]) -> Layout:
    if "kpt_shape" not in content:
        raise UserError(
            f"{path}: has no kpt_shape, as datasets for detection or segmentation, which have no points; give "
            f"{FORMAT}, or add kpt_shape: [number of points, 2 or 3]"
        )
    value = content["kpt_shape"]
    numbers = [number_of(item) for item in value] if isinstance(value, list) else []
    if len(numbers) != 2 or numbers[0] not in range(1, MAX_POINTS + 1) or numbers[1] not in (2, 3):
        raise UserError(f"{path}: kpt_shape is {shown(value)}; write [number of points, 2 or 3]")
    return Layout(int(numbers[0]), int(numbers[1]))


def _parse_classes(path: Path, value: Any) -> dict[int, str]:
    names = dict(enumerate(value)) if isinstance(value, list) else {} if value is None else value
    if not isinstance(names, Mapping) or any(isinstance(name, (list, Mapping)) for name in names.values()):
        raise UserError(f"{path}: names is {shown(value)}; write the names of the classes, such as {{0: face}}")
    return {_class_number(path, "names", key): _one_line(name) for key, name in names.items()}


def _one_line(name: Any) -> str:
    return " ".join(str(name).split())


def _class_number(path: Path, where: str, key: Any) -> int:
    number = number_of(key)
    if math.isnan(number) or number != int(number):
        raise UserError(f"{path}: {where}: {shown(key)} is not the number of a class; write 0, 1, ...")
    return int(number)


def _parse_point_names(path: Path, value: Any, points: int) -> dict[int | None, tuple[str, ...]]:
    """``{0: [nose, chin]}`` by class, ``[nose, chin]`` for all classes, or ``[[nose, chin]]``."""
    if value is None or value == []:
        return {}
    groups: dict[int | None, Any]
    if isinstance(value, Mapping):
        groups = {_class_number(path, "kpt_names", key): names for key, names in value.items()}
    elif isinstance(value, list) and isinstance(value[0], list):
        groups = dict(enumerate(value))
    else:
        groups = {None: value}
    for names in groups.values():
        if not isinstance(names, list) or any(isinstance(name, (list, Mapping)) or name is None for name in names):
            raise UserError(f"{path}: kpt_names is {shown(value)}; write a list of names for each class, {{0: [nose]}}")
        if len(names) != points:
            raise UserError(f"{path}: kpt_names has {len(names)} names, but kpt_shape {points} points; correct one")
        if len(set(map(_one_line, names))) < points:
            raise UserError(f"{path}: kpt_names: a name is duplicated; give every point a different name")
    return {number: tuple(map(_one_line, names)) for number, names in groups.items()}


def _parse_flip(path: Path, value: Any, points: int) -> tuple[int, ...] | None:
    """None also for a list that mirrors no point, which programs write that do not know the mirror points."""
    if value is None or value == []:
        return None
    numbers = [number_of(item) for item in value] if isinstance(value, list) else []
    if sorted(numbers) != list(range(points)):
        raise UserError(
            f"{path}: flip_idx is {shown(value)}; write the number of each point's mirror point, 0 to {points - 1}, "
            "or remove it"
        )
    flip = tuple(map(int, numbers))
    if wrong := [number for number in range(points) if flip[flip[number]] != number]:
        first = wrong[0]
        raise UserError(
            f"{path}: flip_idx: the mirror point of {first} is {flip[first]}, but that of {flip[first]} is "
            f"{flip[flip[first]]}; correct or remove it"
        )
    return None if flip == tuple(range(points)) else flip


def _parse_splits(
    path: Path, content: Mapping[str, Any]
) -> tuple[dict[str, list[tuple[str, ...]]], dict[str, list[str]]]:
    """`PoseDataset.folders` and `PoseDataset.lists`; both are empty if a list is missing."""
    above = content.get("path")
    folders: dict[str, list[tuple[str, ...]]] = {}
    lists: dict[str, list[str]] = {}
    for key, split in SPLITS.items():
        value = content.get(key)
        entries = value if isinstance(value, list) else [] if value is None else [value]
        if any(not isinstance(entry, str) for entry in entries):
            raise UserError(f"{path}: {key} is {shown(value)}; write the folder of its photos")
        for entry in (f"{above}/{entry}" if isinstance(above, str) else entry for entry in entries):
            if not entry.lower().endswith(".txt"):
                folders.setdefault(split, []).append(_parts(entry))
                continue
            name = in_folder(entry, path.parent)
            if not is_file(path.parent, name):
                return {}, {}
            lists.setdefault(split, []).append(name)
    return folders, lists


def _parts(path: str) -> tuple[str, ...]:
    """The folders of a path of any system, without those that lead upwards.

    Example:
        >>> _parts(r"C:\\data\\..\\images"), _parts("../train/images")
        (('C:', 'data', 'images'), ('train', 'images'))
    """
    return tuple(part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("/", ".", ".."))
