"""Landmark schemes for label files: those that facekp has, and new ones from the names of a file's points."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import yaml

from facekp.config.location import CONF_DIR
from facekp.core.keypoints import Keypoints

OTHER_SIDE = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}
OTHER_SIDE |= {right: left for left, right in OTHER_SIDE.items()}
SIDE = re.compile("|".join(OTHER_SIDE))
LETTER = re.compile(r"(?<![A-Za-z])([lL])(?![a-z])|(?<=[a-z0-9])(L)(?![A-Za-z])")  # l_eye, eye_l, LEye, eyeL
EYE = re.compile("eye(?!_?brow)|pupil", re.IGNORECASE)


@cache
def shipped_schemes() -> tuple[Keypoints, ...]:
    """The schemes of conf/keypoints."""
    files = sorted((CONF_DIR / "keypoints").glob("*.yaml"))
    return tuple(Keypoints.from_dict(yaml.safe_load(file.read_text(encoding="utf-8"))) for file in files)


def numbered(names: Sequence[str]) -> bool:
    """Whether points are named by numbers, so that their order counts."""
    return all(is_number(name) for name in names)


def is_number(name: str) -> bool:
    """Whether a name is the number of a point; longer numbers are names."""
    return name.isascii() and name.isdecimal() and len(name) < 9


def guess_scheme(name: str, points: Sequence[str], mirror: Sequence[int] | None = None) -> Keypoints:
    """A new scheme.

    Points that are numbers become ``point_0`` and so on. Names that differ by left and right, or by l and r, are pairs.
    A pair of eyes or pupils is the normaliser.

    Args:
        name: of the scheme; other characters than letters, digits and _ become _.
        points: their names, or numbers.
        mirror: the number of each point's mirror point, which is then its pair whatever the names are; None: not known.

    Example:
        >>> scheme = guess_scheme("My mice", ["nose", "L_eye", "R_eye"])
        >>> scheme.name, scheme.pairs, scheme.normaliser
        ('My_mice', (('L_eye', 'R_eye'),), ('L_eye', 'R_eye'))
        >>> guess_scheme("dots", ["0", "1"]).names
        ('point_0', 'point_1')
        >>> guess_scheme("dots", ["0", "1", "2"], mirror=[2, 1, 0]).pairs
        (('point_0', 'point_2'),)
    """
    names = [f"point_{int(point)}" for point in points] if numbered(points) else list(points)
    pairs = side_pairs(names)
    if mirror is not None:
        mirrored = [(names[i], names[other]) for i, other in enumerate(mirror) if i < other]
        pairs = [pair[::-1] if pair[::-1] in pairs else pair for pair in mirrored]
    eyes = next((pair for pair in pairs if EYE.search(pair[0])), None)
    values = {"name": re.sub(r"\W+", "_", name), "names": names, "pairs": pairs, "normaliser": eyes}
    return Keypoints.from_dict(values)


def side_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of a left and a right point, by their names.

    Example:
        >>> side_pairs(["right_eye", "nose", "left_eye", "left_ear"])
        [('left_eye', 'right_eye')]
    """
    return [(left, right) for left in names for right in [_other_side(left)] if right != left and right in names]


def _other_side(name: str) -> str:
    """The name of a left point's mirror image, such as the right eye's left corner; else the name itself."""
    if first := SIDE.search(name):
        is_left = first[0].lower() == "left"
        return SIDE.sub(lambda match: OTHER_SIDE[match[0]], name) if is_left else name
    return LETTER.sub(lambda match: "R" if match[0] == "L" else "r", name)


def scheme_yaml(keypoints: Keypoints) -> str:
    """A scheme as a file for ``--config-dir``, with a comment on each key."""
    plain = keypoints.to_dict()
    sources = {
        name: None if set(points) == set(keypoints.names) else points for name, points in plain["sources"].items()
    }
    parts: list[tuple[str, Any, str]] = [
        ("name", keypoints.name, "name of the scheme"),
        ("names", list(keypoints.names), "points in column order; a CSV has <name>_x and <name>_y"),
        ("pairs", [list(pair) for pair in keypoints.pairs], "points that a horizontal flip exchanges, [left, right]"),
        ("lines", [list(line) for line in keypoints.lines], "points that drawings join by lines"),
        ("sources", sources, "labelling conventions and their points; null: all points"),
        ("normaliser", plain["normaliser"], "NME divides errors by this distance; null: no NME"),
    ]
    return "".join(f"# {meaning}\n{_yaml(key, value)}" for key, value, meaning in parts)


def _yaml(key: str, value: Any) -> str:
    flow = None if isinstance(value, (list, dict)) else False  # None: lists in one line as far as they fit
    return yaml.safe_dump({key: value}, default_flow_style=flow, width=110, allow_unicode=True)
