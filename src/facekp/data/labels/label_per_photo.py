"""Sets with a label file for each photo: the label files in a folder, the photo of each, and the points on their lines.

``helen/a.pts`` is the label file of ``helen/a.jpg``; it may also be in a folder beside that of the photos.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.images import photo_endings
from facekp.data.labels.checks import LabelsOfPhotos
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.json_values import number_of
from facekp.data.labels.photo_names import files_below, label_files_below, name_key
from facekp.data.labels.point_names import check_count
from facekp.data.settings import FilePerPhotoSettings

log = logging.getLogger(__name__)


class PhotosByStem:
    """Finds the photo that has the name of a label file with another ending.

    Args:
        names: of files below the photos' folder.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.endings = photo_endings()
        self.by_path = defaultdict(list)  # "helen/a": ["helen/a.jpg"]
        self.by_stem = defaultdict(list)  # "a": ["helen/a.jpg", ...]
        for name in names:
            path = PurePosixPath(name)
            if path.suffix.lower() in self.endings:
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

    def named(self, name: str) -> list[str]:
        """The photos in any folder that a label file names, with or without their ending."""
        path = PurePosixPath(name)
        stem = path.stem if path.suffix.lower() in self.endings else path.name
        return self.by_stem.get(name_key(stem), [])

    def find(self, stem: str, where: str, folder: str, name: str | None = None) -> str:
        """The photo of a label file, as by `matches`, or as by `named` if the file names it.

        Raises:
            UserError: none or several have the name.
        """
        matches, whose = (self.matches(stem), "its name") if name is None else (self.named(name), f"the name {name}")
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UserError(f"{where}: {' and '.join(sorted(matches)[:3])} in {folder} have {whose}; keep one of them")
        example = f", such as {stem}.jpg" if name is None else ""
        raise UserError(f"{where}: no photo in {folder} has {whose}{example}; add it")


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


def read_faces(
    settings: FilePerPhotoSettings,
    ending: str,
    keypoints: Keypoints,
    read_points: Callable[[Path], np.ndarray],
    without_photo: Literal["refused", "left out"] = "refused",
) -> list[LabelledFace]:
    """A face from each label file, with the photo of its name; ``row`` counts them from 1, sorted by name.

    The first folder of a photo's path becomes its attribute ``folder``.

    Args:
        settings: folders of the photos and of the label files.
        ending: what the name of a label file has in place of the photo's ending.
        keypoints: the scheme.
        read_points: reads (K, 2), pixels of the photo.
        without_photo: ``left out``: files without a photo are counted in the log, if others have one.

    Raises:
        UserError: the first fault of a file, or a photo is missing.
    """
    folder = settings.label_file
    files = label_files(folder, ending)
    photos, labels = PhotosByStem(files_below(Path(settings.images).expanduser())), LabelsOfPhotos()
    if without_photo == "left out":
        with_photo = [name for name in files if photos.matches(name[: -len(ending)])]
        if 0 < len(with_photo) < len(files):
            log.info("%s without a photo left out", count(len(files) - len(with_photo), f"{ending} file"))
            files = with_photo

    def parse(entry: tuple[int, str]) -> LabelledFace:
        row, name = entry
        path = folder / name
        points = read_points(path)
        check_count(len(points), keypoints, str(path))
        photo = photos.find(name[: -len(ending)], str(path), settings.images)
        first, _, rest = photo.partition("/")
        attributes = {"folder": first} if rest else {}
        face = LabelledFace(photo, points, None, 0, row, where=str(path), attributes=attributes)
        labels.add(face, name, name, "keep one of the two files")
        return face

    return collect_faces(enumerate(files, start=1), parse, folder, settings.skip_broken)


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
