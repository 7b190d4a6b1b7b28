"""``format=imglab``: dlib's XML, with which dlib trains a shape predictor.

Parts are numbered in the scheme's order (``00``, ``01``, ...), as dlib sorts them by name. dlib reads whole pixels
only, so coordinates are rounded. Each face needs a box; without one it is the smallest around the points.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from facekp.data.labels.face import LabelledFace
from facekp.data.readers.imglab import NOTES
from facekp.data.writers.base import (
    WRITERS,
    LabelFile,
    Written,
    box_around,
    faces_by_photo,
    log_added_boxes,
    photo_size,
)
from facekp.data.writers.xml import write_xml

LABEL = "label"  # of a box


@WRITERS.register("imglab")
def write_imglab(folder: Path, file: LabelFile) -> Written:
    """Write ``labels.xml``, which names the photos relative to their folder.

    Raises:
        CannotWrite: the file can't be written.
    """
    root = Element("dataset")
    SubElement(root, "name").text = file.keypoints.name
    images = SubElement(root, "images")
    for photo, faces in faces_by_photo(file.faces).items():
        size = photo_size(file, faces[0])
        sides = {} if size is None else {"width": str(size[0]), "height": str(size[1])}
        image = SubElement(images, "image", {"file": photo, **sides})
        for face in faces:
            _add_box(image, face)
    path = folder / "labels.xml"
    write_xml(path, root)
    added = log_added_boxes(file.faces)
    return Written(path, "imglab", keeps_hidden=False, kept_attributes=(LABEL, *NOTES), added_boxes=added)


def _add_box(image: Element, face: LabelledFace) -> None:
    left, top, right, bottom = map(round, box_around(face))
    sides = {"top": top, "left": left, "width": max(right - left, 1), "height": max(bottom - top, 1)}
    notes = {name: text for name, text in face.attributes.items() if name in NOTES}
    box = SubElement(image, "box", {key: str(value) for key, value in sides.items()} | notes)
    if label := face.attributes.get(LABEL):
        SubElement(box, LABEL).text = label
    digits = len(str(len(face.points) - 1))
    for number, (x, y) in enumerate(face.points.tolist()):
        if np.isfinite(x):
            SubElement(box, "part", {"name": f"{number:0{digits}}", "x": str(round(x)), "y": str(round(y))})
