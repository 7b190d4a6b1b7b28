"""Finds the photos that a label file names, also where another system spelled the names differently.

A name that is no file is looked up without regard to case, to the Unicode form of its letters (``é`` as one character
or two) and to the direction of slashes. So a file counts as the photo of a name only if it is the only such file.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from facekp.core.errors import UserError
from facekp.data.labelled_face import LabelledFace

log = logging.getLogger(__name__)


def with_real_names(faces: Sequence[LabelledFace], folder: Path) -> list[LabelledFace]:
    """The faces with the names that their photos have in the folder; names without a file stay as they are.

    Raises:
        UserError: a name matches several files.
    """
    absent = {face.name: face.where for face in reversed(faces) if not (folder / face.name).is_file()}
    if not absent:
        return list(faces)
    files = _files_by_key(folder)
    real = {}
    for name, where in absent.items():
        matches = files.get(name_key(name), [])
        if len(matches) > 1:
            raise UserError(
                f"{where}: {name!r} is none of the photos, but similar to {' and '.join(matches)}; name one of them"
            )
        if matches:
            real[name] = matches[0]
    if real:
        name, file = next(iter(real.items()))
        log.info("%d names of photos are spelled differently in the folder, such as %s for %s", len(real), file, name)
    return [replace(face, name=real.get(face.name, face.name)) for face in faces]


def check_inside(faces: Sequence[LabelledFace], folder: Path) -> None:
    """Refuse names that lead out of the photos' folder: a label file may be untrusted.

    Links inside the folder may lead anywhere, as the user made them.

    Raises:
        UserError: a name is absolute and elsewhere, climbs out by ``..``, or is no name of a file.
    """
    top = os.path.abspath(folder)
    tops = {top, os.path.realpath(top)}
    for name, where in {face.name: face.where for face in reversed(faces)}.items():
        if not _is_possible(name):
            raise UserError(f"{where}: {name!r} can't be the name of a file; correct it")
        path = os.path.normpath(os.path.join(top, name))
        if not any(path.startswith(f"{inside.rstrip(os.sep)}{os.sep}") for inside in tops):
            raise UserError(
                f"{where}: {name!r} is outside {folder}; name photos relative to it, or give data.anywhere=true"
            )


def _is_possible(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        return False


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
