"""``format=coco``: COCO JSON, which keeps all that faces have; the labelling convention is an attribute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facekp.data.coco.annotations import SOURCE
from facekp.data.coco.writing import CATEGORY, write_coco_file
from facekp.data.writers.base import WRITERS, LabelFile, Written, photo_size, visibility


@WRITERS.register("coco")
def write_coco_labels(folder: Path, file: LabelFile) -> Written:
    """Write ``labels.json``, with v of every point and the subsets as ``attributes``.

    Raises:
        CannotWrite: the file can't be written.
    """
    photos = {face.name: face for face in reversed(file.faces)}
    numbers = {name: number for number, name in enumerate(sorted(photos), start=1)}

    def image_of(name: str) -> dict[str, Any]:
        size = photo_size(file, photos[name])
        sides = {} if size is None else dict(zip(("width", "height"), size, strict=True))
        return {"id": numbers[name], "file_name": name, **sides}

    path = folder / "labels.json"
    annotations = _annotations(file, numbers)
    description = f"labels of {file.settings.label_file.name}"
    write_coco_file(path, file.settings.images, file.keypoints, map(image_of, numbers), annotations, description)
    return Written(path, "coco", keeps_sources=True)


def _annotations(file: LabelFile, numbers: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    sources = file.keypoints.source_names
    for face in file.faces:
        visible = visibility(face)
        triples = np.column_stack((np.nan_to_num(face.points), visible))
        annotation = {
            "id": face.row,
            "image_id": numbers[face.name],
            "category_id": CATEGORY,
            "keypoints": [value for x, y, v in triples.tolist() for value in (x, y, int(v))],
            "num_keypoints": int((visible > 0).sum()),
            "iscrowd": 0,
        }
        if face.box is not None:
            left, top, right, bottom = face.box
            annotation |= {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
        attributes = {**face.attributes, **({SOURCE: sources[face.source]} if len(sources) > 1 else {})}
        yield annotation | ({"attributes": attributes} if attributes else {})
