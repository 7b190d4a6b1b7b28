"""``data=via``: the JSON and CSV of the VGG Image Annotator: annotations of VIA 1 and 2, projects of VIA 1 to 3.

::

    {"a.jpg52873": {"filename": "a.jpg", "size": 52873, "file_attributes": {"light": "dim"}, "regions": [
      {"shape_attributes": {"name": "point", "cx": 320, "cy": 200}, "region_attributes": {"part": "nose"}},
      {"shape_attributes": {"name": "rect", "x": 200, "y": 90, "width": 220, "height": 240}, "region_attributes": {}}]}}

A project has this mapping as ``_via_img_metadata``; in a CSV, each line is a region. Projects of VIA 3 are described in
`facekp.data.labels.via3`. Points are matched by the attribute with their names, or by their order if they have none
(`facekp.data.labels.drawn_faces`).

Coordinates are used unchanged. VIA stores the mouse's position, which is the number of the pixel under it from 0, so an
integer is a pixel centre. For a photo that is shown larger or smaller, it multiplies that number by the scale and
rounds it. Browsers turn photos by their EXIF data, as viewers do. VIA does not store the size of a photo in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from facekp.core.console import listed
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import Text
from facekp.data.labels.drawn_faces import Tool, faces_of_photos, names_of_photos
from facekp.data.labels.drawn_shapes import DrawnPhoto, Shape, attributes_in, name_of, xy_of
from facekp.data.labels.json_values import mapping_of, number_of, parse_json, shown
from facekp.data.labels.photo_paths import PhotoPaths, path_of_url
from facekp.data.labels.scheme_guess import shipped_schemes
from facekp.data.labels.text import header_of, parse_csv, read_text
from facekp.data.labels.via3 import PARTS, is_project, photos_of_project
from facekp.data.labels.words import is_hidden, says_hidden
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

EXPECTED = "give VIA's project or annotations as JSON, or the CSV of VIA 1 or 2"
PROJECT = "_via_img_metadata"  # key of the annotations in a project
COLUMNS = ("filename", "file_size", "file_attributes", "region_id", "region_shape_attributes", "region_attributes")
CSV_OF_VIA_3 = "# CSV_HEADER = metadata_id"  # in a comment; recognised for the message that it can't be read
OUTLINES = ("polyline", "polygon")  # names of shapes
GROUPING = "name the attribute that tells faces apart by data.group=NAME"


class ViaSettings(PhotoDataSettings):
    """``data=via``.

    Attributes:
        attribute: region attribute with the names of points; None: the only one, or the one with names of the scheme.
        group: region attribute that differs between the faces of a photo; None: each rectangle is a face; a
            photo without rectangles has one face.
    """

    attribute: Text | None
    group: Text | None


@dataclass
class Region:
    """A region: its position in the file, its number in the photo, its shape, and the values of its attributes."""

    where: str
    number: float
    shape: Mapping[str, Any]
    values: Mapping[str, Any]


@dataclass
class Entry:
    """A photo in the file: its position, its name, its attributes, its regions; or why it is not valid."""

    where: str
    name: Any = None
    values: Mapping[str, Any] = field(default_factory=dict)
    regions: list[Region] = field(default_factory=list)
    fault: str = ""

    def add(self, where: str, number: Any, shape: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Add a region, unless it is empty; one whose number is not valid comes last."""
        value = number_of(number)
        if shape:
            stripped = {name.strip(): value for name, value in values.items()}
            self.regions.append(Region(where, math.inf if math.isnan(value) else value, shape, stripped))


@READERS.register("via")
def read_via(settings: ViaSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each group of points, from those in each rectangle, or from each photo; ``row`` counts from 1.

    Raises:
        UserError: the first fault of the file.
    """
    path, folder = settings.label_file, Path(settings.images).expanduser()
    entries, paths = _read(path), PhotoPaths(folder, settings.anywhere)

    def locate(photo: DrawnPhoto) -> tuple[str, None]:
        name = photo.entry["filename"]
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{photo.where}: filename is {shown(name)}; give the photo's path")
        return paths.find(unquote(path_of_url(name)) if "://" in name else name, folder, photo.where), None

    attribute = _attribute_of_names(entries, settings, set(keypoints.names))
    photos = [_photo(entry, attribute, settings.group) for entry in entries]
    return faces_of_photos(photos, keypoints, settings, Tool(0, GROUPING, locate))


@names_points("via", by_settings=True)
def point_names(path: Path, settings: ViaSettings) -> list[str]:
    """The names of points; numbers in their order, others in the order of the file."""
    entries = _read(path)
    known = {name for scheme in shipped_schemes() for name in scheme.names}
    attribute = _attribute_of_names(entries, settings, known)
    return names_of_photos([_photo(entry, attribute, settings.group) for entry in entries])


@recognises("via")
def is_via(path: Path, text: str) -> bool:
    """Whether the text is JSON with regions, a project of VIA 3, or a CSV with a region in each line."""
    keys = ("regions", "shape_attributes"), (*PARTS, "fid_list")
    is_json = any(all(f'"{key}"' in text for key in each) for each in keys)
    return is_json or CSV_OF_VIA_3 in text or COLUMNS[4] in header_of(text, path)


def _read(path: Path) -> list[Entry]:
    """The photos of the file.

    Raises:
        UserError: it can't be read, or VIA did not write it.
    """
    text = read_text(path)
    entries = _read_json(text, path) if text.lstrip().startswith(("{", "[")) else _read_csv(text, path)
    if not any(entry.regions or entry.fault for entry in entries):
        raise UserError(f"data.labels={path}: has no regions; {EXPECTED}")
    return entries


def _read_json(text: str, path: Path) -> list[Entry]:
    content = parse_json(text, f"data.labels={path}", EXPECTED)
    if is_project(content):
        photos, faults = photos_of_project(content)
    else:
        photos, faults = _photos_of_via_2(content, path), {}
    return [
        *(_entry(photo, f"{path}: {shown(key)}") for key, photo in photos.items()),
        *(Entry(f"{path}: {place}", fault=f"{path}: {place}: {fault}") for place, fault in faults.items()),
    ]


def _photos_of_via_2(content: Any, path: Path) -> dict[str, Any]:
    photos = content.get(PROJECT, content) if isinstance(content, dict) else None
    if not isinstance(photos, dict) or not any(isinstance(p, dict) and "regions" in p for p in photos.values()):
        raise UserError(f"data.labels={path}: is not a mapping of photos with regions; {EXPECTED}")
    return photos


def _entry(photo: Any, where: str) -> Entry:
    if not isinstance(photo, dict):
        return Entry(where, fault=f"{where}: is {shown(photo)}, not a photo with filename and regions; remove it")
    regions = photo.get("regions") or []
    if not isinstance(regions, (list, dict)):
        return Entry(where, fault=f"{where}: regions are {shown(regions)}, not a list of regions; correct them")
    entry = Entry(where, photo.get("filename"), mapping_of(photo.get("file_attributes")))
    numbered = regions.items() if isinstance(regions, dict) else enumerate(regions)  # VIA 1 has a mapping
    for position, (number, region) in enumerate(numbered, start=1):
        place = f"{where}, region {position}"
        if not isinstance(region, dict) or not isinstance(region.get("shape_attributes"), dict):
            entry.fault = f"{place}: is {shown(region)}, not a region with a shape; correct or remove it"
            return entry
        entry.add(place, number, region["shape_attributes"], mapping_of(region.get("region_attributes")))
    return entry


def _read_csv(text: str, path: Path) -> list[Entry]:
    """A photo for each name and size of a file."""
    table = parse_csv(text, path)
    header = [name.lstrip("#") for name in table.header]  # VIA 1.0 starts with #
    if missing := [name for name in COLUMNS if name not in header]:
        raise UserError(f"data.labels={path}: has no column {missing[0]}; {EXPECTED}")
    entries: dict[tuple[str, str], Entry] = {}
    for line, fields in table.rows:
        where = f"{path}: line {line}"
        try:
            name, size, of_file, number, shape, values = _fields(fields, header, where)
        except UserError as error:
            entries[where, ""] = Entry(where, fault=str(error))
            continue
        entries.setdefault((name, size), Entry(where, name, of_file)).add(where, number, shape, values)
    return list(entries.values())


def _fields(fields: Sequence[str], header: Sequence[str], where: str) -> Iterator[Any]:
    """The values of the `COLUMNS` of a line; those that are JSON as mappings."""
    if len(fields) != len(header):
        raise UserError(f"{where}: has {len(fields)} fields, not {len(header)}; quote names with commas")
    by_name = dict(zip(header, fields, strict=True))
    for name in COLUMNS:
        text = by_name[name]
        if name.endswith("_attributes"):
            value = parse_json(text or "{}", f"{where}, {name}", "correct it")
            if not isinstance(value, dict):
                raise UserError(f"{where}, {name}: {shown(value)} is not a JSON object; correct it")
            yield value
        else:
            yield text


def _attribute_of_names(entries: Sequence[Entry], settings: ViaSettings, known: set[str]) -> str | None:
    """The region attribute that holds the names of points; None if the points have none.

    Args:
        entries: of the file.
        settings: may name the attribute.
        known: names of points, by which it is found.

    Raises:
        UserError: it is not clear, or no region has an attribute that the settings name.
    """
    regions = [region for entry in entries for region in entry.regions]
    points = [region for region in regions if region.shape.get("name") == "point"]
    texts = _texts(points, name_of)
    if not texts:
        texts = {name: given for name, given in _texts(points, _ticked).items() if len(given) > 1}
    _check_attribute("group", settings.group, {name for region in regions for name in region.values}, "region")
    _check_attribute("attribute", settings.attribute, texts, "point")
    if settings.attribute:
        return settings.attribute
    names = [name for name in texts if name != settings.group and not any(map(is_hidden, texts[name]))]
    with_known = [name for name in names if texts[name] & known]
    if len(names) < 2 or len(with_known) == 1:
        return next(iter(with_known or names), None)
    raise UserError(
        f"{settings.label_file}: the points have the attributes {listed(names)}; choose the one with the points' names "
        "by data=via data.attribute=NAME"
    )


def _texts(points: Sequence[Region], text_of: Callable[[Any], str]) -> dict[str, set[str]]:
    """By attribute of points, the texts of its values, without empty ones."""
    texts: dict[str, set[str]] = {}
    for name, value in (item for point in points for item in point.values.items()):
        if not is_hidden(name) and text_of(value):
            texts.setdefault(name, set()).add(text_of(value))
    return texts


def _ticked(value: Any) -> str:
    """The only box that was ticked in a list of choices; "" if none or several were."""
    ticked = [name for name, is_ticked in mapping_of(value).items() if is_ticked is True]
    return name_of(ticked[0]) if len(ticked) == 1 else ""


def _check_attribute(key: str, name: str | None, given: Mapping[str, Any] | set[str], of: str) -> None:
    if name is not None and name not in given:
        known = f"choose one of {listed(sorted(given))}" if given else "leave it out"
        raise UserError(f"data.{key}={name}: no {of} of the file has this attribute; {known}")


def _photo(entry: Entry, attribute: str | None, group: str | None) -> DrawnPhoto:
    """What was drawn in a photo, its regions in the order of their numbers.

    Args:
        entry: of the file.
        attribute: with the names of points; None: they have none.
        group: attribute that tells faces apart; None: none does.
    """
    photo = DrawnPhoto(entry.where, {"filename": entry.name}, _attributes(entry.values), fault=entry.fault)
    for region in sorted(entry.regions, key=lambda region: region.number):
        kind, where, given, xy = region.shape.get("name"), region.where, region.shape, _xy(region.shape)
        named = [region.values.get(name) if name else None for name in (attribute, group)]
        label, of_group = (name_of(value) or _ticked(value) for value in named)
        values = {name: value for name, value in region.values.items() if name not in (attribute, group)}
        if kind == "point":
            hidden = says_hidden(values)
            photo.points.append(Shape(where, given, xy, label, of_group, _attributes(values, of_point=True), hidden))
        elif kind == "rect" or kind in OUTLINES:
            shapes = photo.boxes if kind == "rect" else photo.outlines
            shapes.append(Shape(where, given, xy, label, of_group, _attributes(values)))
        else:
            photo.left_out.append(f"{where}: {shown(kind)}")
    return photo


def _attributes(values: Mapping[str, Any], of_point: bool = False) -> dict[str, str]:
    """Those that are texts, which no list of choices to tick is."""
    return attributes_in({name: text for name, text in values.items() if isinstance(text, str)}, of_point)


def _xy(shape: Mapping[str, Any]) -> np.ndarray:
    """The coordinates of a region, as `Shape` has them."""
    kind = shape.get("name")
    if kind == "point":
        return xy_of([[shape.get("cx"), shape.get("cy")]])
    if kind == "rect":
        x, y, width, height = (number_of(shape.get(key)) for key in ("x", "y", "width", "height"))
        return xy_of([[x, y], [x + width, y + height]])
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if not (isinstance(xs, list) and isinstance(ys, list) and len(xs) == len(ys)):
        return xy_of(None)
    xy = xy_of(list(zip(xs, ys, strict=True)))
    is_closed = kind == "polygon" and len(xy) > 1 and (xy[0] == xy[-1]).all()  # VIA 1 repeats the first point
    return xy[:-1] if is_closed else xy
