"""Sets with a label file for each photo: the label files in a folder, the photo of each, and the points on their lines.

``helen/a.pts`` is the label file of ``helen/a.jpg``; it may also be in a folder beside that of the photos.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from facekp.core.errors import UserError
from facekp.data.images import photo_endings
from facekp.data.labels.json_values import number_of
from facekp.data.labels.photo_names import label_files_below, name_key


class PhotosByStem:
    """Finds the photo that has the name of a label file with another ending.

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

    def matches(self, stem: str) -> list[str]:
        """The photos of a label file: in the same subfolder, or beside its folder (``001/annot``, ``001/imgs``).

        Args:
            stem: the label file's path without its ending, relative to the labels' folder.
        """
        path = PurePosixPath(stem)
        matches = self.by_path.get(name_key(stem), [])
        matches = [name for name in matches if PurePosixPath(name).with_suffix("") == path] or matches
        if matches:
            return matches
        beside = name_key(f"{path.parent.parent}/x")[:-1] if path.parent.name else ""
        return [name for name in self.by_stem.get(name_key(path.name), []) if name_key(name).startswith(beside)]

    def find(self, stem: str, where: str, folder: str) -> str:
        """The photo of a label file, as by `matches`.

        Raises:
            UserError: none or several have the name.
        """
        matches = self.matches(stem)
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UserError(f"{where}: {' and '.join(matches[:3])} in {folder} have its name; keep one of them")
        raise UserError(f"{where}: no photo in {folder} has its name, such as {stem}.jpg; add it")


def label_files(folder: Path, ending: str) -> list[str]:
    """The files below a folder with an ending in any case, relative to it, sorted.

    Raises:
        UserError: it is not a folder, or has no such file.
    """
    if not folder.is_dir():
        raise UserError(f"data.labels={folder}: is not a folder; give the folder of the {ending} files")
    files = label_files_below(folder, ending.lower())
    if not files:
        raise UserError(f"data.labels={folder}: holds no {ending} file; give the folder of the {ending} files")
    return files


def parse_point(fields: list[str], where: str) -> list[float]:
    """x and y; both NaN where the file has NaN for a point without a label.

    Raises:
        UserError: the fields are not two finite numbers, nor ``nan nan``.
    """
    if [field.lower() for field in fields] == ["nan", "nan"]:
        return [np.nan, np.nan]
    values = [number_of(field) for field in fields]
    if len(values) != 2 or np.isnan(values).any():
        raise UserError(f"{where}: {' '.join(fields)[:40]!r} is not x y in finite numbers; write nan nan for no label")
    return values
