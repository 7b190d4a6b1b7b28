"""Faults of single faces in a label file: an error, or with ``data.skip_broken=true`` a face less and a log line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.data.labels.crop_labels import check_attributes
from facekp.data.labels.face import LabelledFace

log = logging.getLogger(__name__)
SKIP = "data.skip_broken=true"
T = TypeVar("T")


class FaceFaults:
    """Faults of single faces, each raised or counted.

    Args:
        skip: leave out the faces (``data.skip_broken``), instead of stopping with an error.

    Example:
        >>> faults = FaceFaults(skip=True)
        >>> faults.add(UserError("faces.csv: line 3, nose_x: 'x' is not a valid coordinate"))
        >>> len(faults.messages)
        1
    """

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.messages: list[str] = []

    def add(self, error: UserError) -> None:
        """Count the fault of a face.

        Raises:
            UserError: faces with errors are not left out.
        """
        if not self.skip:
            raise UserError(f"{error}; or leave out such faces with {SKIP}") from error
        self.messages.append(str(error))

    def log(self) -> None:
        """Write one line: how many faces were left out, and why the first one was."""
        if self.messages:
            left_out = count(len(self.messages), "face")
            log.warning("%s with errors left out (%s), the first: %s", left_out, SKIP, self.messages[0])


def warn_of_left_out(shapes: Iterable[str], read: str) -> None:
    """Warn of drawn shapes that are not read.

    Args:
        shapes: position and kind of each.
        read: the kinds that are read.
    """
    left_out = list(shapes)
    if left_out:
        number = count(len(left_out), "shape")
        log.warning("%s left out, the first: %s; only %s are read", number, left_out[0], read)


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
    faults = FaceFaults(skip_broken)
    for item in items:
        try:
            face = parse(item)
            if face is None:
                continue
            if face.row in faces:
                raise UserError(f"{face.where}: its id is duplicated; give every face a different id")
            check_attributes(face)
            faces[face.row] = face
        except UserError as error:
            faults.add(error)
    faults.log()
    if not faces:
        why = f"; the first fault: {faults.messages[0]}" if faults.messages else ""
        raise UserError(f"{path}: has no face with a labelled point{why}")
    return list(faces.values())
