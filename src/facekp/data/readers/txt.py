"""``data=txt``: a text file with points for each photo, as LaPa, Helen, JD-landmark and FaceSynthetics are published.

::

    106
    252.5 301.0
    ...

The first line, the number of points, may be absent. The points follow in the scheme's order, separated by blanks or a
comma. The photo of ``train/landmarks/a.txt`` is ``train/images/a.jpg``: it is in the same folder, or in one beside it.
LaPa's masks ``train/labels/a.png`` are not taken for photos. Helen's files have the photo's name on their first line,
and the photo may be in any folder. Text files without a photo and without points are left out. Coordinates are used
unchanged. The folder of a photo becomes the attribute ``split`` or ``folder``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import Text
from facekp.data.images import photo_endings
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of
from facekp.data.labels.label_per_photo import PhotosByStem, label_files, parse_point
from facekp.data.labels.photo_names import files_below
from facekp.data.labels.point_names import MAX_POINTS, check_count
from facekp.data.labels.text import read_text
from facekp.data.labels.words import SPLIT, SPLITS
from facekp.data.readers.base import MAX_LOOKED_AT, READERS, LabelledFace, names_points, recognises
from facekp.data.settings import FilePerPhotoSettings

log = logging.getLogger(__name__)

ENDING = ".txt"
MASKS, PHOTOS = "labels", "images"  # LaPa's folders of masks and photos
MAX_LENGTH = 2**20  # characters of a label file; 10,000 points have a quarter of it


class TxtSettings(FilePerPhotoSettings):
    """``data=txt``; ``labels`` is the folder of the text files.

    Attributes:
        ending: what the name of a text file has in place of the photo's ending, such as ``_ldmks.txt``.
    """

    ending: Text


@READERS.register("txt")
def read_txt(settings: TxtSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each text file; ``row`` counts them from 1, sorted by name.

    Raises:
        UserError: the first fault of a file, or a photo is missing.
    """
    folder, ending = settings.label_file, settings.ending
    photos = PhotosByStem(_without_masks(files_below(Path(settings.images).expanduser())))
    files = _labels(settings, photos)
    label_of: dict[str, str] = {}  # by photo

    def parse(entry: tuple[int, str]) -> LabelledFace:
        row, name = entry
        path = folder / name
        named, points = _read(path)
        check_count(len(points), keypoints, str(path))
        photo = photos.find(_stem(name, ending), str(path), settings.images, named)
        if label_of.setdefault(photo, name) != name:
            raise UserError(f"{path}: labels {photo} as {label_of[photo]} does; keep one of the two files")
        return LabelledFace(photo, points, None, 0, row, where=str(path), attributes=_attributes(photo))

    return collect_faces(enumerate(files, start=1), parse, folder, settings.skip_broken)


@names_points("txt", by_settings=True)
def point_names(folder: Path, settings: TxtSettings) -> list[str]:
    """As many numbers as the first text file with points has."""
    for name in label_files(folder, settings.ending):
        if _looks_like_points(folder / name):
            return [str(number) for number in range(len(_read(folder / name).points))]
    raise UserError(f"data.labels={folder}: no {settings.ending} file has lines x y; give the folder of such files")


@recognises("txt")
def is_txt(path: Path, text: str) -> bool:
    """Whether the path is a folder with text files of points."""
    names = (name for name in files_below(path) if name.lower().endswith(ENDING)) if path.is_dir() else ()
    return any(_looks_like_points(path / name) for name in islice(names, MAX_LOOKED_AT))


def _without_masks(names: Iterable[str]) -> list[str]:
    """The files without those in a folder `MASKS` that has a folder `PHOTOS` beside it."""
    paths = [PurePosixPath(name) for name in names]
    folders = {path.parent for path in paths}
    masks = {folder for folder in folders if folder.name == MASKS and folder.with_name(PHOTOS) in folders}
    return [str(path) for path in paths if path.parent not in masks]


def _stem(name: str, ending: str) -> str:
    """The path of a label file without its ending, and without the photo's in ``a.jpg.txt``."""
    path = PurePosixPath(name[: -len(ending)])
    return str(path.with_suffix("")) if path.suffix.lower() in photo_endings() else str(path)


def _labels(settings: TxtSettings, photos: PhotosByStem) -> list[str]:
    """The text files with a photo or with points; others, such as a README or a list of photos, are counted in the log.

    Raises:
        UserError: none has a photo.
    """
    folder = settings.label_file
    names = label_files(folder, settings.ending)
    with_photo = {
        name for name in names if photos.matches(_stem(name, settings.ending)) or _names_one_of(photos, folder / name)
    }
    if not with_photo:
        raise UserError(
            f"data.labels={folder}: no photo in {settings.images} has the name of a text file, such as {names[0]}; set "
            "data.images to the photos' folder, or data.ending to all that follows the photo's name, such as _ldmks.txt"
        )
    labels = [name for name in names if name in with_photo or _looks_like_points(folder / name)]
    if others := sorted(set(names) - set(labels)):
        log.info("%s without a photo and without lines x y left out, such as %s", count(len(others), "file"), others[0])
    return labels


def _names_one_of(photos: PhotosByStem, path: Path) -> bool:
    """Whether a file has points and the name of a photo."""
    try:
        name = _read(path).photo
    except UserError:
        return False
    return name is not None and bool(photos.named(name))


def _looks_like_points(path: Path) -> bool:
    """Whether a file has two or more points."""
    try:
        return len(_read(path).points) > 1
    except UserError:
        return False


class _PointFile(NamedTuple):
    """What a text file has: the photo's name, if its first line is one, and the points (K, 2)."""

    photo: str | None
    points: np.ndarray


def _read(path: Path) -> _PointFile:
    """A text file.

    Raises:
        UserError: it has no points, or another number of them than its first line says.
    """
    lines = list(_lines(path))
    first = lines[0][1][0] if lines and len(lines[0][1]) == 1 else None
    number = first if first is not None and first.isdecimal() else None
    photo = first if number is None and first is not None and math.isnan(number_of(first)) else None
    if number is not None or photo is not None:
        lines.pop(0)
    if not lines:
        raise UserError(f"{path}: has no points; write a line x y for each")
    if len(lines) > MAX_POINTS or (number is not None and number.lstrip("0") != str(len(lines))):
        stated = "" if number is None else f"its first line says {number[:40]} points, but "
        raise UserError(
            f"{path}: {stated}{len(lines)} lines follow; write a line x y for each point, at most {MAX_POINTS}"
        )
    points = np.array([parse_point(fields, f"{path}: line {line}") for line, fields in lines])
    return _PointFile(photo, points)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line."""
    text = read_text(path)
    if len(text) > MAX_LENGTH:
        raise UserError(f"{path}: has {len(text)} characters; at most {MAX_LENGTH} are read of a file of points")
    for number, line in enumerate(text.split("\n"), start=1):
        if fields := line.replace(",", " ").split():
            yield number, fields


def _attributes(photo: str) -> dict[str, str]:
    """The first folder of a photo's path, apart from `PHOTOS`: ``split`` if it is one of `SPLITS`."""
    folders = [folder for folder in PurePosixPath(photo).parts[:-1] if folder != PHOTOS]
    return {SPLIT if folders[0] in SPLITS else "folder": folders[0]} if folders else {}
