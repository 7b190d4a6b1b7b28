"""What a label writer is, and the registry of all writers (``format=NAME`` of ``facekp.data.convert``).

A writer is a function of an empty folder and a `LabelFile`. It writes the labels of all faces into the folder, and
returns how they are read again. To write another format, write one function::

    from facekp.data.writers.base import WRITERS, LabelFile, Written

    @WRITERS.register("my_format")
    def write_my_format(folder: Path, file: LabelFile) -> Written:
        (folder / "labels.txt").write_text(...)
        return Written(folder / "labels.txt", "my_format", kept_attributes=())

Now ``format=my_format`` works. The module also has what writers share: the size of a photo, a box for every face, and
names of files with a photo's labels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import UnidentifiedImageError

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.registry import Registry
from facekp.core.settings import Settings
from facekp.data.images import UnreadableImage, upright_size
from facekp.data.label_file import LabelFile as LabelFile  # part of what a writer needs
from facekp.data.labels.boxes import EDGE, Box
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.photo_names import InFolder, name_key

log = logging.getLogger(__name__)

DIGITS = 3  # decimals of coordinates, pixels
FACE = "face"  # label of a face, where a format has one
HIDDEN = 1  # v of a point that is labelled but hidden


class Written(NamedTuple):
    """What a writer wrote, and what of the faces its format can hold; points are always held.

    Attributes:
        path: the file or folder of labels, which ``data.labels`` names.
        reader: that reads it (``data.name``).
        images: folder of the photos, if they were copied; None: they stay where they are.
        keeps_boxes: whether it holds boxes.
        keeps_hidden: whether it marks hidden points.
        keeps_sources: whether it holds the labelling conventions.
        kept_attributes: names of the attributes that it holds; None: all.
        added_boxes: number of faces whose box is the smallest around their points, as they had none.
    """

    path: Path
    reader: str
    images: Path | None = None
    keeps_boxes: bool = True
    keeps_hidden: bool = True
    keeps_sources: bool = False
    kept_attributes: Collection[str] | None = None
    added_boxes: int = 0


Writer = Callable[[Path, LabelFile], Written]


class WriterSettings(Settings):
    """A writer has no settings but its name."""

    name: str


WRITERS: Registry[Writer] = Registry(
    "label writer",
    key="format",
    base=WriterSettings,
    entry_points="facekp.writers",
    inputs=2,
    package="facekp.data.writers",
)


def left_out(file: LabelFile, written: Written) -> Iterator[str]:
    """What the faces have but their new format can't hold, in words: ``12 boxes``."""
    faces = file.faces
    if not written.keeps_boxes and (boxes := sum(face.box is not None for face in faces)):
        yield count(boxes, "box", "boxes")
    if not written.keeps_hidden and (hidden := sum(int((visibility(face) == HIDDEN).sum()) for face in faces)):
        yield f"{'mark' if hidden == 1 else 'marks'} of {count(hidden, 'hidden point')}"
    if not written.keeps_sources and any(face.source for face in faces):
        yield "labelling conventions"
    if written.kept_attributes is not None:
        names = dict.fromkeys(name for face in faces for name in face.attributes if name not in written.kept_attributes)
        yield from (f"attribute {name}" for name in names)


def faces_by_photo(faces: Iterable[LabelledFace]) -> dict[str, list[LabelledFace]]:
    """The faces of each photo, in the order of the file; those with neither points nor a box are left out."""
    photos: dict[str, list[LabelledFace]] = {}
    for face in faces:
        if face.box is not None or has_points(face):
            photos.setdefault(face.name, []).append(face)
    return photos


def has_points(face: LabelledFace) -> bool:
    """Whether a point of the face is labelled."""
    return bool(np.isfinite(face.points).any())


def labelled_points(face: LabelledFace, keypoints: Keypoints) -> Iterator[tuple[str, float, float, bool]]:
    """Name, x and y, and whether it is hidden, of each point that is labelled."""
    for name, (x, y), v in zip(keypoints.names, face.points.tolist(), visibility(face).tolist(), strict=True):
        if np.isfinite(x):
            yield name, x, y, v == HIDDEN


def visibility(face: LabelledFace) -> np.ndarray:
    """COCO's v, int (K,): 0 not labelled, 1 hidden, 2 in view or not stated."""
    return np.where(np.isnan(face.points[:, 0]), 0, 2 if face.visible is None else face.visible)


def attribute_values(faces: Iterable[LabelledFace]) -> dict[str, list[str]]:
    """The values of each attribute, sorted."""
    values: dict[str, set[str]] = {}
    for face in faces:
        for name, value in face.attributes.items():
            values.setdefault(name, set()).add(value)
    return {name: sorted(texts) for name, texts in values.items()}


def photo_size(file: LabelFile, face: LabelledFace) -> tuple[int, int] | None:
    """Width and height of a face's photo as the label file states them, or as the photo has them; None: unknown.

    A photo outside the photos' folder is not opened, unless ``data.anywhere`` allows it: a label file may be untrusted.
    """
    folder = Path(file.settings.images)
    if face.size is not None:
        return face.size
    if not file.settings.anywhere and InFolder(folder).relative(face.name) is None:
        return None
    try:
        return upright_size(str(folder / face.name))
    except (UnreadableImage, UnidentifiedImageError, OSError):
        return None


def required_size(file: LabelFile, face: LabelledFace) -> tuple[int, int]:
    """Width and height of a face's photo.

    Raises:
        UserError: the photo is missing or can't be read, and the label file does not state them.
    """
    size = photo_size(file, face)
    if size is None:
        raise UserError(
            f"{face.where}: the size of {face.name} is not known, as it can't be read in {file.settings.images}; name "
            "the folder of the photos with images=FOLDER"
        )
    return size


def cut_to_photo(faces: Iterable[LabelledFace], size: tuple[int, int]) -> list[LabelledFace]:
    """The faces without points outside their photo, and with boxes cut at its edges.

    Faces without a point inside are left out.

    Args:
        faces: of one photo.
        size: its width and height.
    """
    cut = []
    for face in faces:
        with np.errstate(invalid="ignore"):
            is_inside = np.all((face.points >= -EDGE) & (face.points <= np.array(size) - EDGE), axis=1, keepdims=True)
        if is_inside.any():
            points = np.where(is_inside, face.points, np.nan)
            cut.append(replace(face, points=points, box=None if face.box is None else _cut_box(face.box, size)))
    return cut


def _cut_box(box: Box, size: tuple[int, int]) -> Box | None:
    left, top, right, bottom = np.clip(box, 0, (*size, *size)).tolist()
    return (left, top, right, bottom) if left < right and top < bottom else None


def log_points_outside(faces: Iterable[LabelledFace], cut: Iterable[LabelledFace]) -> None:
    """Log the number of points that `cut_to_photo` left out."""
    before, after = (sum(int(np.isfinite(face.points[:, 0]).sum()) for face in some) for some in (faces, cut))
    if before > after:
        log.warning("%s outside the photos, left out", count(before - after, "point is", "points are"))


def box_around(face: LabelledFace) -> Box:
    """The edges of the face's box, or else around the pixels of its points."""
    if face.box is not None:
        return face.box
    left, top = np.nanmin(face.points, axis=0).tolist()
    right, bottom = np.nanmax(face.points, axis=0).tolist()
    return left, top, right + 1, bottom + 1  # a pixel reaches from its centre - 0.5 + EDGE to its centre + 0.5 + EDGE


def log_added_boxes(faces: Iterable[LabelledFace]) -> int:
    """Log and return the number of faces whose box is the one around their points."""
    if number := sum(face.box is None and has_points(face) for face in faces):
        log.warning("%s no box: the smallest around the points is written", count(number, "face has", "faces have"))
    return number


def label_names(photos: Iterable[str], ending: str) -> dict[str, str]:
    """The name of each photo's label file: ``party/02.json`` for ``party/02.png``.

    Raises:
        UserError: two photos would have the same label file, or a photo is outside the photos' folder.
    """
    names: dict[str, str] = {}
    first: dict[str, str] = {}
    for photo in photos:
        path = PurePosixPath(photo)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(
                f"{photo}: is outside the photos' folder, and its labels would be outside the new folder; name a "
                "folder of all photos with images=FOLDER"
            )
        names[photo] = str(path.with_suffix(ending))
        other = first.setdefault(name_key(names[photo]), photo)
        if other != photo:
            raise UserError(f"{other} and {photo}: both would have the labels {names[photo]}; rename one of them")
    return names
