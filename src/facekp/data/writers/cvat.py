"""``format=cvat``: the XML of "CVAT for images", to correct the points in CVAT.

A face is a skeleton, with its box in the same group. CVAT must know their labels before it imports the XML:
``cvat_labels.json`` is for the *Raw* view of a project's labels. Coordinates count from the photo's edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from facekp.core.files import write_json
from facekp.core.keypoints import Keypoints
from facekp.data.labels.boxes import EDGE
from facekp.data.labels.face import LabelledFace
from facekp.data.writers.base import (
    DIGITS,
    FACE,
    HIDDEN,
    WRITERS,
    LabelFile,
    Written,
    attribute_values,
    faces_by_photo,
    required_size,
    visibility,
)
from facekp.data.writers.xml import write_xml

BOX = "face_box"  # label of the box; the skeleton's is FACE


@WRITERS.register("cvat")
def write_cvat(folder: Path, file: LabelFile) -> Written:
    """Write ``annotations.xml`` and ``cvat_labels.json``.

    Raises:
        UserError: the size of a photo is not known.
        CannotWrite: a file can't be written.
    """
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    for number, (photo, faces) in enumerate(faces_by_photo(file.faces).items()):
        width, height = required_size(file, faces[0])
        sides = {"width": str(width), "height": str(height)}
        image = SubElement(root, "image", {"id": str(number), "name": photo, **sides})
        for group, face in enumerate(faces, start=1):
            _add_face(image, face, file.keypoints, group)
    write_xml(folder / "annotations.xml", root)
    write_json(folder / "cvat_labels.json", _labels(file))
    return Written(folder / "annotations.xml", "cvat")


def _add_face(image: Element, face: LabelledFace, keypoints: Keypoints, group: int) -> None:
    """Add a skeleton and its box. CVAT wants all points of a skeleton; one without a label is ``outside``."""
    grouped = {} if face.box is None else {"group_id": str(group)}
    skeleton = SubElement(image, "skeleton", {"label": FACE, "source": "file", "z_order": "0", **grouped})
    values = zip(keypoints.names, face.points.tolist(), visibility(face).tolist(), strict=True)
    for name, (x, y), v in values:
        is_outside = bool(np.isnan(x))
        marks = {"outside": str(int(is_outside)), "occluded": str(int(v == HIDDEN))}
        text = "0.00,0.00" if is_outside else _text((x + EDGE, y + EDGE))
        SubElement(skeleton, "points", {"label": name, "source": "file", **marks, "points": text})
    for name, value in face.attributes.items():
        SubElement(skeleton, "attribute", {"name": name}).text = value
    if face.box is not None:
        edges = {key: _text([edge]) for key, edge in zip(("xtl", "ytl", "xbr", "ybr"), face.box, strict=True)}
        SubElement(image, "box", {"label": BOX, "source": "file", "occluded": "0", **edges, "z_order": "0", **grouped})


def _text(values: Iterable[float]) -> str:
    return ",".join(f"{value:.{DIGITS}f}" for value in values)


def _labels(file: LabelFile) -> list[dict[str, Any]]:
    """The labels of a project: the skeleton with its points, lines and attributes, and the box."""
    names = file.keypoints.names
    attributes = [
        {"name": name, "input_type": "select", "mutable": False, "default_value": values[0], "values": values}
        for name, values in attribute_values(file.faces).items()
    ]
    points = [{"name": name, "type": "points", "attributes": []} for name in names]
    skeleton = {
        "name": FACE,
        "type": "skeleton",
        "attributes": attributes,
        "svg": _drawing(file.keypoints, _places(file.faces)),
        "sublabels": points,
    }
    return [skeleton, {"name": BOX, "type": "rectangle", "attributes": []}]


def _places(faces: Sequence[LabelledFace]) -> np.ndarray:
    """(K, 2): where a drawing of 100 x 100 shows each point, as in the face with most points."""
    points = max((face.points for face in faces), key=lambda points: np.isfinite(points).sum())
    known = points[np.isfinite(points[:, 0])]
    low, high = (known.min(axis=0), known.max(axis=0)) if len(known) else (np.zeros(2), np.ones(2))
    return np.nan_to_num(10 + 80 * (points - low) / max((high - low).max(), 1), nan=95.0)


def _drawing(keypoints: Keypoints, places: np.ndarray) -> str:
    """The elements of the SVG by which CVAT draws a skeleton: lines, and a circle for each point."""
    number = {name: i for i, name in enumerate(keypoints.names, start=1)}
    x, y = places.round(2).astype(str).T
    elements = []
    for one, other in (pair for line in keypoints.lines for pair in pairwise(line)):
        ends = {"data-node-from": str(number[one]), "data-node-to": str(number[other])}
        a, b = number[one] - 1, number[other] - 1
        elements.append(Element("line", {"x1": x[a], "y1": y[a], "x2": x[b], "y2": y[b], "data-type": "edge", **ends}))
    for name, i in number.items():
        node = {"data-type": "element node", "data-element-id": str(i), "data-node-id": str(i), "data-label-name": name}
        elements.append(Element("circle", {"r": "0.75", "cx": x[i - 1], "cy": y[i - 1], **node}))
    return "".join(tostring(element, encoding="unicode", short_empty_elements=False) for element in elements)
