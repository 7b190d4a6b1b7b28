"""Matches the point names of a label file with those of the scheme.

Names match if they are the same texts, in any order; é may be one or two characters of Unicode. A file that numbers its
points instead (0 to K-1, or 1 to K) means the scheme's order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple
from unicodedata import normalize

import numpy as np

from facekp.core.console import listed
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.labels.scheme_guess import is_number, numbered, shipped_schemes

MAX_POINTS = 10_000  # of a face; a larger number is a mistake
MAX_NAMES = 6  # of each kind that a message lists
SCHEME = "keypoints=NAME (with ckpt=: a checkpoint)"  # how a user chooses a scheme; a checkpoint has its scheme


class PointLabel(NamedTuple):
    """A labelled point as a file has it: name, pixels of the photo, and its position in the file for messages."""

    name: str
    x: float
    y: float
    where: str


def index_by_name(
    names: Iterable[str], keypoints: Keypoints, where: str, complete: bool = True, skip_unknown: bool = False
) -> dict[str, int]:
    """The scheme's index of each point name of a file.

    Args:
        names: those of the file; numbers may have leading zeros.
        keypoints: the scheme.
        where: the file, for the message.
        complete: whether the file lists all its points; False: points that no face has may be absent.
        skip_unknown: leave out names that the scheme lacks, unless it lacks all of them.

    Raises:
        UserError: the names are others than the scheme's.

    Example:
        >>> scheme = Keypoints.from_dict({"name": "eyes", "names": ["left", "right"]})
        >>> index_by_name(["right", "left"], scheme, "eyes.xml"), index_by_name(["01", "02"], scheme, "eyes.xml")
        ({'right': 1, 'left': 0}, {'01': 0, '02': 1})
    """
    given = list(dict.fromkeys(names))
    spelled = {normalize("NFC", name): name for name in given}
    scheme = [spelled.get(normalize("NFC", name), name) for name in keypoints.names]  # as the file spells them
    known = {name: index for index, name in enumerate(scheme)}
    if skip_unknown:
        given = [n for n in given if n in known] or [n for n in given if _number(n, len(known))] or given
    unknown = [name for name in given if name not in known]
    absent = [name for name in scheme if name not in set(given)]
    if not unknown and not (complete and absent):
        return {name: known[name] for name in given}
    numbers = _as_numbers(given, len(known), complete, where)
    if numbers is not None:
        return numbers
    faults = [f"{listed(unknown, MAX_NAMES)} only in the file"] if unknown else []
    faults += [f"{listed(absent, MAX_NAMES)} only in the scheme"] if absent and (complete or unknown) else []
    raise UserError(
        f"{where}: its {len(given)} points are not the {len(known)} of keypoints {keypoints.name}: "
        f"{', '.join(faults)}; choose {SCHEME} of a scheme with names: [{', '.join(given)}]"
    )


def check_count(points: int, keypoints: Keypoints, where: str) -> None:
    """Refuse a file without point names that has more or fewer points than the scheme.

    Raises:
        UserError: the numbers differ.
    """
    if points != len(keypoints.names):
        fitting = [scheme.name for scheme in shipped_schemes() if len(scheme.names) == points]
        way = f", such as {fitting[0]}" if fitting else " (facekp.data.inspect makes one)"
        raise UserError(
            f"{where}: has {points} points, but keypoints {keypoints.name} has {len(keypoints.names)}; choose "
            f"{SCHEME} of a scheme with {points} points{way}"
        )


def place_points(labels: Iterable[PointLabel], index: Mapping[str, int], keypoints: Keypoints) -> np.ndarray:
    """The points of a face in the scheme's order.

    Args:
        labels: the labelled points of a face.
        index: of each name of the file, from `index_by_name`.
        keypoints: the scheme.

    Returns:
        (K, 2), NaN for points without a label.

    Raises:
        UserError: a name is not in the scheme, or is duplicated.
    """
    points = np.full((len(keypoints.names), 2), np.nan)
    for label in labels:
        at = index.get(label.name)
        if at is None:
            raise UserError(
                f"{label.where}: {label.name!r} is not a point of keypoints {keypoints.name}; correct or remove it"
            )
        if not np.isnan(points[at]).any():
            raise UserError(f"{label.where}: point {label.name!r} is duplicated in its face; keep one")
        points[at] = label.x, label.y
    return points


def in_order(names: Iterable[str]) -> list[str]:
    """The names without repetitions: numbers sorted, others in their order.

    Example:
        >>> in_order(["10", "9", "9"]), in_order(["nose", "10", "9"])
        (['9', '10'], ['nose', '10', '9'])
    """
    unique = list(dict.fromkeys(names))
    return sorted(unique, key=int) if numbered(unique) else unique


def stated_visibility(points: np.ndarray, hidden: Collection[int]) -> np.ndarray | None:
    """COCO's v of points (K, 2), of which some are hidden; None if none is.

    Example:
        >>> stated_visibility(np.array([[1, 2], [np.nan, np.nan], [3, 4]]), [0, 1])
        array([1, 0, 2], dtype=uint8)
    """
    if not hidden:
        return None
    visible = np.full(len(points), 2, np.uint8)
    visible[list(hidden)] = 1
    return np.where(np.isnan(points[:, 0]), 0, visible).astype(np.uint8)


def _as_numbers(names: Sequence[str], points: int, complete: bool, where: str) -> dict[str, int] | None:
    """The indices of points that are named by numbers from 0 or 1; None if they are not, or if the count differs.

    Raises:
        UserError: the numbers may be either.
    """
    if not all(_number(name, points) for name in names):
        return None
    numbers = [int(name) for name in names]
    if not complete and numbers and 0 not in numbers and points not in numbers:
        raise UserError(
            f"{where}: its points are numbers, but neither 0 nor {points} occurs, so they may count from 0 or from 1; "
            f"label point 0 or {points} in one face, or choose {SCHEME} of a scheme whose names are the numbers"
        )
    first = 1 if 0 not in numbers and max(numbers, default=0) == points else 0
    indices = [number - first for number in numbers]
    if len(set(indices)) < len(indices) or max(indices, default=0) >= points or (complete and len(indices) < points):
        return None
    return dict(zip(names, indices, strict=True))


def _number(name: str, points: int) -> bool:
    """Whether a name can be the number of a point."""
    return is_number(name) and int(name) <= points
