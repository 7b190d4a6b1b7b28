"""The three lists of a COCO file, and the ids that join them: numbers, numbers written as texts, or texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facekp.core.errors import UserError
from facekp.data.labels.json_values import read_json, shown

MAX_ID_LENGTH = 18  # characters; int64 can hold as many digits
MAX_TEXT_ID_LENGTH = 200  # characters; longer ones are not ids, and messages and tables would carry them
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
        key = _photo_id(where, annotation, "image_id")
        photo = self.photos.get(key)
        if photo is None and isinstance(key, str) and _is_padded(key):
            photo = self.photos.get(int(key))
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
        photo_id = _photo_id(f"{path}: images", photo, "id")
        if photo_id in by_id:
            files = " and ".join(str(entry.get("file_name")) for entry in (by_id[photo_id], photo))
            raise UserError(
                f"{path}: images: id {photo_id!r} is duplicated, in {files}; give every image a different id, and its "
                "annotations the same image_id"
            )
        by_id[photo_id] = photo
    padded = {photo_id: int(photo_id) for photo_id in by_id if isinstance(photo_id, str) and _is_padded(photo_id)}
    counts = Counter(padded.values())
    unique = ((number, text) for text, number in padded.items() if counts[number] == 1)
    numbers: dict[Id, Mapping[str, Any]] = {number: by_id[text] for number, text in unique}  # 7 finds "007"
    return {**numbers, **by_id}


def _photo_id(where: str, item: Mapping[str, Any], key: str) -> Id:
    """The id of a photo, as by `id_of`; "001" stays a text, because 1 may be another photo."""
    value = item.get(key)
    return value.strip() if isinstance(value, str) and _is_padded(value.strip()) else id_of(where, item, key)


def _is_padded(text: str) -> bool:
    """Whether a text is a number with leading zeros."""
    return 1 < len(text) <= MAX_ID_LENGTH and text.isascii() and text.isdecimal() and text.startswith("0")


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
    if isinstance(value, str) and 0 < len(value.strip()) <= MAX_TEXT_ID_LENGTH:
        value = value.strip()
        is_number = value.removeprefix("-").isdecimal() and len(value) <= MAX_ID_LENGTH and _is_whole(int(value))
        return int(value) if is_number else value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and _is_whole(value):
        return int(value)
    raise UserError(
        f"{where}: {key} is {shown(value)}; give a whole number of at most {MAX_ID_LENGTH - 1} digits, or a text of at "
        f"most {MAX_TEXT_ID_LENGTH} characters"
    )


def _is_whole(value: float) -> bool:
    return abs(value) < 10 ** (MAX_ID_LENGTH - 1) and value == int(value)
