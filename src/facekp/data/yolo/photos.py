"""Finds the photo of a label file by the part of the path that ``images/`` and ``labels/`` share."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from facekp.core.errors import UserError
from facekp.data.images import photo_endings
from facekp.data.labels.photo_names import files_below, name_key

IMAGES, LABELS = "images", "labels"  # folders of a dataset


class PhotosOfLabels:
    """Finds the photos of label files in a folder.

    ``labels/train/a.txt`` belongs to ``images/train/a.jpg``, ``train/labels/a.txt`` to ``train/images/a.jpg``.

    Args:
        folder: of the photos, as the user named it.
        root: of the dataset.
        labels: the label files, relative to the root.
    """

    def __init__(self, folder: str, root: Path, labels: Iterable[str]) -> None:
        self.folder = folder
        top, endings = Path(folder).expanduser(), photo_endings()
        names: dict[str, set[str]] = defaultdict(set)  # by what they share with their labels
        for name in files_below(top):
            if PurePosixPath(name).suffix.lower() in endings:
                for path in (_absolute(top, name), name):
                    names[_shared_part(path)].add(name)
        self.photos = {label: _matches(label, root, names) for label in labels}
        self.labels: dict[str, list[str]] = defaultdict(list)  # by photo
        for label, photos in self.photos.items():
            for name in photos:
                self.labels[name].append(label)

    def find(self, label: str, where: str) -> str:
        """The photo's name relative to the folder.

        Args:
            label: the label file.
            where: for messages.

        Raises:
            UserError: there is no such photo, or there are several, or it has several label files.
        """
        names = sorted(self.photos[label])
        if not names:
            expected = replaced_folder(label, LABELS, IMAGES).with_suffix(".jpg")
            raise UserError(
                f"{where}: no photo in {self.folder} has its name, such as {expected}; add it, or name the folder of "
                "the photos with data.images (images for facekp.data.inspect)"
            )
        if len(names) > 1:
            raise UserError(f"{where}: {' and '.join(names[:3])} in {self.folder} have its name; keep one of them")
        if len(labels := self.labels[names[0]]) > 1:
            raise UserError(
                f"{where}: the photo {names[0]} has the labels {' and '.join(labels[:3])}; keep one of them"
            )
        return names[0]


def _matches(label: str, root: Path, names: Mapping[str, set[str]]) -> set[str]:
    """The photos of a label file.

    A photo at the place that the label's path says counts first, also if the folder of the photos is only a part of the
    dataset. Otherwise those in the same subfolders of a folder elsewhere count.
    """
    in_place = names.get(_shared_part(_absolute(root, label)))
    matches = in_place or names.get(_shared_part(label), set())
    return {name for name in matches if PurePosixPath(name).stem == PurePosixPath(label).stem} or matches


def replaced_folder(path: str, old: str, new: str) -> PurePosixPath:
    """A path with another name for the last folder of that name.

    Example:
        >>> str(replaced_folder("labels/train/a.txt", "labels", "images"))
        'images/train/a.txt'
    """
    parts = PurePosixPath(path).parts
    at = [i for i, part in enumerate(parts[:-1]) if part.casefold() == old]
    return PurePosixPath(*parts[: at[-1]], new, *parts[at[-1] + 1 :]) if at else PurePosixPath(path)


def _shared_part(path: str) -> str:
    """What the paths of a photo and of its labels have in common.

    Example:
        >>> _shared_part("train/images/a.jpg"), _shared_part("train/labels/a.txt")
        ('train/a', 'train/a')
    """
    parts = PurePosixPath(path).parts
    at = [i for i, part in enumerate(parts[:-1]) if part.casefold() in (IMAGES, LABELS)]
    kept = (*parts[: at[-1]], *parts[at[-1] + 1 :]) if at else parts
    return name_key(str(PurePosixPath(*kept).with_suffix("")))


def _absolute(folder: Path, name: str) -> str:
    return (Path(os.path.abspath(folder)) / name).as_posix()
