"""``data=imglab``: the XML of dlib's imglab, with several faces in a photo.

::

    <dataset><images>
      <image file='a.jpg'>
        <box top='90' left='194' width='37' height='37'>
          <part name='00' x='201' y='107'/>
          ...

Parts are matched by name, or by number if they are numbers. A part that a box lacks has no label. Boxes with
``ignore='1'`` and boxes without parts are left out. ``label``, and what imglab notes of a box (``occluded``,
``truncated``, ``difficult``, ``gender``, ``age``), become attributes. Coordinates count pixels from 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.labels.checks import LabelsOfPhotos
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.point_names import PointLabel, in_order, index_by_name, place_points
from facekp.data.labels.safe_xml import LINE, number_in, place_of, read_xml
from facekp.data.labels.words import YES
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

NO = ("0", "false", "no", "")  # values of ``ignore``, in any case
NOTES = ("occluded", "truncated", "difficult", "gender", "age")  # attributes of a box that describe its face


class ImglabSettings(PhotoDataSettings):
    """``data=imglab``."""


@READERS.register("imglab")
def read_imglab(settings: ImglabSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each box with parts; ``row`` counts the boxes of the file from 1.

    Raises:
        UserError: the first fault of the file.
    """
    path = settings.label_file
    root = _read(path)
    names = (part.get("name", "") for part in root.iter("part"))
    index = index_by_name(names, keypoints, str(path), complete=False, skip_unknown=settings.skip_broken)
    labels = LabelsOfPhotos()

    def parse(entry: tuple[int, tuple[Element, Element]]) -> LabelledFace | None:
        row, (image, box) = entry
        if _is_ignored(box, path) or box.find("part") is None:
            return None
        face = _make_face(image, box, place_points(_labels(box, path), index, keypoints), row, path)
        labels.add(face, image, f"<image> in line {image.get(LINE)}", "remove one, or correct the name of its photo")
        return face

    return collect_faces(enumerate(_boxes(root), start=1), parse, path, settings.skip_broken)


@names_points("imglab")
def point_names(path: Path) -> list[str]:
    """The names of all parts; numbers in their order, other names in the order of the file."""
    return in_order(part.get("name", "") for part in _read(path).iter("part"))


def _read(path: Path) -> Element:
    return read_xml(path, "dataset", "a file of dlib's imglab")


def _boxes(root: Element) -> Iterator[tuple[Element, Element]]:
    """Each box with its image."""
    for image in root.iter("image"):
        for box in image.iter("box"):
            yield image, box


def _is_ignored(box: Element, path: Path) -> bool:
    """Whether the attribute ``ignore`` says so.

    Raises:
        UserError: it says neither yes nor no.
    """
    text = box.get("ignore", "0").strip().lower()
    if text not in (*YES, *NO):
        raise UserError(f"{place_of(path, box)}: ignore of <box> is {text[:40]!r}; write 1 or 0")
    return text in YES


def _labels(box: Element, path: Path) -> Iterator[PointLabel]:
    for part in box.iter("part"):
        x, y = number_in(part, "x", path), number_in(part, "y", path)
        yield PointLabel(part.get("name", ""), x, y, place_of(path, part))


def _make_face(image: Element, box: Element, points: np.ndarray, row: int, path: Path) -> LabelledFace:
    name = image.get("file")
    if not name:
        raise UserError(f"{place_of(path, image)}: file of <image> is missing; give the photo's path")
    left, top, width, height = (number_in(box, key, path) for key in ("left", "top", "width", "height"))
    return LabelledFace(
        name=name,
        points=points,
        box=(left, top, left + width, top + height),
        source=0,
        row=row,
        where=place_of(path, box),
        size=_size(image, path),
        attributes=_attributes(box),
    )


def _size(image: Element, path: Path) -> tuple[int, int] | None:
    if image.get("width") is None or image.get("height") is None:
        return None
    return int(number_in(image, "width", path)), int(number_in(image, "height", path))


def _attributes(box: Element) -> dict[str, str]:
    label = (box.findtext("label") or "").strip()
    notes = {name: text for name in NOTES if (text := box.get(name))}
    return {"label": label, **notes} if label else notes


@recognises("imglab")
def is_imglab(path: Path, text: str) -> bool:
    """Whether the text is XML with a data set of boxes."""
    return "<dataset" in text and "<box" in text
