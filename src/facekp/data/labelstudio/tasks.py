"""The tasks of Label Studio's JSON export, and the keypoints of each face in a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facekp.core.errors import UserError
from facekp.data.labels.boxes import Box, boxes_of_point
from facekp.data.labels.json_values import number_of, read_json
from facekp.data.labels.words import is_hidden

EXPECTED = "Label Studio's export as JSON (not JSON-MIN)"
SIDES = ("x", "y", "width", "height")  # of a rectangle, per cent


@dataclass
class Region:
    """What was drawn of a face: its rectangle, if it has one, its keypoints, its choices; or why that is unclear."""

    drawn_on: str  # name of the image in Label Studio; a task may have several
    rectangle: Mapping[str, Any] | None = None
    keypoints: list[Mapping[str, Any]] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)  # ids of keypoints
    fault: str | None = None


def read_tasks(path: Path) -> list[Mapping[str, Any]]:
    """The tasks of an export.

    Raises:
        UserError: the file can't be read, or is another one.
    """
    content = read_json(path, EXPECTED)
    if not isinstance(content, list) or not all(isinstance(task, dict) and "annotations" in task for task in content):
        raise UserError(f"data.labels={path}: is not a list of tasks with annotations; give {EXPECTED}")
    return content


def _results(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The results of the annotation that counts: the ground truth, else the first not cancelled that is not empty."""
    annotations: Any = task["annotations"]
    valid = [a for a in annotations if _is_annotation(a)] if isinstance(annotations, list) else []
    ranked = sorted(valid, key=lambda a: (not a.get("ground_truth"), not a["result"]))
    chosen = ranked[0] if ranked else {"result": []}
    return [item for item in chosen["result"] if isinstance(item, dict) and isinstance(item.get("value"), dict)]


def _is_annotation(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("result"), list) and not item.get("was_cancelled")


def _is_keypoint(item: Mapping[str, Any]) -> bool:
    return str(item.get("type")) in ("keypointlabels", "keypoint")


def name_of(item: Mapping[str, Any]) -> str:
    """The first label of a keypoint; "" without one."""
    labels = item["value"].get("keypointlabels") or item["value"].get("labels") or [""]
    return str(labels[0]) if isinstance(labels, list) else ""


def names_of(tasks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The label of every keypoint."""
    return (name_of(item) for task in tasks for item in _results(task) if _is_keypoint(item))


def regions_of(task: Mapping[str, Any]) -> list[Region]:
    """What was drawn in a task, by face."""
    results = _results(task)
    rectangles = [item for item in results if str(item.get("type")).startswith("rectangle")]
    drawn = {str(item.get("id")): Region(_drawn_on(item), item) for item in rectangles}
    without: dict[str, Region] = {}  # keypoints without a rectangle, by image
    for item in filter(_is_keypoint, results):
        image = _drawn_on(item)
        region = drawn.get(str(item.get("parentID"))) or _around(item, drawn)
        (region or without.setdefault(image, Region(image))).keypoints.append(item)
    for image, region in without.items():
        if others := sum(_is_on(other, image) for other in drawn.values()):
            name = name_of(region.keypoints[0])
            region.fault = f"point {name!r} is in none of its {others} rectangles; make it part of one of them"
    regions = [*drawn.values(), *(without.values() or [Region("")])]  # so many count, also without keypoints
    for item in results:
        if isinstance(item["value"].get("choices"), list):
            _add_choices(item, regions, drawn)
    return regions


def _add_choices(item: Mapping[str, Any], regions: list[Region], drawn: Mapping[str, Region]) -> None:
    """Add choices to the keypoint or the rectangle that they are about, or to all faces of the photo."""
    chosen, choices = str(item.get("id")), [str(choice) for choice in item["value"]["choices"]]
    for region in regions:
        if any(str(keypoint.get("id")) == chosen for keypoint in region.keypoints):
            region.hidden |= {chosen} if any(map(is_hidden, choices)) else set()
            return
    image = _drawn_on(item)
    of_image = [region for region in regions if _is_on(region, image)] or regions
    for region in [drawn[chosen]] if chosen in drawn else of_image:
        region.choices[str(item.get("from_name"))] = ", ".join(choices)


def _around(keypoint: Mapping[str, Any], drawn: Mapping[str, Region]) -> Region | None:
    """The only rectangle of a photo, or the smallest one around a keypoint; None: no rectangle.

    A rectangle with another label that holds the smallest one, too, is a fault of both: which one is the face?
    """
    regions = [region for region in drawn.values() if _is_on(region, _drawn_on(keypoint))]
    if len(regions) < 2:
        return regions[0] if regions else None
    point = number_of(keypoint["value"].get("x")), number_of(keypoint["value"].get("y"))
    labels = [_label_of(region) for region in regions]
    around = boxes_of_point([_edges(region) for region in regions], labels, point)
    for other in around[1:]:
        regions[around[0]].fault = regions[other].fault = (
            f"point {name_of(keypoint)!r} is in rectangles labelled {labels[around[0]]!r} and {labels[other]!r}; make "
            "it part of one of them, or remove the rectangles that are not faces"
        )
    return regions[around[0]] if around else None


def _drawn_on(item: Mapping[str, Any]) -> str:
    """The name of the image that a result was drawn on; "" where it is missing."""
    return str(item.get("to_name") or "")


def _is_on(region: Region, image: str) -> bool:
    """Whether a region may be drawn on an image."""
    return region.drawn_on == image or not region.drawn_on or not image


def _label_of(region: Region) -> str:
    """The first label of a rectangle; "" without one."""
    value = region.rectangle["value"] if region.rectangle else {}
    labels = value.get("rectanglelabels") or value.get("labels") or [""]
    return str(labels[0]) if isinstance(labels, list) else ""


def _edges(region: Region) -> Box:
    """The edges of a rectangle, per cent."""
    value = region.rectangle["value"] if region.rectangle else {}
    left, top, width, height = (number_of(value.get(key)) for key in SIDES)
    return left, top, left + width, top + height
