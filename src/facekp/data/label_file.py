"""A label file of any format: finds its reader, its photos and its scheme, and reads its faces.

The path of a file or folder comes in; a `LabelFile` goes out. The commands ``facekp.data.inspect`` and
``facekp.data.convert`` work on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from facekp.config.location import CONF_DIR
from facekp.core.console import recorded_warnings
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import parse
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.faults import FaceFaults
from facekp.data.labels.photo_names import is_file, with_normal_names, with_real_names
from facekp.data.labels.scheme_guess import guess_scheme, numbered, shipped_schemes
from facekp.data.labels.text import read_content, read_text
from facekp.data.readers.base import MIRROR_POINTS, POINT_NAMES, READERS, RECOGNISERS
from facekp.data.readers.read import checked_faces, choose_faces
from facekp.data.settings import PhotoDataSettings

PHOTO_FOLDERS = ("images", "photos", "imgs", "img", "frames")  # usual names beside a label file


@dataclass(frozen=True)
class LabelFile:
    """What is known of a label file.

    Attributes:
        settings: of its reader, with the photos' folder.
        has_photos: whether the first photo is in that folder.
        keypoints: names, pairs and sources of the file's points.
        is_shipped: whether the scheme is one of facekp's.
        is_new: whether the scheme was made from the file.
        faces: those that can be read, and that ``data.only`` and ``data.rows`` choose.
        warnings: log lines of the reader, such as the number of faces with errors.
    """

    settings: PhotoDataSettings
    has_photos: bool
    keypoints: Keypoints
    is_shipped: bool
    is_new: bool
    faces: list[LabelledFace]
    warnings: list[str]


def open_label_file(
    path: Path, data: Mapping[str, Any] | None, images: Path | None, keypoints: Keypoints | None
) -> LabelFile:
    """Read a label file.

    Args:
        path: of the file, or of a folder of label files.
        data: settings of its reader, ``name`` among them; None: the reader that recognises it, with its defaults.
        images: folder of the photos; None: it is searched beside the file.
        keypoints: the scheme; None: a shipped one with the file's points, or a new one.

    Raises:
        UserError: no reader recognises the file, none of its faces can be read, or ``data.only`` chooses none.
    """
    if not path.exists():
        raise UserError(f"{path}: does not exist; name a label file, or a folder of label files")
    given = dict(data or {})
    if "name" not in given:
        given = {**defaults_of(recognise(path)), **given}
    name = str(given["name"])
    if not issubclass(READERS.settings_class(name), PhotoDataSettings):
        raise UserError(f"data={name}: does not read label files of photos; choose one of {', '.join(RECOGNISERS)}")
    beside = path if path.is_dir() else path.parent
    given |= {"images": str(images or beside), "labels": str(path), "cache": None, "skip_broken": True}
    settings = parse(READERS.settings_class(name), given, "data")
    assert isinstance(settings, PhotoDataSettings)
    scheme = keypoints or _scheme_of(path, settings)
    with recorded_warnings(shown=False) as warnings:
        faces = checked_faces(READERS[name](settings, scheme), name, scheme)
        if not faces:
            raise UserError(f"{path}: the reader {name} found no face in it")
        folder = _photo_folder(beside, faces, images)
        if folder is not None:
            faults = FaceFaults(skip=True)
            faces = with_real_names(with_normal_names(faces, folder), folder, faults) or faces
            faults.log()
        faces = choose_faces(faces, settings, scheme)
    return LabelFile(
        settings=settings if folder is None else settings.replaced(images=str(folder)),
        has_photos=folder is not None and is_file(folder, faces[0].name),
        keypoints=scheme,
        is_shipped=(is_shipped := scheme in shipped_schemes()),
        is_new=keypoints is None and not is_shipped,
        faces=faces,
        warnings=warnings,
    )


def recognise(path: Path) -> str:
    """The name of the reader that can read a file.

    Raises:
        UserError: none recognises it.
    """
    list(READERS)  # imports the readers, which register their recognisers
    try:
        text = "" if path.is_dir() else read_text(path)
    except UserError:
        text = _latin_xml(path)
    for reader, is_format in RECOGNISERS.items():
        if is_format(path, text):
            return reader
    if text.partition("\n")[0].rstrip().endswith(",Image"):
        raise UserError(f"{path}: is the competition's file; train on it with data=kaggle data.dir={path.parent}")
    names = ", ".join(dict.fromkeys([*RECOGNISERS, *READERS.plugin_names()]))
    raise UserError(
        f"{path}: no reader recognises it; name one with data=NAME, one of {names}, or write one: "
        "see docs/how-to/extend"
    )


def _latin_xml(path: Path) -> str:
    """The text of an XML file that is not in UTF-8; "" for a binary file."""
    try:
        content = read_content(path)
    except UserError:
        return ""
    return content.decode("latin-1") if content.lstrip().startswith(b"<") else ""


def defaults_of(reader: str) -> dict[str, Any]:
    """The defaults of ``data=reader``."""
    files = [
        CONF_DIR / "common" / "data.yaml",
        CONF_DIR / "common" / "photos.yaml",
        CONF_DIR / "data" / f"{reader}.yaml",
    ]
    values: dict[str, Any] = {}
    for file in files:
        values |= yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    fields = READERS.settings_class(reader).model_fields
    return {key: value for key, value in values.items() if key in fields} | {"name": reader}


def _scheme_of(path: Path, settings: PhotoDataSettings) -> Keypoints:
    """A shipped scheme with the file's points, by name or by number, or a new one with its names."""
    reader = settings.name
    names = list(POINT_NAMES[reader](path, settings)) if reader in POINT_NAMES else []
    if not names:
        raise UserError(
            f"{path}: the reader {reader} can't list the file's points; choose their scheme with keypoints=NAME"
        )
    mirror = MIRROR_POINTS[reader](path) if reader in MIRROR_POINTS else None
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"data={reader}: its names_points returned {names[:3]}; it returns the names of the points")
    if mirror is not None and not (len(mirror) == len(names) and all(number in range(len(names)) for number in mirror)):
        raise UserError(
            f"data={reader}: its mirrors_points returned {list(mirror)[:9]} for {len(names)} points; it returns the "
            f"number, 0 to {len(names) - 1}, of each point's mirror point"
        )
    for scheme in shipped_schemes():
        is_mirrored_so = mirror is None or list(mirror) == scheme.flip_order().tolist()
        is_numbered_so = numbered(names) and len(names) == len(scheme.names) and is_mirrored_so
        if set(scheme.names) == set(names) or is_numbered_so:
            return scheme
    return guess_scheme(path.stem, names, mirror)


def _photo_folder(beside: Path, faces: Sequence[LabelledFace], images: Path | None) -> Path | None:
    """The folder to which the faces' names are relative; None: not found."""
    if images is not None:
        return images
    above = beside.resolve().parent
    usual = [folder / name for folder in (beside, above) for name in PHOTO_FOLDERS]
    below = (folder for folder in sorted(beside.iterdir()) if folder.is_dir())
    names = [face.name.replace("\\", "/") for face in faces[:: max(len(faces) // 10, 1)]]
    folders = chain([beside], usual, below, [above])
    return next((folder for folder in folders if any(is_file(folder, name) for name in names)), None)
