"""Finds the photos that a label file names, also where another system spelled the names differently.

A name that is no file is looked up without regard to case, to the Unicode form of its letters (``é`` as one character
or two) and to the direction of slashes. So a file counts as the photo of a name only if it is the only such file.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
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
        matches = files.get(_key(name), [])
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


def _files_by_key(folder: Path) -> dict[str, list[str]]:
    """The files below a folder, relative to it, by `_key`."""
    files = defaultdict(list)
    for root, _, names in os.walk(folder, followlinks=True):
        for name in sorted(names):
            path = Path(root, name).relative_to(folder).as_posix()
            files[_key(path)].append(path)
    return files


def _key(name: str) -> str:
    r"""What spellings of a name have in common.

    Example:
        >>> _key("Party\\A.JPG"), _key("./party/a.jpg")
        ('party/a.jpg', 'party/a.jpg')
    """
    path = unicodedata.normalize("NFC", name).replace("\\", "/")
    return os.path.normpath(path).casefold()
