"""Writes predictions as COCO's JSON of keypoints, which CVAT, Label Studio, FiftyOne and ``data=coco`` read.

- ``info``: ``folder``, which holds all photos;
- ``images``: ``id``, ``file_name`` relative to this folder, ``width``, ``height``; frames of videos also ``video`` and
  ``frame``;
- ``annotations``: one per face, with ``keypoints`` (x, y, v for each point), ``bbox``, ``score`` (the mean confidence),
  and ``track_id`` in videos; v is 2, or 0 for a point that is not finite;
- ``categories``: ``face`` with the names of the keypoints, and ``skeleton``, the lines between them.

COCO's points are like facekp's: an integer is a pixel's centre. Its boxes have edges: [0, 0, W, H] is the whole photo.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from facekp.core.files import atomic
from facekp.core.keypoints import Keypoints

CATEGORY = 1


def write_coco(path: Path, points: Path, keypoints: Keypoints) -> None:
    """Convert points.json. The file is read several times, a line at a time, so memory does not grow with it.

    Args:
        path: the file to write.
        points: of `facekp.photos.output.PredictionWriter`, with one photo per line.
        keypoints: the scheme of the points.

    Raises:
        CannotWrite: the file cannot be written.
    """
    folder = _common_folder(points)
    info = {"description": "predictions of facekp", "folder": folder}
    with atomic(path) as draft, draft.open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f'{{"info": {json.dumps(info)},\n"categories": [{json.dumps(_category(keypoints))}],\n"images": [')
        _write_items(file, (_image(number, photo, folder) for number, photo in enumerate(_photos(points), start=1)))
        file.write('],\n"annotations": [')
        _write_items(file, _annotations(points))
        file.write("]}\n")


def _write_items(file: TextIO, items: Iterator[dict[str, Any]]) -> None:
    for number, item in enumerate(items):
        file.write((",\n" if number else "\n") + json.dumps(item, allow_nan=False))


def _photos(points: Path) -> Iterator[dict[str, Any]]:
    """The entries of points.json."""
    with points.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("{"):
                yield json.loads(line.rstrip().removesuffix(","))


def _common_folder(points: Path) -> str:
    """The folder that holds the photos of points.json, or their folders; names of CVAT and others must be in one."""
    folder = ""
    for photo in _photos(points):
        parent = os.path.dirname(os.path.abspath(photo["file"]))
        folder = os.path.commonpath([folder, parent]) if folder else parent
    return folder


def _category(keypoints: Keypoints) -> dict[str, Any]:
    place = {name: number for number, name in enumerate(keypoints.names, start=1)}
    skeleton = [[place[a], place[b]] for line in keypoints.lines for a, b in pairwise(line)]
    return {"id": CATEGORY, "name": "face", "keypoints": list(keypoints.names), "skeleton": skeleton}


def _image(number: int, photo: dict[str, Any], folder: str) -> dict[str, Any]:
    """A frame is named by its number, in a folder that is called like its video without the ending."""
    name, frame = os.path.relpath(os.path.abspath(photo["file"]), folder), photo["frame"]
    size = {"width": photo["width"], "height": photo["height"]}
    if frame is None:
        return {"id": number, "file_name": name, **size}
    file = Path(name).with_suffix("") / f"frame_{frame:06d}.png"
    return {"id": number, "file_name": str(file), **size, "video": name, "frame": frame}


def _annotations(points: Path) -> Iterator[dict[str, Any]]:
    number = 0
    for image, photo in enumerate(_photos(points), start=1):
        for face in photo["faces"]:
            number += 1
            yield {"id": number, "image_id": image, "category_id": CATEGORY, **_face(face)}


def _face(face: dict[str, Any]) -> dict[str, Any]:
    left, top, right, bottom = (edge + 0.5 for edge in face["box"])  # a pixel's centre is 0 in points.json
    width, height = right - left, bottom - top
    known = [point["x"] is not None and point["y"] is not None for point in face["points"]]
    triples = [
        [point["x"], point["y"], 2] if is_known else [0, 0, 0]
        for point, is_known in zip(face["points"], known, strict=True)
    ]
    confidences = [point["confidence"] for point in face["points"] if point["confidence"] is not None]
    track = {} if face["track"] is None else {"track_id": face["track"]}
    return {
        "keypoints": [value for triple in triples for value in triple],
        "num_keypoints": sum(known),
        "bbox": [left, top, width, height],
        "area": width * height,
        "segmentation": [],
        "iscrowd": 0,
        "score": round(sum(confidences) / len(confidences), 4) if confidences else 0.0,
        **track,
    }
