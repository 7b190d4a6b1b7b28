"""Projects of the VGG Image Annotator, VIA 3, as the mapping of photos that VIA 2 stores.

::

    {"attribute": {"1": {"aname": "part", "type": 3, "options": {"0": "nose", "1": "chin"}}},
     "file": {"1": {"fname": "a.jpg", "type": 2}}, "view": {"1": {"fid_list": ["1"]}},
     "metadata": {"1_x7": {"vid": "1", "xy": [1, 320, 200], "av": {"1": "0"}}}}

A region's ``xy`` begins with the number of its shape. Source: CodeDoc.md and _via_metadata.js of VIA 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from facekp.data.labels.json_values import mapping_of, number_of, shown

PARTS = ("attribute", "file", "view", "metadata")  # of every project
CHECKBOX = 2  # type of an attribute, of which several options may be ticked
POINT, RECTANGLE, POLYLINE, POLYGON, EXTREME_RECTANGLE = 1, 2, 6, 7, 8  # numbers of shapes
OTHERS = {3: "circle", 4: "ellipse", 5: "line", 9: "circle"}
VIDEO = 4  # type of a file


def is_project(content: Any) -> bool:
    """Whether the content of a JSON file is a project of VIA 3."""
    return isinstance(content, dict) and all(isinstance(content.get(part), dict) for part in PARTS)


def photos_of_project(project: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Each photo with its regions as VIA 2 stores them, and what is wrong with other views and regions; both by place.

    Example:
        >>> project = {"attribute": {"1": {"aname": "part", "options": {"0": "nose"}}}}
        >>> project |= {"file": {"1": {"fname": "a.jpg"}}, "view": {"1": {"fid_list": ["1"]}}}
        >>> project |= {"metadata": {"m": {"vid": "1", "xy": [1, 3, 2], "av": {"1": "0"}}}}
        >>> photos_of_project(project)[0]["view 1"]["regions"]
        [{'shape_attributes': {'name': 'point', 'cx': 3, 'cy': 2}, 'region_attributes': {'part': 'nose'}}]
    """
    photos: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for number, view in project["view"].items():
        file = _file(view, project["file"])
        if file.get("type") == VIDEO:
            faults[f"view {number}"] = f"is the video {shown(file.get('fname'))}; save its frames, and label them"
        elif "fname" not in file:
            faults[f"view {number}"] = f"is {shown(view)}, not a view of one photo; correct or remove it"
        else:
            photos[f"view {number}"] = {"filename": file["fname"], "file_attributes": {}, "regions": []}
    for key, metadata in project["metadata"].items():
        region = mapping_of(metadata)
        view = f"view {region.get('vid')}"
        if view in photos:
            _add(photos[view], region, project["attribute"])
        elif view not in faults:
            faults[f"metadata {key}"] = f"is {shown(metadata)}, not a region of one of the views; remove it"
    return photos, faults


def _file(view: Any, files: Mapping[str, Any]) -> Mapping[str, Any]:
    """The file of a view; empty if it has none or several."""
    numbers = mapping_of(view).get("fid_list")
    return mapping_of(files.get(str(numbers[0]))) if isinstance(numbers, list) and len(numbers) == 1 else {}


def _add(photo: dict[str, Any], region: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Add a region to a photo, or the values of the photo itself, which have no coordinates."""
    xy, values = region.get("xy"), _values(mapping_of(region.get("av")), attributes)
    if xy == []:
        photo["file_attributes"].update(values)
    else:
        photo["regions"].append({"shape_attributes": _shape(xy), "region_attributes": values})


def _values(given: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a region by the names of its attributes: texts, and a mapping of the boxes that are ticked."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        attribute = mapping_of(attributes.get(key))
        options, name = mapping_of(attribute.get("options")), str(attribute.get("aname", key))
        if attribute.get("type") == CHECKBOX:
            values[name] = {str(options.get(option, option)): True for option in str(value).split(",") if option}
        else:
            values[name] = options.get(str(value), value)
    return values


def _shape(xy: Any) -> Any:
    """A region's shape as VIA 2 stores it."""
    if not isinstance(xy, list) or not xy:
        return xy
    kind, numbers = xy[0], xy[1:]
    if kind == POINT:
        return {"name": "point", **_named(("cx", "cy"), numbers)}
    if kind == EXTREME_RECTANGLE and len(numbers) == 8:  # the four points at its sides
        points = np.array([number_of(value) for value in numbers]).reshape(4, 2)
        numbers = [*points.min(axis=0).tolist(), *np.ptp(points, axis=0).tolist()]
        kind = RECTANGLE
    if kind == RECTANGLE:
        return {"name": "rect", **_named(("x", "y", "width", "height"), numbers)}
    if kind in (POLYLINE, POLYGON):
        name = "polyline" if kind == POLYLINE else "polygon"
        return {"name": name, "all_points_x": numbers[::2], "all_points_y": numbers[1::2]}
    return {"name": OTHERS.get(kind, kind) if isinstance(kind, int) else kind}


def _named(names: Sequence[str], numbers: Sequence[Any]) -> dict[str, Any]:
    """The numbers by name; none if there are too many or too few."""
    return dict(zip(names, numbers, strict=True)) if len(names) == len(numbers) else {}
