"""Predictions for photos and videos as COCO's JSON of keypoints (`facekp.data.coco.writing`).

Frames of videos also have ``video`` and ``frame`` in ``images``, and faces ``track_id`` in ``annotations``.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from facekp.core.keypoints import Keypoints
from facekp.data.coco.writing import CATEGORY, annotation_of, write_coco_file


def write_coco(path: Path, points: Path, keypoints: Keypoints) -> None:
    """Convert points.json. The file is read several times, a line at a time, so memory does not grow with it.

    Args:
        path: the file to write.
        points: of `facekp.photos.output.PredictionWriter`, with one photo per line.
        keypoints: the scheme of the points.

    Raises:
        CannotWrite: the file cannot be written.
    """
    folder, ambiguous = _common_folder(points), _ambiguous_videos(points)
    images = (_image(number, photo, folder, ambiguous) for number, photo in enumerate(_photos(points), start=1))
    write_coco_file(path, folder, keypoints, images, _annotations(points))


def _photos(points: Path) -> Iterator[dict[str, Any]]:
    """The entries of points.json."""
    with points.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("{"):
                yield json.loads(line.rstrip().removesuffix(","))


def _common_folder(points: Path) -> str:
    """The deepest folder that holds all photos of points.json: CVAT and other tools need names relative to one."""
    folder = ""
    for photo in _photos(points):
        parent = os.path.dirname(os.path.abspath(photo["file"]))
        folder = os.path.commonpath([folder, parent]) if folder else parent
    return folder


def _ambiguous_videos(points: Path) -> set[str]:
    """The videos, by absolute paths, that differ from another one in their endings only."""
    videos = {os.path.abspath(photo["file"]) for photo in _photos(points) if photo["frame"] is not None}
    stems = Counter(os.path.splitext(video)[0] for video in videos)
    return {video for video in videos if stems[os.path.splitext(video)[0]] > 1}


def _image(number: int, photo: dict[str, Any], folder: str, ambiguous: Collection[str]) -> dict[str, Any]:
    """A frame is named by its number, in a folder that is called like its video without the ending if that will do."""
    path, frame = os.path.abspath(photo["file"]), photo["frame"]
    name = os.path.relpath(path, folder)
    size = {"width": photo["width"], "height": photo["height"]}
    if frame is None:
        return {"id": number, "file_name": name, **size}
    frames = Path(name) if path in ambiguous else Path(name).with_suffix("")
    file = frames / f"frame_{frame:06d}.png"
    return {"id": number, "file_name": str(file), **size, "video": name, "frame": frame}


def _annotations(points: Path) -> Iterator[dict[str, Any]]:
    number = 0
    for image, photo in enumerate(_photos(points), start=1):
        for face in photo["faces"]:
            number += 1
            yield {"id": number, "image_id": image, "category_id": CATEGORY, **_face(face)}


def _face(face: dict[str, Any]) -> dict[str, Any]:
    edges = [edge + 0.5 for edge in face["box"]]  # a pixel's centre is 0 in points.json
    points = [None if None in (point["x"], point["y"]) else (point["x"], point["y"]) for point in face["points"]]
    confidences = [point["confidence"] for point in face["points"] if point["confidence"] is not None]
    track = {} if face["track"] is None else {"track_id": face["track"]}
    return {**annotation_of(points, edges, confidences), **track}
