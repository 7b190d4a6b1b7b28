"""Writes COCO's JSON of keypoints, which CVAT, Label Studio, FiftyOne and ``data=coco`` read.

- ``info``: ``folder``, which holds all photos;
- ``images``: ``id``, ``file_name`` relative to this folder, ``width``, ``height``;
- ``annotations``: one per face, with ``keypoints`` (x, y, v for each point), ``bbox`` and ``score``; v is 2, or 0 for a
  point that is not known;
- ``categories``: ``face`` with the names of the keypoints, and ``skeleton``, the lines between them.

COCO's points are like facekp's: an integer is a pixel's centre. Its boxes have edges: [0, 0, W, H] is the whole photo.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from facekp.core.files import atomic, write_items
from facekp.core.keypoints import Keypoints
from facekp.data.images import UnreadableImage, upright_size
from facekp.data.table import FaceTable

CATEGORY = 1
DIGITS = 3  # decimals of coordinates, pixels


def write_coco_file(
    path: Path,
    folder: str,
    keypoints: Keypoints,
    images: Iterable[dict[str, Any]],
    annotations: Iterable[dict[str, Any]],
    description: str = "predictions of facekp",
) -> None:
    """Write the file, an entry at a time, so memory does not grow with it.

    Args:
        path: the file to write.
        folder: that holds all photos.
        keypoints: the scheme of the points.
        images: entries of ``images``.
        annotations: entries of ``annotations``.
        description: what the file holds.

    Raises:
        CannotWrite: the file cannot be written.
    """
    info = {"description": description, "folder": folder}
    with atomic(path) as draft, draft.open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f'{{"info": {json.dumps(info)},\n"categories": [{json.dumps(_category(keypoints))}],\n"images": [')
        write_items(file, images)
        file.write('],\n"annotations": [')
        write_items(file, annotations)
        file.write("]}\n")


def _category(keypoints: Keypoints) -> dict[str, Any]:
    place = {name: number for number, name in enumerate(keypoints.names, start=1)}
    skeleton = [[place[a], place[b]] for line in keypoints.lines for a, b in pairwise(line)]
    return {"id": CATEGORY, "name": "face", "keypoints": list(keypoints.names), "skeleton": skeleton}


def annotation_of(
    points: Sequence[tuple[float, float] | None],
    edges: Sequence[float],
    confidences: Sequence[float],
) -> dict[str, Any]:
    """An entry of ``annotations`` without its ids.

    Args:
        points: x and y of each point; None: not known.
        edges: left, top, right, bottom edge of the face, where 0 is the edge of the photo.
        confidences: of the points, from 0 to 1; their mean is the face's score.
    """
    left, top, right, bottom = edges
    width, height = right - left, bottom - top
    triples = [(0, 0, 0) if point is None else (*point, 2) for point in points]
    return {
        "keypoints": [value for triple in triples for value in triple],
        "num_keypoints": sum(point is not None for point in points),
        "bbox": [left, top, width, height],
        "area": width * height,
        "segmentation": [],
        "iscrowd": 0,
        "score": round(sum(confidences) / len(confidences), 4) if confidences else 0.0,
    }


def write_table_coco(path: Path, table: FaceTable, points: np.ndarray, confidence: np.ndarray, folder: str) -> None:
    """Write predictions for faces that were cropped from photos; ``id`` of an annotation is the face's row.

    Args:
        path: the file to write.
        table: N faces with the names of their photos.
        points: (N, K, 2), predictions in pixels of the images.
        confidence: (N, K) from 0 to 1.
        folder: of the photos.

    Raises:
        CannotWrite: the file cannot be written.
    """
    assert table.name is not None, "the table's faces were not cropped from photos"
    numbers = {name: number for number, name in enumerate(dict.fromkeys(table.name.tolist()), start=1)}
    images = ({"id": number, "file_name": name, **_size(Path(folder) / name)} for name, number in numbers.items())
    write_coco_file(path, folder, table.keypoints, images, _annotations(table, points, confidence, numbers))


def _size(photo: Path) -> dict[str, int]:
    """Width and height of a photo as a viewer shows it; empty where it can't be read any more."""
    try:
        width, height = upright_size(str(photo))
    except (UnreadableImage, UnidentifiedImageError):
        return {}
    return {"width": width, "height": height}


def _annotations(
    table: FaceTable, points: np.ndarray, confidence: np.ndarray, numbers: dict[str, int]
) -> Iterator[dict[str, Any]]:
    assert table.name is not None
    height, width = table.size
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])  # of the image's first and last pixel
    edges = table.to_photo(corners) + 0.5  # (N, 2, 2)
    in_photo = table.to_photo(points).round(DIGITS)
    for face, name in enumerate(table.name.tolist()):
        known = [tuple(point) if np.isfinite(point).all() else None for point in in_photo[face].tolist()]
        certain = [value for value in confidence[face].tolist() if np.isfinite(value)]
        ids = {"id": int(table.row[face]), "image_id": numbers[name], "category_id": CATEGORY}
        yield {**ids, **annotation_of(known, edges[face].round(DIGITS).ravel().tolist(), certain)}
