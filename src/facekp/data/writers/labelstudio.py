"""``format=labelstudio``: tasks with annotations as JSON, to correct the points in Label Studio.

``labeling_config.xml`` is the labelling interface that the tasks need. They name the photos as files of a local folder
(``/data/local-files/?d=FOLDER/NAME``). Label Studio serves them if its ``LOCAL_FILES_DOCUMENT_ROOT`` is the folder
above that of the photos; it refuses the folder itself. A face that has a box or attributes, or is not alone in its
photo, gets a rectangle, whose parts the keypoints are. Coordinates are per cent of the photo, from its edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

from facekp.core.files import write_json
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
    above = Path(file.settings.images).resolve().name
    tasks: list[dict[str, Any]] = []
    written: list[LabelledFace] = []
    in_boxes: list[LabelledFace] = []
    for number, (photo, faces) in enumerate(faces_by_photo(file.faces).items(), start=1):
        size = required_size(file, faces[0])
        cut = cut_to_photo(faces, size)
        with_box = [face for face in cut if face.box is not None or face.attributes or len(cut) > 1]
        results = [
            result
            for at, face in enumerate(cut, start=1)
            for result in _results(face, file, size, f"face{at}", has_box=face in with_box)
        ]
        written += cut
        in_boxes += with_box
        data = {IMAGE: f"{LOCAL}?d={quote(f'{above}/{photo}', errors='surrogateescape')}"}
        tasks.append({"id": number, "data": data, "annotations": [{"result": results}]})
    write_json(folder / "tasks.json", tasks)
    write_xml(folder / "labeling_config.xml", _interface(file))
    log_added_boxes(in_boxes)
    log_points_outside(file.faces, written)
    return Written(folder / "tasks.json", "labelstudio")


def _results(
    face: LabelledFace, file: LabelFile, size: tuple[int, int], region: str, has_box: bool
) -> Iterator[dict[str, Any]]:
    """What is drawn of a face: its rectangle, the attributes of it, and its points."""

    def result(kind: str, name: str, key: str, value: dict[str, Any]) -> dict[str, Any]:
        sides = {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
        return {"id": key, "type": kind, "from_name": name, "to_name": IMAGE, **sides, "value": value}

    if has_box:
        left, top, right, bottom = box_around(face)
        values = _percent((left, top, right - left, bottom - top), size)
        rectangle = {**dict(zip(SIDES, values, strict=True)), "rotation": 0}
        yield result("rectanglelabels", BOX, region, {**rectangle, "rectanglelabels": [FACE]})
        for name, text in face.attributes.items():
            yield result("choices", name, region, {**rectangle, "choices": [text]})
    for number, (name, x, y, is_hidden) in enumerate(labelled_points(face, file.keypoints), start=1):
        key = f"{region}-{number}"
        at = dict(zip("xy", _percent((x + EDGE, y + EDGE), size), strict=True)) | {"width": POINT_WIDTH}
        part = {"parentID": region} if has_box else {}
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
