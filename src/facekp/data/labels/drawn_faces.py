"""Faces from the shapes that annotators drew in photos: points, boxes and outlines.

A reader makes a `DrawnPhoto` of each photo of its label files; `faces_of_photos` makes faces of them.

- Points of one group are a face. Without groups, all points of a photo are one, or those in each of its boxes.
- The box of a face is that of its group, or the smallest around its points.
- If no photo has points, each outline is a face, whose vertices are the scheme's points in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.labels.boxes import boxes_of_point, smallest_around
from facekp.data.labels.checks import LabelsOfPhotos, ZeroPoints
from facekp.data.labels.drawn_shapes import DrawnPhoto, Shape
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.faults import collect_faces, warn_of_left_out
from facekp.data.labels.json_values import shown
from facekp.data.labels.point_names import (
    PointLabel,
    check_count,
    in_order,
    index_by_name,
    place_points,
    stated_visibility,
)
from facekp.data.settings import PhotoDataSettings

SAME_FACE = "remove one of the two, or correct the name of its photo"


@dataclass
class DrawnFace:
    """A face of a photo: its points or its outline, its box, and why it is unclear, if it is."""

    photo: DrawnPhoto
    shapes: list[Shape] = field(default_factory=list)
    box: Shape | None = None
    fault: str = ""


@dataclass(frozen=True)
class Tool:
    """What distinguishes one annotation tool from others.

    Attributes:
        edge: its coordinate of the centre of the first pixel.
        grouping: how to state which points and box are of one face, for messages.
        locate: returns the name of a photo, relative to the photos' folder, and its size (W, H) if that is stated.
    """

    edge: float
    grouping: str
    locate: Callable[[DrawnPhoto], tuple[str, tuple[int, int] | None]]


def faces_of_photos(
    photos: Sequence[DrawnPhoto], keypoints: Keypoints, settings: PhotoDataSettings, tool: Tool
) -> list[LabelledFace]:
    """The faces of all photos; ``row`` counts them from 1.

    Args:
        photos: in the order of the label files.
        keypoints: the scheme. Points with names may be in any order; if none has one, their order counts.
        settings: of the reader.
        tool: that wrote the label files.

    Raises:
        UserError: the first fault.
    """
    path = settings.label_file
    names = [point.label for photo in photos for point in photo.points if point.label]
    index = index_by_name(names, keypoints, str(path), complete=False, skip_unknown=settings.skip_broken)
    zeros, labels = ZeroPoints(), LabelsOfPhotos()

    def parse(numbered: tuple[int, DrawnFace]) -> LabelledFace | None:
        row, face = numbered
        if face.fault:
            raise UserError(face.fault)
        where = face.shapes[0].where
        points = _named_points(face, index, keypoints) if names else _ordered_points(face, keypoints)
        points = zeros.remove(points) - tool.edge
        if np.isnan(points).all():
            return None
        hidden = [i for i, shape in enumerate(face.shapes) if shape.is_hidden]
        name, size = tool.locate(face.photo)
        labelled = LabelledFace(
            name=name,
            points=points,
            box=None if face.box is None else face.box.edges,
            source=0,
            row=row,
            where=where,
            size=size,
            attributes=_attributes(face),
            visible=stated_visibility(points, [index[face.shapes[i].label] for i in hidden] if names else hidden),
        )
        labels.add(labelled, face.photo, face.photo.where, SAME_FACE)
        return labelled

    _warn_of_other_shapes(photos)  # first: they may be why there is no face
    faces = collect_faces(enumerate(_faces(photos, tool.grouping), start=1), parse, path, settings.skip_broken)
    zeros.log()
    return faces


def names_of_photos(photos: Sequence[DrawnPhoto]) -> list[str]:
    """The names of all points; as many numbers as the first face has points if none has a name."""
    if names := in_order(point.label for photo in photos for point in photo.points if point.label):
        return names
    first = next((face.shapes for face in _faces(photos, "") if face.shapes), [])
    return [str(number) for number in range(sum(len(shape.xy) for shape in first))]


def _have_points(photos: Sequence[DrawnPhoto]) -> bool:
    return any(photo.points for photo in photos)


def _faces(photos: Sequence[DrawnPhoto], grouping: str) -> Iterator[DrawnFace]:
    from_points = _have_points(photos)
    for photo in photos:
        if fault := photo.fault or _fault_of_shapes(photo, from_points):
            yield DrawnFace(photo, fault=fault)
        elif not from_points:
            yield from (_grouped(photo, [outline], grouping) for outline in photo.outlines)
        elif any(point.group for point in photo.points):
            yield from _faces_by_group(photo, grouping)
        elif len(photo.boxes) > 1:
            yield from _faces_by_box(photo, grouping)
        elif photo.points:
            yield DrawnFace(photo, photo.points, photo.boxes[0] if photo.boxes else None)


def _fault_of_shapes(photo: DrawnPhoto, from_points: bool) -> str:
    """Why one of the photo's shapes is not valid; "" if all are."""
    kinds = [(photo.points, "one point", (1,)), (photo.boxes, "two or four corners", (2, 4))]
    for shapes, needed, lengths in [*kinds, ([] if from_points else photo.outlines, "its points", ())]:
        for shape in shapes:
            if np.isnan(shape.xy).any() or not len(shape.xy) or (lengths and len(shape.xy) not in lengths):
                return f"{shape.where}: {shown(shape.given)} has no x and y of {needed} in finite numbers; correct it"
    return ""


def _faces_by_group(photo: DrawnPhoto, grouping: str) -> Iterator[DrawnFace]:
    groups: dict[str, list[Shape]] = {}
    for point in photo.points:
        groups.setdefault(point.group, []).append(point)
    for group, points in groups.items():
        face = _grouped(photo, points, grouping)
        if not group:
            face.fault = (
                f"{points[0].where}: {points[0].title} is in no group, as other points of the photo are; {grouping}"
            )
        yield face


def _grouped(photo: DrawnPhoto, shapes: list[Shape], grouping: str) -> DrawnFace:
    """The face of some shapes of one group, with the group's box or else the smallest around them."""
    group = shapes[0].group
    of_group = [box for box in photo.boxes if group and box.group == group]
    if len(of_group) > 1:
        fault = f"{of_group[1].where}: is the second rectangle of group {group}; {grouping}, or remove it"
        return DrawnFace(photo, shapes, fault=fault)
    boxes = of_group or [box for box in photo.boxes if not box.group]
    corners = [(float(x), float(y)) for shape in shapes for x, y in shape.xy]
    at = 0 if of_group else smallest_around([box.edges for box in boxes], corners)
    return DrawnFace(photo, shapes, None if at is None else boxes[at])


def _faces_by_box(photo: DrawnPhoto, grouping: str) -> Iterator[DrawnFace]:
    """A face for each box with points; each point belongs to the smallest box around it."""
    faces, outside = [DrawnFace(photo, box=box) for box in photo.boxes], DrawnFace(photo)
    edges, labels = [box.edges for box in photo.boxes], [box.label for box in photo.boxes]
    for point in photo.points:
        x, y = point.xy[0]
        around = boxes_of_point(edges, labels, (float(x), float(y)))
        (faces[around[0]] if around else outside).shapes.append(point)
        for other in around[1:]:
            faces[around[0]].fault = (
                f"{point.where}: {point.title} is in rectangles labelled {labels[around[0]]!r} and "
                f"{labels[other]!r}; {grouping}, or remove the rectangles that are not faces"
            )
    if outside.shapes:
        first = outside.shapes[0]
        outside.fault = (
            f"{first.where}: {first.title} is in none of the {len(edges)} rectangles of the photo; {grouping}"
        )
    yield from (face for face in [outside, *faces] if face.shapes)


def _named_points(face: DrawnFace, index: Mapping[str, int], keypoints: Keypoints) -> np.ndarray:
    labels = []
    for point in face.shapes:
        if not point.label:
            raise UserError(f"{point.where}: has no name, as other points have; name it, or remove it")
        x, y = point.xy[0]
        labels.append(PointLabel(point.label, float(x), float(y), point.where))
    return place_points(labels, index, keypoints)


def _ordered_points(face: DrawnFace, keypoints: Keypoints) -> np.ndarray:
    points = np.concatenate([shape.xy for shape in face.shapes])
    check_count(len(points), keypoints, face.shapes[0].where)
    return points


def _attributes(face: DrawnFace) -> dict[str, str]:
    """Those of the photo, those that all points have in common, or the outline's, and those of the box."""
    first, *others = face.shapes
    common = {
        name: text for name, text in first.attributes.items() if all(o.attributes.get(name) == text for o in others)
    }
    return {**face.photo.attributes, **common, **(face.box.attributes if face.box else {})}


def _warn_of_other_shapes(photos: Sequence[DrawnPhoto]) -> None:
    from_points = _have_points(photos)
    outlines = ([f"{outline.where}: an outline" for outline in photo.outlines] for photo in photos if from_points)
    other = chain.from_iterable(photo.left_out for photo in photos)
    warn_of_left_out(
        [*chain.from_iterable(outlines), *other], f"{'points' if from_points else 'points, outlines'} and rectangles"
    )
