"""The tasks of Label Studio's JSON export, and the keypoints of each face in a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facekp.core.errors import UserError
from facekp.data.label_boxes import smallest_around
from facekp.data.label_json import number_of, read_json

EXPECTED = "Label Studio's export as JSON (not JSON-MIN)"
HIDDEN = {"occluded", "hidden", "invisible"}  # choices of a keypoint
SIDES = ("x", "y", "width", "height")  # of a rectangle, per cent


@dataclass
class Region:
    """What was drawn of a face: its rectangle, if it has one, its keypoints, its choices; or why that is unclear."""

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
    """The results of the annotation that counts: the ground truth if one is marked, else the first not cancelled."""
    annotations: Any = task["annotations"]
    valid = [a for a in annotations if _is_annotation(a)] if isinstance(annotations, list) else []
    chosen = next((a for a in valid if a.get("ground_truth")), valid[0] if valid else {"result": []})
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
    drawn = {str(r.get("id")): Region(r) for r in results if str(r.get("type")).startswith("rectangle")}
    whole = Region()  # keypoints without a rectangle
    for item in filter(_is_keypoint, results):
        (drawn.get(str(item.get("parentID"))) or _around(item, drawn) or whole).keypoints.append(item)
    if drawn and whole.keypoints:
        name = name_of(whole.keypoints[0])
        whole.fault = f"point {name!r} is in none of its {len(drawn)} rectangles; make it part of one of them"
    regions = [*drawn.values(), whole]
    for item in results:
        if isinstance(item["value"].get("choices"), list):
            _add_choices(item, regions, drawn)
    return regions


def _add_choices(item: Mapping[str, Any], regions: list[Region], drawn: Mapping[str, Region]) -> None:
    """Add choices to the keypoint or the rectangle that they are about, or to all faces of the photo."""
    chosen, choices = str(item.get("id")), [str(choice) for choice in item["value"]["choices"]]
    for region in regions:
        if any(str(keypoint.get("id")) == chosen for keypoint in region.keypoints):
            region.hidden |= {chosen} if HIDDEN & {choice.lower() for choice in choices} else set()
            return
    for region in [drawn[chosen]] if chosen in drawn else regions:
        region.choices[str(item.get("from_name"))] = ", ".join(choices)


def _around(keypoint: Mapping[str, Any], drawn: Mapping[str, Region]) -> Region | None:
    """The only rectangle of a photo, or the smallest around a keypoint; None if there is none."""
    regions = list(drawn.values())
    if len(regions) < 2:
        return regions[0] if regions else None
    values = [[number_of(r.rectangle["value"].get(key)) for key in SIDES] for r in regions if r.rectangle]
    boxes = [(left, top, left + width, top + height) for left, top, width, height in values]
    at = smallest_around(boxes, [(number_of(keypoint["value"].get("x")), number_of(keypoint["value"].get("y")))])
    return None if at is None else regions[at]
