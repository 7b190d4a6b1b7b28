"""Finds the photos that a label file names, also where another system spelled the names differently.

A name that is not a file is looked up without regard to case, to the Unicode form of its letters (``é`` as one
character or two) and to the direction of slashes. So a file counts as the photo of a name only if it is the
only such file.
"""

from __future__ import annotations

import logging
import os
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from facekp.core.errors import UserError
from facekp.data.labels.checks import LabelsOfPhotos
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.faults import FaceFaults

log = logging.getLogger(__name__)


def with_real_names(faces: Sequence[LabelledFace], folder: Path, faults: FaceFaults) -> list[LabelledFace]:
    """The faces with the names that their photos have in the folder; names without a file stay as they are.

    Raises:
        UserError: a name matches several files, or a face has other points than under another spelling of its photo (a
            fault of its faces).
    """
    absent = {face.name for face in faces if not is_file(folder, face.name)}
    if not absent:
        return list(faces)
    files = _files_by_key(folder)
    matches = {name: files.get(name_key(name), []) for name in sorted(absent)}
    real = {name: similar[0] for name, similar in matches.items() if len(similar) == 1}
    if real:
        name, file = next(iter(real.items()))
        log.info("%d names of photos are spelled differently in the folder, such as %s for %s", len(real), file, name)
    spellings = Counter(real.get(name, name) for name in {face.name for face in faces})
    kept: list[LabelledFace] = []
    labels = LabelsOfPhotos()
    for face in faces:
        named = replace(face, name=real.get(face.name, face.name))
        try:
            if len(similar := matches.get(face.name, [])) > 1:
                files_like = ", ".join(similar)
                raise UserError(
                    f"{face.where}: {face.name!r} is not a file, and several have similar names: {files_like}; write "
                    "one of these"
                )
            if spellings[named.name] > 1:
                fix = "if they are two photos, add the missing file; otherwise remove one of the two labels"
                labels.add(named, sys.intern(face.name), f"{face.name!r}, spelled differently,", fix)
        except UserError as error:
            faults.add(error)
        else:
            kept.append(named)
    return kept


def with_normal_names(faces: Sequence[LabelledFace], folder: Path) -> list[LabelledFace]:
    """The faces with one name for each photo: ``a.jpg`` for ``./a.jpg``, and for its absolute path in the folder."""
    inside = InFolder(folder)
    normal_of = {name: inside.relative(name) or name for name in {face.name for face in faces}}
    return [face if normal_of[face.name] == face.name else replace(face, name=normal_of[face.name]) for face in faces]


class InFolder:
    """Tells which paths are in a folder, without following links."""

    def __init__(self, folder: Path) -> None:
        self.top = os.path.abspath(folder)
        self.tops = [f"{inside.rstrip(os.sep)}{os.sep}" for inside in (self.top, os.path.realpath(self.top))]

    def relative(self, name: str) -> str | None:
        """The name, relative to the folder; None: it is elsewhere."""
        path = os.path.normpath(os.path.join(self.top, name))
        inside = next((inside for inside in self.tops if path.startswith(inside)), None)
        if inside is None:
            return None
        return name if ".." in Path(name).parts else path.removeprefix(inside)  # behind a link, .. is elsewhere


def check_inside(faces: Sequence[LabelledFace], folder: Path, faults: FaceFaults) -> list[LabelledFace]:
    """Refuse names that lead out of the photos' folder: a label file may be untrusted.

    Links inside the folder may lead anywhere, as the user made them.

    Returns:
        the faces whose names are fine.

    Raises:
        UserError: a name is absolute and elsewhere, climbs out by ``..``, or is not the name of a file (a fault of its
            faces).
    """
    inside = InFolder(folder)
    fault_of: dict[str, str | None] = {}
    kept = []
    for face in faces:
        if face.name not in fault_of:
            fault_of[face.name] = _fault_of_name(face.name, folder, inside)
        if fault := fault_of[face.name]:
            faults.add(UserError(f"{face.where}: {face.name!r} {fault}"))
        else:
            kept.append(face)
    return kept


def _fault_of_name(name: str, folder: Path, inside: InFolder) -> str | None:
    if not _is_possible(name):
        return "can't be the name of a file; correct it"
    if inside.relative(name) is not None:
        return None
    return f"is outside {folder}; name photos relative to it, or give data.anywhere=true"


def _is_possible(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        return False


def is_file(folder: Path, name: str) -> bool:
    """Whether a name is that of a file in a folder; False for names that no file can have, such as too long ones."""
    return os.path.isfile(os.path.join(folder, name))


def files_below(folder: Path) -> Iterator[str]:
    """The files below a folder, relative to it, with / between folders; links are followed, but not in circles."""
    seen: set[tuple[int, int]] = set()  # a link may lead back to a folder above it
    for root, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        for name in sorted(names):
            yield Path(root, name).relative_to(folder).as_posix()


def label_files_below(folder: Path, ending: str) -> list[str]:
    """The sorted files with an ending below a folder, without those that macOS adds to a zip file."""
    files = (PurePosixPath(name) for name in files_below(folder) if name.lower().endswith(ending))
    return sorted(str(file) for file in files if not file.name.startswith("._") and "__MACOSX" not in file.parts)


def _files_by_key(folder: Path) -> dict[str, list[str]]:
    """The files below a folder, relative to it, by `name_key`."""
    files = defaultdict(list)
    for path in files_below(folder):
        files[name_key(path)].append(path)
    return files


def name_key(name: str) -> str:
    r"""What spellings of a name have in common.

    Example:
        >>> name_key("Party\\A.JPG"), name_key("./party/a.jpg")
        ('party/a.jpg', 'party/a.jpg')
    """
    path = unicodedata.normalize("NFC", name).replace("\\", "/")
    return os.path.normpath(path).casefold()
