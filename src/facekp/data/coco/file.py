"""The three lists of a COCO file, and the ids that join them: numbers, numbers written as texts, or texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facekp.core.errors import UserError
from facekp.data.label_json import read_json, shown

LONGEST_ID = 18  # characters; int64 can hold as many digits
LONGEST_TEXT_ID = 200  # characters; longer ones are no ids, and messages and tables would carry them
FORMAT = "a file of COCO keypoints"
Id = int | str


@dataclass(frozen=True)
class CocoFile:
    """A COCO file.

    Attributes:
        path: of the file, for messages.
        photos: the entries of ``images`` by id.
        annotations: as they are in the file.
        categories: as they are in the file; empty where the file has none.
    """

    path: Path
    photos: Mapping[Id, Mapping[str, Any]]
    annotations: Sequence[Mapping[str, Any]]
    categories: Sequence[Mapping[str, Any]]

    def where(self, part: str, item: Mapping[str, Any]) -> str:
        """The position of an entry, for messages: ``faces.json: annotations, id 7``."""
        return f"{self.path}: {part}, id {shown(item['id'])}" if "id" in item else f"{self.path}: {part}"

    def photo_of(self, annotation: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        """The photo of an annotation.

        Raises:
            UserError: it is not among ``images``, or has no name.
        """
        photo = self.photos.get(id_of(where, annotation, "image_id"))
        if photo is None:
            raise UserError(f"{where}: image_id {shown(annotation.get('image_id'))} is not among images; add it there")
        name = photo.get("file_name")
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{self.where('images', photo)}: file_name is {shown(name)}; give the photo's path")
        return photo


def read_coco_file(path: Path) -> CocoFile:
    """Read the lists of a COCO file.

    Raises:
        UserError: the file is not JSON, a list is missing, or two images have one id.
    """
    content = read_json(path, FORMAT)
    lists = {}
    for key in ("images", "annotations", "categories"):
        items = content.get(key) if isinstance(content, dict) else None
        if items is None and key == "categories" and isinstance(content, dict):
            items = []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UserError(f"{path}: {key} is missing or not a list of objects; give {FORMAT}")
        lists[key] = items
    return CocoFile(path, _by_id(path, lists["images"]), lists["annotations"], lists["categories"])


def _by_id(path: Path, photos: Sequence[Mapping[str, Any]]) -> dict[Id, Mapping[str, Any]]:
    by_id: dict[Id, Mapping[str, Any]] = {}
    for photo in photos:
        photo_id = id_of(f"{path}: images", photo, "id")
        if photo_id in by_id:
            files = " and ".join(str(entry.get("file_name")) for entry in (by_id[photo_id], photo))
            raise UserError(
                f"{path}: images: id {photo_id!r} is duplicated, in {files}; give every image a different id, and its "
                "annotations the same image_id"
            )
        by_id[photo_id] = photo
    return by_id


def id_of(where: str, item: Mapping[str, Any], key: str) -> Id:
    """An id: a whole number, also one that was written as a text or with a decimal point, or a text.

    Raises:
        UserError: it is something else.

    Example:
        >>> id_of("", {"id": " 7"}, "id"), id_of("", {"id": 7.0}, "id"), id_of("", {"id": "a7"}, "id")
        (7, 7, 'a7')
        >>> id_of("", {"id": "123456789012345678"}, "id")  # too long for a number
        '123456789012345678'
    """
    value = item.get(key)
    if isinstance(value, str) and 0 < len(value.strip()) <= LONGEST_TEXT_ID:
        value = value.strip()
        is_number = value.removeprefix("-").isdecimal() and len(value) <= LONGEST_ID and _is_whole(int(value))
        return int(value) if is_number else value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and _is_whole(value):
        return int(value)
    raise UserError(
        f"{where}: {key} is {shown(value)}; give a whole number of at most {LONGEST_ID - 1} digits, or a text of at "
        f"most {LONGEST_TEXT_ID} characters"
    )


def _is_whole(value: float) -> bool:
    return abs(value) < 10 ** (LONGEST_ID - 1) and value == int(value)
