"""Faults of single faces in a label file: an error, or with ``data.skip_broken=true`` a face less and a log line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.data.labelled_face import LabelledFace

log = logging.getLogger(__name__)
SKIP = "data.skip_broken=true"
T = TypeVar("T")


def collect_faces(
    items: Iterable[T], parse: Callable[[T], LabelledFace | None], path: Path, skip_broken: bool
) -> list[LabelledFace]:
    """Parse the entries of a label file.

    Args:
        items: an entry for each face.
        parse: makes a face of an entry; None: the entry has no labelled point and is left out.
        path: the label file, for messages.
        skip_broken: leave out entries that are not valid, and count them in one line of the log.

    Raises:
        UserError: an entry is not valid (unless ``skip_broken``), two have the same number, or none is left.
    """
    faces: dict[int, LabelledFace] = {}
    faults: list[str] = []
    for item in items:
        try:
            face = parse(item)
            if face is None:
                continue
            if face.row in faces:
                raise UserError(f"{face.where}: its id is duplicated; give every face a different id")
            faces[face.row] = face
        except UserError as error:
            if not skip_broken:
                raise UserError(f"{error}; or leave out such faces with {SKIP}") from error
            faults.append(str(error))
    warn_of_faults(faults)
    if not faces:
        why = f"; the first fault: {faults[0]}" if faults else ""
        raise UserError(f"{path}: has no face with a labelled point{why}")
    return list(faces.values())


def warn_of_faults(faults: list[str]) -> None:
    """One line of the log: how many faces were left out, and why the first one was."""
    if faults:
        log.warning("%s with faults left out (%s), the first: %s", count(len(faults), "face"), SKIP, faults[0])
