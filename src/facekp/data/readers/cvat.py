"""``data=cvat``: the XML that CVAT exports as "CVAT for images".

A face is one of these:

- a ``skeleton``, whose points have labels;
- ``points`` with all points of a face, in the scheme's order;
- several ``points`` with one point each, whose labels are the points' names: those of a photo, or of a group in it.

A ``box`` of the same group, or the smallest of no group around the points, is the face's box. Attributes are kept;
``outside`` points have no label, ``occluded`` ones are hidden. CVAT counts from the photo's edge, so half a pixel is
subtracted.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from xml.etree.ElementTree import Element

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.labels.boxes import EDGE, Box, extent_of_turned, smallest_around
from facekp.data.labels.checks import ZeroPoints
from facekp.data.labels.faults import collect_faces, warn_of_left_out
from facekp.data.labels.json_values import number_of
from facekp.data.labels.point_names import (
    PointLabel,
    check_count,
    in_order,
    index_by_name,
    place_points,
    stated_visibility,
)
from facekp.data.labels.safe_xml import LINE, number_in, place_of, read_xml
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

OTHER_SHAPES = ("polyline", "polygon", "ellipse", "mask", "cuboid")  # which are not read


class CvatSettings(PhotoDataSettings):
    """``data=cvat``."""

    boxes_have_sizes: ClassVar[bool] = False


@dataclass(frozen=True)
class Drawn:
    """What was drawn of a face: its element, and its points with labels; without these, the element has all points."""

    image: Element
    element: Element
    parts: Sequence[Element] = ()


@READERS.register("cvat")
def read_cvat(settings: CvatSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each skeleton, from points without names, and from each group of named points.

    ``row`` counts them from 1.

    Raises:
        UserError: the first fault of the file.
    """
    path = settings.label_file
    root = _read(path)
    drawn = list(_drawn(root))
    _check_names(drawn, path)
    _warn_of_other_shapes(root, path)
    names = [part.get("label", "") for face in drawn for part in face.parts]
    index = index_by_name(names, keypoints, str(path), complete=False, skip_unknown=settings.skip_broken)
    zeros = ZeroPoints()

    def parse(entry: tuple[int, Drawn]) -> LabelledFace | None:
        row, face = entry
        points = _named_points(face, index, keypoints, path) if face.parts else _all_points(face, keypoints, path)
        points = zeros.remove(points) - EDGE
        return None if np.isnan(points).all() else _make_face(face, points, index, row, path)

    faces = collect_faces(enumerate(drawn, start=1), parse, path, settings.skip_broken)
    zeros.log()
    return faces


@names_points("cvat")
def point_names(path: Path) -> list[str]:
    """The labels of points; numbers if the points of a face have none."""
    drawn = list(_drawn(_read(path)))
    names = in_order(part.get("label", "") for face in drawn for part in face.parts)
    if names or not drawn:
        return names
    return [str(number) for number in range(len(_texts(drawn[0].element)))]


@recognises("cvat")
def is_cvat(path: Path, text: str) -> bool:
    """Whether the text is XML with annotations of images or tracks."""
    return "<annotations>" in text and ("<image " in text or "<track " in text)


def _read(path: Path) -> Element:
    root = read_xml(path, "annotations", "CVAT's export as CVAT for images")
    track = root.find("track")
    if track is not None:
        raise UserError(f"{place_of(path, track)}: has tracks of a video; export the task as CVAT for images")
    return root


def _check_names(drawn: Sequence[Drawn], path: Path) -> None:
    """Refuse two images of one name, as in an export of two tasks: their labels may be of different photos.

    Raises:
        UserError: names both. Images in which nothing was drawn do not count.
    """
    first: dict[str, Element] = {}
    for face in drawn:
        name = face.image.get("name", "")
        image = first.setdefault(posixpath.normpath(name.replace("\\", "/")), face.image)
        if name and image is not face.image:
            raise UserError(
                f"{place_of(path, face.image)}: <image> {name!r} is duplicated, in lines {image.get(LINE)} and "
                f"{face.image.get(LINE)}; export tasks one by one, or name photos of the same name with their folders"
            )


def _warn_of_other_shapes(root: Element, path: Path) -> None:
    shapes = (element for image in root.iter("image") for element in image if element.tag in OTHER_SHAPES)
    warn_of_left_out((f"{place_of(path, shape)}: <{shape.tag}>" for shape in shapes), "skeletons, points and boxes")


def _drawn(root: Element) -> Iterator[Drawn]:
    for image in root.iter("image"):
        single: dict[str, list[Element]] = {}  # points with a label each, by group
        for element in image:
            if element.tag == "skeleton":
                yield Drawn(image, element, element.findall("points"))
            elif element.tag == "points" and len(_texts(element)) > 1:
                yield Drawn(image, element)
            elif element.tag == "points":
                single.setdefault(element.get("group_id") or "0", []).append(element)
        for parts in single.values():
            yield Drawn(image, parts[0], parts)


def _texts(points: Element) -> list[str]:
    """The coordinates of an element, ``x,y`` for each point."""
    return [text for text in (points.get("points") or "").split(";") if text.strip()]


def _coordinates(points: Element, path: Path) -> np.ndarray:
    """(N, 2), counted from the photo's edge."""
    pairs = [[number_of(value) for value in text.split(",")] for text in _texts(points)]
    if not pairs or any(len(pair) != 2 or np.isnan(pair).any() for pair in pairs):
        shown = (points.get("points") or "")[:40]
        raise UserError(f"{place_of(path, points)}: points {shown!r} are not x,y;x,y in finite numbers; correct them")
    return np.array(pairs)


def _all_points(face: Drawn, keypoints: Keypoints, path: Path) -> np.ndarray:
    points = _coordinates(face.element, path)
    check_count(len(points), keypoints, place_of(path, face.element))
    return points


def _named_points(face: Drawn, index: dict[str, int], keypoints: Keypoints, path: Path) -> np.ndarray:
    labels = []
    for part in face.parts:
        if part.get("outside") != "1":
            (x, y), *more = _coordinates(part, path)
            if more:
                raise UserError(f"{place_of(path, part)}: {part.get('label')!r} has several points; give one")
            labels.append(PointLabel(part.get("label", ""), x, y, place_of(path, part)))
    return place_points(labels, index, keypoints)


def _make_face(face: Drawn, points: np.ndarray, index: dict[str, int], row: int, path: Path) -> LabelledFace:
    image, element = face.image, face.element
    name = image.get("name")
    if not name:
        raise UserError(f"{place_of(path, image)}: name of <image> is missing; give the photo's path")
    boxes = image.findall("box")
    edges = [_edges(box, path) for box in boxes]
    at = _box_of(element, boxes, edges, points)
    occluded = [part.get("label", "") for part in face.parts if part.get("occluded") == "1"]
    hidden = [index[label] for label in occluded if label in index]  # others are outside, or the face was refused
    return LabelledFace(
        name=name,
        points=points,
        box=None if at is None else edges[at],
        source=0,
        row=row,
        where=place_of(path, element),
        size=(int(number_in(image, "width", path)), int(number_in(image, "height", path))),
        attributes={**({} if at is None else _attributes(boxes[at])), **_attributes(element)},
        visible=stated_visibility(points, hidden),
    )


def _edges(box: Element, path: Path) -> Box:
    """The extent of a box, which may be turned about its centre."""
    left, top, right, bottom = (number_in(box, key, path) for key in ("xtl", "ytl", "xbr", "ybr"))
    degrees = number_in(box, "rotation", path) if box.get("rotation") else 0.0
    return extent_of_turned((left, top, right, bottom), degrees, ((left + right) / 2, (top + bottom) / 2))


def _box_of(element: Element, boxes: Sequence[Element], edges: Sequence[Box], points: np.ndarray) -> int | None:
    """The position of the face's box: of its group, or else the smallest around its points; None: it has none."""
    group, groups = element.get("group_id") or "0", [box.get("group_id") or "0" for box in boxes]
    if group != "0" and group in groups:
        return groups.index(group)
    labelled = [(float(x) + EDGE, float(y) + EDGE) for x, y in points[~np.isnan(points[:, 0])]]
    free = [i for i, other in enumerate(groups) if other == "0"]
    at = smallest_around([edges[i] for i in free], labelled)
    return None if at is None else free[at]


def _attributes(element: Element) -> dict[str, str]:
    """The attributes that annotators chose, and ``occluded`` of points without names."""
    given = {item.get("name", ""): (item.text or "").strip() for item in element.findall("attribute")}
    hidden = element.get("occluded") == "1" and len(_texts(element)) != 1
    return {name: text for name, text in {**given, **({"occluded": "1"} if hidden else {})}.items() if name and text}
