"""Finds the photo of a task of Label Studio in a folder, from its address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from facekp.core.errors import UserError
from facekp.data.images import photo_endings
from facekp.data.labels.json_values import shown
from facekp.data.labels.photo_names import is_file
from facekp.data.labels.photo_paths import MAX_PARTS, path_of_url

UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file
LOCAL = "/data/local-files/"  # part of its address of a file in a local folder, named by ?d=


class PhotoAddresses:
    """Finds the photo of a task from its address in Label Studio.

    Args:
        folder: where the photos are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.addresses: dict[str, str] = {}  # by the photo's name

    def find(self, data: Any, drawn_on: str, where: str) -> str:
        """The photo's name relative to the folder: the longest end of the address that is a file.

        Where no file has the prefix that Label Studio puts before an upload's name, the name without it counts.

        Args:
            data: of the task, the addresses by field.
            drawn_on: ``to_name`` of the keypoints. If it is the name of a field, this field counts; otherwise the field
                whose file is in the folder.
            where: the task, for messages.

        Raises:
            UserError: the task names no photo, or several, or one that another address names too.
        """
        addresses = _addresses(data)
        if not addresses:
            raise UserError(
                f"{where}: its data {shown(data)} do not name a photo; give its address, such as image: a.jpg"
            )
        names = {field: self._name(_path(address)) for field, address in addresses.items()}
        if drawn_on not in names:
            in_folder = {field: name for field, name in names.items() if is_file(self.folder, name)}
            if len(set(in_folder.values())) > 1:
                fields = " and ".join(map(shown, in_folder))
                rename = f", or rename it to {drawn_on!r}, the to_name of the keypoints" if drawn_on else ""
                raise UserError(
                    f"{where}: its data name several photos, in {fields}; keep only the field of the labelled "
                    f"photo{rename}"
                )
            names = in_folder or names
        field = drawn_on if drawn_on in names else next(iter(names))
        name, address = names[field], addresses[field]
        first = self.addresses.setdefault(name, address)
        if first != address:
            raise UserError(f"{where}: {address} and {first} are both {name}; use subfolders in data.images")
        return name

    def _name(self, path: PurePosixPath) -> str:
        original = path.with_name(UPLOADED.sub("", path.name))
        for start in range(max(len(path.parts) - MAX_PARTS, 0), len(path.parts)):
            for candidate in (path, original):
                name = str(PurePosixPath(*candidate.parts[start:]))
                if ".." in path.parts or is_file(self.folder, name):
                    return name
        return original.name


def _addresses(data: Any) -> dict[str, str]:
    """The texts of a task's data that are names of photos, by field."""
    texts = {str(field): text for field, text in data.items()} if isinstance(data, Mapping) else {}
    return {
        field: text
        for field, text in texts.items()
        if isinstance(text, str) and _path(text).suffix.lower() in photo_endings()
    }


def _path(address: str) -> PurePosixPath:
    """The path in an address: ``/data/upload/1/a.jpg``, ``/data/local-files/?d=photos/a.jpg``, ``s3://bucket/a.jpg``."""
    if LOCAL in address:
        address = address.partition("d=")[2].partition("&")[0]
    elif "://" in address or address.startswith("/data/"):
        address = path_of_url(address)
    path = unquote(address, errors="surrogateescape").replace("\\", "/").lstrip("/")
    return PurePosixPath(path if path and "\0" not in path else "?")
