"""``format=labelstudio``: tasks with annotations as JSON, to correct the points in Label Studio.

``labeling_config.xml`` is the labelling interface that the tasks need. They name the photos as files of a local folder
(``/data/local-files/?d=FOLDER/NAME``). Label Studio serves them if its ``LOCAL_FILES_DOCUMENT_ROOT`` is the folder
above that of the photos; it refuses the folder itself. A face that has a box or attributes, or is not alone in its
photo, gets a rectangle, whose parts the keypoints are. Coordinates are per cent of the photo, from its edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

from facekp.core.files import atomic, write_items
from facekp.core.keypoints import Keypoints
from facekp.data.labels.boxes import EDGE
from facekp.data.labels.face import LabelledFace
from facekp.data.labelstudio.addresses import LOCAL
from facekp.data.labelstudio.tasks import SIDES
from facekp.data.writers.base import (
    FACE,
    WRITERS,
    LabelFile,
    Written,
    attribute_values,
    box_around,
    cut_to_photo,
    faces_by_photo,
    labelled_points,
    log_added_boxes,
    log_points_outside,
    required_size,
)
from facekp.data.writers.xml import write_xml

IMAGE, BOX, POINTS, HIDDEN = "image", "face_box", "face_points", "visibility"  # names in the labelling interface
OCCLUDED = "occluded"
POINT_WIDTH = 0.5  # per cent of the photo's width, of a drawn point
DECIMALS = 8  # of per cent: a millionth of a pixel of a photo with 10,000


@WRITERS.register("labelstudio")
def write_labelstudio(folder: Path, file: LabelFile) -> Written:
    """Write ``tasks.json`` and ``labeling_config.xml``.

    Raises:
        UserError: the size of a photo is not known.
        CannotWrite: a file can't be written.
    """
    photos: list[Photo] = []
    for name, faces in faces_by_photo(file.faces).items():
        size = required_size(file, faces[0])
        photos.append(Photo(name, size, cut_to_photo(faces, size)))
    path = folder / "tasks.json"
    with atomic(path) as draft, draft.open("w", encoding="utf-8") as tasks:
        tasks.write("[")
        write_items(tasks, _tasks(photos, file))
        tasks.write("\n]\n")
    write_xml(folder / "labeling_config.xml", _interface(file))
    added = log_added_boxes(face for photo in photos for face in photo.faces if _has_rectangle(face, photo))
    log_points_outside(file.faces, (face for photo in photos for face in photo.faces))
    return Written(path, "labelstudio", added_boxes=added)


class Photo(NamedTuple):
    """A photo's name, its width and height, and its faces, cut at its edges."""

    name: str
    size: tuple[int, int]
    faces: list[LabelledFace]


def _has_rectangle(face: LabelledFace, photo: Photo) -> bool:
    """Whether a rectangle is needed: for a box, for attributes, or to tell which points are of the face."""
    return face.box is not None or bool(face.attributes) or len(photo.faces) > 1


def _tasks(photos: Iterable[Photo], file: LabelFile) -> Iterator[dict[str, Any]]:
    above = Path(file.settings.images).resolve().name
    for number, photo in enumerate(photos, start=1):
        results = [
            result
            for at, face in enumerate(photo.faces, start=1)
            for result in _results(face, file.keypoints, photo.size, f"face{at}", _has_rectangle(face, photo))
        ]
        address = f"{LOCAL}?d={quote(f'{above}/{photo.name}', errors='surrogateescape')}"
        yield {"id": number, "data": {IMAGE: address}, "annotations": [{"result": results}]}


def _results(
    face: LabelledFace, keypoints: Keypoints, size: tuple[int, int], region: str, has_rectangle: bool
) -> Iterator[dict[str, Any]]:
    """What is drawn of a face: its rectangle, the attributes of it, and its points."""

    def result(kind: str, name: str, key: str, value: dict[str, Any]) -> dict[str, Any]:
        sides = {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
        return {"id": key, "type": kind, "from_name": name, "to_name": IMAGE, **sides, "value": value}

    if has_rectangle:
        left, top, right, bottom = box_around(face)
        values = _percent((left, top, right - left, bottom - top), size)
        rectangle = {**dict(zip(SIDES, values, strict=True)), "rotation": 0}
        yield result("rectanglelabels", BOX, region, {**rectangle, "rectanglelabels": [FACE]})
        for name, text in face.attributes.items():
            yield result("choices", name, region, {**rectangle, "choices": [text]})
    for number, (name, x, y, is_hidden) in enumerate(labelled_points(face, keypoints), start=1):
        key = f"{region}-{number}"
        at = dict(zip("xy", _percent((x + EDGE, y + EDGE), size), strict=True)) | {"width": POINT_WIDTH}
        part = {"parentID": region} if has_rectangle else {}
        yield result("keypointlabels", POINTS, key, {**at, "keypointlabels": [name]}) | part
        if is_hidden:
            yield result("choices", HIDDEN, key, {**at, "choices": [OCCLUDED]})


def _percent(values: Sequence[float], size: tuple[int, int]) -> list[float]:
    """x and y, or x, y, width and height, in per cent of the photo."""
    return [round(100 * value / size[i % 2], DECIMALS) for i, value in enumerate(values)]


def _interface(file: LabelFile) -> Element:
    view = Element("View")
    SubElement(view, "Image", {"name": IMAGE, "value": f"${IMAGE}"})
    boxes = SubElement(view, "RectangleLabels", {"name": BOX, "toName": IMAGE})
    SubElement(boxes, "Label", {"value": FACE})
    points = SubElement(view, "KeyPointLabels", {"name": POINTS, "toName": IMAGE, "strokeWidth": "2"})
    for name in file.keypoints.names:
        SubElement(points, "Label", {"value": name})
    _add_choices(view, HIDDEN, POINTS, [OCCLUDED])
    for name, values in attribute_values(file.faces).items():
        _add_choices(view, name, BOX, values)
    return view


def _add_choices(view: Element, name: str, of: str, values: Sequence[str]) -> None:
    choices = SubElement(view, "Choices", {"name": name, "toName": IMAGE, "perRegion": "true", "whenTagName": of})
    for value in values:
        SubElement(choices, "Choice", {"value": value})
