"""``data=labelme``: the JSON files of labelme, AnyLabeling and X-AnyLabeling, one for each photo.

::

    {"imagePath": "a.jpg", "imageWidth": 640, "imageHeight": 480, "flags": {"blurred": false}, "shapes": [
      {"label": "nose", "points": [[320.5, 200.25]], "shape_type": "point", "group_id": 1, "flags": {"occluded": true}},
      {"label": "face", "points": [[200, 90], [420, 330]], "shape_type": "rectangle", "group_id": 1}]}

Points are matched by label; the shapes with one ``group_id`` are a face (`facekp.data.labels.drawn_faces`). labelme
draws a photo from (0, 0) to (width, height), so its coordinates count from the edge, and half a pixel is subtracted. It
turns photos by their EXIF data, as viewers do. ``imagePath`` is relative to the JSON file. ``imageData`` is not read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.labels.boxes import EDGE
from facekp.data.labels.drawn_faces import Tool, faces_of_photos, names_of_photos
from facekp.data.labels.drawn_shapes import DrawnPhoto, Shape, attributes_in, name_of, xy_of
from facekp.data.labels.json_values import mapping_of, read_json, shown, size_in
from facekp.data.labels.photo_names import files_below, is_file, label_files_below, name_key
from facekp.data.labels.photo_paths import PhotoPaths
from facekp.data.labels.text import read_text
from facekp.data.labels.words import says_hidden
from facekp.data.readers.base import MAX_LOOKED_AT, READERS, LabelledFace, names_points, recognises
from facekp.data.settings import FilePerPhotoSettings

log = logging.getLogger(__name__)
EXPECTED = "JSON file of labelme"
BOXES = ("rectangle", "rotation", "oriented_rectangle")  # types of shapes
OUTLINES = ("polygon", "linestrip", "points")
GROUPING = "give all shapes of a face the same group_id"


class LabelmeSettings(FilePerPhotoSettings):
    """``data=labelme``; ``labels`` may also be a single JSON file."""

    boxes_have_sizes: ClassVar[bool] = False


class Files(NamedTuple):
    """The photos of labelme's files, and JSON files of other kinds."""

    photos: list[DrawnPhoto]
    others: list[Path]


@READERS.register("labelme")
def read_labelme(settings: LabelmeSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each group of shapes, from files sorted by name; ``row`` counts the faces from 1.

    Raises:
        UserError: the first fault of a file.
    """
    files, folder = _read(settings.label_file), Path(settings.images).expanduser()
    if files.others:
        number = count(len(files.others), "JSON file")
        log.warning("%s left out that labelme did not write, the first: %s", number, files.others[0])
    paths = PhotoPaths(folder, settings.anywhere)
    embedded: dict[str, str] = {}  # label files with imageData, by the name of the photo

    def locate(photo: DrawnPhoto) -> tuple[str, tuple[int, int] | None]:
        path = photo.entry.get("imagePath")
        if not isinstance(path, str) or not path.strip():
            raise UserError(f"{photo.where}: imagePath is {shown(path)}; give the photo's path")
        name = paths.find(path, Path(photo.where).parent, photo.where)
        if photo.entry.get("imageData"):
            embedded[name] = photo.where
        return name, size_in(photo.entry, ("imageWidth", "imageHeight"), photo.where)

    faces = faces_of_photos(files.photos, keypoints, settings, Tool(EDGE, GROUPING, locate))
    _warn_of_embedded_photos(embedded, folder)
    return faces


@names_points("labelme")
def point_names(path: Path) -> list[str]:
    """The labels of points; numbers in their order, others in the order of the files."""
    return names_of_photos(_read(path).photos)


@recognises("labelme")
def is_labelme(path: Path, text: str) -> bool:
    """Whether the text has shapes and the photo's path, or the path is a folder with such files."""
    texts = _first_texts(path) if path.is_dir() else iter([text])
    return any('"shapes"' in text and '"imagePath"' in text for text in texts)


def _first_texts(folder: Path) -> Iterator[str]:
    for name in label_files_below(folder, ".json")[:MAX_LOOKED_AT]:
        try:
            yield read_text(folder / name)
        except UserError:
            continue


def _read(path: Path) -> Files:
    """The files of a folder, or a single file. A file that can't be read is a photo with a fault.

    Raises:
        UserError: the single file can't be read, or no file is of labelme.
    """
    files = Files([], [])
    for file in [path / name for name in label_files_below(path, ".json")] if path.is_dir() else [path]:
        try:
            content = read_json(file, f"a {EXPECTED}")
        except UserError as error:
            if file == path:
                raise
            files.photos.append(DrawnPhoto(str(file), fault=str(error)))
            continue
        if isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content:
            files.photos.append(_photo(content, str(file)))
        else:
            files.others.append(file)
    if not files.photos:
        raise UserError(f"data.labels={path}: is or holds no {EXPECTED}; give such a file, or a folder with them")
    return files


def _photo(content: Mapping[str, Any], where: str) -> DrawnPhoto:
    """What a file states, without the pixels that it may hold."""
    entry = {key: content.get(key) for key in ("imagePath", "imageWidth", "imageHeight")}
    entry["imageData"] = bool(content.get("imageData"))
    photo = DrawnPhoto(where, entry, attributes_in(mapping_of(content.get("flags"))))
    for number, shape in enumerate(content["shapes"], start=1):
        place = f"{where}: shape {number}"
        if not isinstance(shape, dict):
            photo.fault = f"{place}: is {shown(shape)}, not an object with label and points; correct or remove it"
            return photo
        _add(photo, shape, place)
    return photo


def _add(photo: DrawnPhoto, shape: Mapping[str, Any], where: str) -> None:
    """Add a shape to its photo."""
    given, label, group = shape.get("points"), name_of(shape.get("label")), name_of(shape.get("group_id"))
    xy = xy_of(given)
    kind = shape.get("shape_type") or ("point" if len(xy) == 1 else "polygon")
    values = {**mapping_of(shape.get("flags")), **mapping_of(shape.get("attributes"))}
    difficult = shape.get("difficult")  # of X-AnyLabeling, which exports such points as hidden
    if kind == "point":
        hidden = says_hidden(values) or difficult is True
        photo.points.append(Shape(where, given, xy, label, group, attributes_in(values, of_point=True), hidden))
    elif kind in BOXES or kind in OUTLINES:
        attributes = attributes_in(values if difficult is None else {**values, "difficult": difficult})
        shapes = photo.boxes if kind in BOXES else photo.outlines
        shapes.append(Shape(where, given, xy, label, group, attributes))
    else:
        photo.left_out.append(f"{where}: {shown(kind)}")


def _warn_of_embedded_photos(embedded: Mapping[str, str], folder: Path) -> None:
    """Warn of photos that are only in label files.

    Args:
        embedded: label files that hold a photo, by its name.
        folder: of the photos.
    """
    missing = {name: file for name, file in embedded.items() if not is_file(folder, name)}
    known = {name_key(name) for name in files_below(folder)} if missing else set()
    only_there = [file for name, file in missing.items() if name_key(name) not in known]
    if only_there:
        log.warning(
            "%s not in %s, but in imageData of label files, the first: %s; write them to files first, as "
            "docs/how-to/landmark_formats.md shows",
            count(len(only_there), "photo is", "photos are"),
            folder,
            only_there[0],
        )
