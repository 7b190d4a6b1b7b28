"""``data=pts``: a folder of photos, each with a ``.pts`` file of the same name, as 300-W and 300-VW are published.

::

    version: 1
    n_points: 68
    {
    446.0 91.0
    ...
    }

The points follow in the scheme's order. They are MATLAB's: the centre of the first pixel is (1, 1), so 1 is subtracted.
The first folder of a photo's path (``helen``, ``ibug``, a video's number) becomes its attribute ``folder``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.images import photo_endings
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of
from facekp.data.labels.photo_names import files_below, label_files_below, name_key
from facekp.data.labels.point_names import check_count
from facekp.data.labels.text import read_text
from facekp.data.readers.base import READERS, LabelledFace, names_points, recognises
from facekp.data.settings import FilePerPhotoSettings

FIRST_PIXEL = 1  # MATLAB's coordinate of the centre of the first pixel
MAX_POINTS = 10_000  # of a file; a larger n_points is a mistake


class PtsSettings(FilePerPhotoSettings):
    """``data=pts``; the .pts files in ``labels`` are in the same subfolders as the photos."""


@READERS.register("pts")
def read_pts(settings: PtsSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each .pts file; ``row`` counts them from 1, sorted by name.

    Raises:
        UserError: the first fault of a file, or a photo is missing.
    """
    folder = settings.label_file
    files = _pts_files(folder)
    photos = PhotosByStem(files_below(Path(settings.images).expanduser()))

    def parse(entry: tuple[int, str]) -> LabelledFace:
        row, name = entry
        path = folder / name
        points = _read_points(path)
        check_count(len(points), keypoints, str(path))
        photo = photos.find(name, str(path), settings.images)
        first, _, rest = photo.partition("/")
        return LabelledFace(photo, points, None, 0, row, where=str(path), attributes={"folder": first} if rest else {})

    return collect_faces(enumerate(files, start=1), parse, folder, settings.skip_broken)


@names_points("pts")
def point_names(folder: Path) -> list[str]:
    """As many numbers as the first .pts file has points."""
    return [str(number) for number in range(len(_read_points(folder / _pts_files(folder)[0])))]


class PhotosByStem:
    """Finds the photo of a label file that has its name with another ending.

    Args:
        names: of files below the photos' folder.
    """

    def __init__(self, names: Iterable[str]) -> None:
        endings = photo_endings()
        self.by_path = defaultdict(list)  # "helen/a": ["helen/a.jpg"]
        self.by_stem = defaultdict(list)  # "a": ["helen/a.jpg", ...]
        for name in names:
            path = PurePosixPath(name)
            if path.suffix.lower() in endings:
                self.by_path[name_key(str(path.with_suffix("")))].append(name)
                self.by_stem[name_key(path.stem)].append(name)

    def find(self, label: str, where: str, folder: str) -> str:
        """The photo of a label file: in the same subfolder, or beside its folder (``001/annot``, ``001/imgs``).

        Raises:
            UserError: none or several have the name.
        """
        path = PurePosixPath(label)
        matches = self.by_path.get(name_key(str(path.with_suffix(""))), [])
        matches = [name for name in matches if PurePosixPath(name).with_suffix("") == path.with_suffix("")] or matches
        if not matches:
            beside = name_key(f"{path.parent.parent}/x")[:-1] if path.parent.name else ""
            matches = [name for name in self.by_stem.get(name_key(path.stem), []) if name_key(name).startswith(beside)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UserError(f"{where}: {' and '.join(matches[:3])} in {folder} have its name; keep one of them")
        raise UserError(f"{where}: no photo in {folder} has its name, such as {path.with_suffix('.jpg')}; add it")


def _pts_files(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UserError(f"data.labels={folder}: is not a folder; give the folder of the .pts files")
    files = label_files_below(folder, ".pts")
    if not files:
        raise UserError(f"data.labels={folder}: holds no .pts file; give the folder of the .pts files")
    return files


def _read_points(path: Path) -> np.ndarray:
    """(n_points, 2), counted from 0."""
    text = read_text(path)
    head, opened, rest = text.partition("{")
    body, closed, after = rest.partition("}")
    stated = re.search(r"n_points:\s*(\d{1,9})", head)
    if not (opened and closed and stated):
        raise UserError(
            f"{path}: not a valid .pts file; write version: 1, n_points: N, and N lines x y between {{ and }}"
        )
    if "{" in after:
        raise UserError(f"{path}: has several blocks of points in {{ and }}; write a file for each photo with one face")
    number = int(stated[1])
    start = head.count("\n") + 1
    lines = [(start + i, line.split()) for i, line in enumerate(body.split("\n")) if line.strip()]
    if number != len(lines) or not 0 < number <= MAX_POINTS:
        raise UserError(f"{path}: n_points is {number}, but {len(lines)} points follow; write one point a line")
    return np.array([_parse_point(fields, f"{path}: line {line}") for line, fields in lines]) - FIRST_PIXEL


def _parse_point(fields: list[str], where: str) -> list[float]:
    """x and y; both NaN where the file has NaN for a point without a label."""
    if [field.lower() for field in fields] == ["nan", "nan"]:
        return [np.nan, np.nan]
    values = [number_of(field) for field in fields]
    if len(values) != 2 or np.isnan(values).any():
        raise UserError(f"{where}: {' '.join(fields)[:40]!r} is not x y in finite numbers; write nan nan for no label")
    return values


@recognises("pts")
def is_pts(path: Path, text: str) -> bool:
    """Whether the path is a folder with .pts files."""
    return path.is_dir() and any(name.lower().endswith(".pts") for name in files_below(path))
