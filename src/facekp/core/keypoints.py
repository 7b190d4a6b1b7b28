"""A landmark scheme: the points' names, left-right pairs, drawing order, and the labelling conventions.

A `Keypoints` is built from a few lines of YAML (``conf/keypoints/*.yaml``, or a user's file) and is part of every table
and checkpoint. Axes: K points, S sources (labelling conventions), C heatmap channels.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, NoReturn, TypeVar

import numpy as np
from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from facekp.core.errors import UserError
from facekp.core.settings import unknown_key

RESERVED = ("all", "rmse", "trimmed", "corrupted", "subset")  # metric names such as rmse/<source> use these words
RESERVED_NORMALISERS = ("box", "diagonal", "curve", "subset")  # metric names such as nme/<normaliser> use these words
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control characters, surrogates, separators of lines

Group = str | tuple[str, ...]  # a point, or points whose mean counts
Ends = tuple[Group, Group]  # their distance divides the errors
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Keypoints:
    """A landmark scheme. Two are equal if everything is, in the same order.

    Attributes:
        name: name of the scheme, e.g. ``kaggle15``.
        names: the K point names in column order; a CSV has ``<name>_x`` and ``<name>_y`` for each.
        pairs: (left, right) names that a horizontal flip exchanges; points in no pair keep their name.
        lines: lists of names; a drawing joins the points of each list by a line.
        sources: the points that each labelling convention labels. The first source labels all K points. A row of the
            competition belongs to the smallest source that can hold its number of labelled values.
        normaliser: what divides errors in the NME: two points, e.g. the eye centres, or two groups of points, whose
            mean positions count; or several such pairs by name, the first of which is the usual one. None: no NME is
            computed with points.

    Example:
        >>> scheme = Keypoints.from_dict({"name": "eyes", "names": ["left", "right"], "pairs": [["left", "right"]]})
        >>> scheme.columns
        ['left_x', 'left_y', 'right_x', 'right_y']
        >>> scheme.flip_order().tolist()
        [1, 0]
    """

    name: str
    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    lines: tuple[tuple[str, ...], ...]
    sources: dict[str, tuple[str, ...]]
    normaliser: Ends | dict[str, Ends] | None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Keypoints):
            return NotImplemented
        orders = [(scheme.source_names, list(scheme.normalisers)) for scheme in (self, other)]
        return asdict(self) == asdict(other) and orders[0] == orders[1]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Keypoints:
        """Build a scheme from plain lists, as YAML and checkpoints hold it; only ``name`` and ``names`` are required.

        Raises:
            UserError: a key is unknown, a name is no text, duplicated or unknown, a pair or line is not valid, or the
                first source does not label every point.
        """
        if key := _unknown_key(raw):
            raise UserError(f"keypoints.{key[0]}: {key[1]}")
        try:
            names = _texts(raw["names"], "names")
            sources = raw.get("sources") or {"default": None}
            scheme = cls(
                name=_text(raw["name"], "name"),
                names=names,
                pairs=tuple(_two(pair, "pairs") for pair in _lists(raw.get("pairs"), "pairs")),
                lines=_lists(raw.get("lines"), "lines"),
                sources={
                    _text(source, "sources"): _texts(names if labelled in (None, []) else labelled, f"sources.{source}")
                    for source, labelled in sources.items()
                },
                normaliser=_normaliser(raw.get("normaliser")),
            )
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"keypoints: {type(error).__name__}: {error}; a scheme needs name and names, and may have pairs, "
                f"lines, sources and normaliser: see conf/keypoints/kaggle15.yaml"
            ) from error
        scheme._check()
        return scheme

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, for YAML and checkpoints."""
        return _plain(asdict(self))

    def _check(self) -> None:
        """Check the scheme.

        Raises:
            UserError: a name, pair, line, normaliser or source is not valid.
        """
        self._check_names()
        self._check_groups()
        for name in self.normalisers:
            self._check_normaliser(name)
        self._check_sources()

    def _refuse(self, fault: str) -> NoReturn:
        raise UserError(f"keypoints: scheme {self.name}: {fault}")

    def _check_names(self) -> None:
        if not self.names:
            self._refuse("names: is empty; name at least one point")
        if unclear := [name for name in (*self.names, *self.sources) if not name or name != name.strip()]:
            self._refuse(f"{unclear[0]!r} is empty or has blanks around it; no column of a CSV has such a name")
        if unclear := [name for name in (self.name, *self.names, *self.sources) if _is_unprintable(name)]:
            self._refuse(f"{unclear[0]!r} has a line break or a control character; remove it")
        if duplicate := _duplicate(self.names):
            self._refuse(f"names: {duplicate!r} is duplicated; give every point a different name")
        if same := _duplicate([unicodedata.normalize("NFC", name) for name in self.names]):
            self._refuse(f"names: {same!r} is written in two ways in Unicode; give every point a different name")

    def _check_groups(self) -> None:
        """Check pairs and lines, and that all groups of points consist of names of the scheme."""
        used = [name for group in (*self.pairs, *self.lines, *self.sources.values()) for name in group]
        ends = [name for groups in self.normalisers.values() for group in groups for name in group]
        if unknown := sorted({*used, *ends} - set(self.names)):
            self._refuse(f"{unknown[0]!r} is not among names: {', '.join(self.names)}")
        if duplicate := _duplicate([name for pair in self.pairs for name in pair]):
            self._refuse(f"pairs: {duplicate!r} is duplicated; a point can be in one pair only")
        if short := [line for line in self.lines if len(line) < 2]:
            self._refuse(f"lines: {list(short[0])} is too short; give at least two names")

    def _check_normaliser(self, name: str) -> None:
        left, right = self.normalisers[name]
        key = f"normaliser.{name}" if name else "normaliser"
        if name and (name in RESERVED_NORMALISERS or not name.isidentifier()):
            reserved = ", ".join(RESERVED_NORMALISERS)
            self._refuse(f"{key}: not a valid name; use letters, digits and _, but not {reserved}")
        if not (left and right):
            self._refuse(f"{key}: a group is empty; name at least one point")
        if duplicate := _duplicate(left) or _duplicate(right):
            self._refuse(f"{key}: {duplicate!r} is duplicated; name every point of a group once")
        if sorted(left) == sorted(right):
            self._refuse(f"{key}: {_shown(left, right)} has length 0; give two different points, or null")

    def _check_sources(self) -> None:
        for source, labelled in self.sources.items():
            if duplicate := _duplicate(labelled):
                self._refuse(f"sources.{source}: {duplicate!r} is duplicated; name every point once")
        first = next(iter(self.sources))
        if set(self.sources[first]) != set(self.names):
            self._refuse(f"sources.{first}: the first source must label every point")
        if taken := sorted({*self.sources, *RESERVED} & {*self.names}) or sorted({*self.sources} & {*RESERVED}):
            self._refuse(f"{taken[0]!r} is the name of another metric already; rename it")

    @property
    def columns(self) -> list[str]:
        """The 2K column names of a CSV, x before y."""
        return [f"{name}_{axis}" for name in self.names for axis in "xy"]

    @property
    def normalisers(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """The two groups of points of each normaliser, the usual one first; the only one may have no name.

        Example:
            >>> scheme = Keypoints.from_dict({"name": "x", "names": ["a", "b", "c"], "normaliser": ["a", ["b", "c"]]})
            >>> scheme.normalisers
            {'': (('a',), ('b', 'c'))}
        """
        if self.normaliser is None:
            return {}
        named = self.normaliser if isinstance(self.normaliser, dict) else {"": self.normaliser}
        return {name: (_members(left), _members(right)) for name, (left, right) in named.items()}

    @property
    def source_names(self) -> list[str]:
        return list(self.sources)

    def source_of(self, values: np.ndarray) -> np.ndarray:
        """The labelling convention of rows, from the number of their labelled (or requested) values.

        Args:
            values: integers (N,), how many of the 2K coordinates each row has.

        Returns:
            int8 (N,): index into `source_names`, the smallest source that can hold that many values.

        Raises:
            UserError: two sources label equally many points, so the number can't tell their rows apart.
        """
        sizes = np.array([2 * len(points) for points in self.sources.values()])
        if len(set(sizes.tolist())) < len(sizes):
            raise UserError(
                f"keypoints: scheme {self.name}: two of the sources {', '.join(self.sources)} label equally many "
                "points; the competition's files tell sources apart by this number: merge them, or use data=folder"
            )
        fits = values[:, None] <= sizes[None, :]
        return np.where(fits, sizes[None, :], sizes.max() + 1).argmin(axis=1).astype(np.int8)

    def flip_order(self) -> np.ndarray:
        """int64 (K,): ``points[:, flip_order]`` reorders the points of a mirrored face."""
        swap = {name: other for pair in self.pairs for name, other in (pair, pair[::-1])}
        return np.array([self.names.index(swap.get(name, name)) for name in self.names])

    def offsets(self, by_source: Mapping[str, float] | None) -> np.ndarray:
        """How far to the right of the mirror-symmetric position each source places its labels.

        Labels made with another pixel convention, or clicked with one hand, can all lie some tenths of a pixel to one
        side. A mirror image has them on the wrong side. Training with mirror images therefore subtracts the offset
        first, and predictions add it again.

        Args:
            by_source: pixels by name of the source, 0 where a source is left out; None: 0 for all.

        Returns:
            float32 (S, K, 2); the y part is 0. A point that a source neither labels nor mirrors has the offset of the
            first source, because it is read from the first source's channel (`channels`).

        Raises:
            UserError: the scheme has no such source.
        """
        given = by_source or {}
        if unknown := sorted(set(given) - set(self.sources)):
            raise UserError(
                f"offsets: {unknown[0]!r} is not a source of {self.name}; choose from {', '.join(self.sources)}, or "
                "set data.offsets=null"
            )
        first, *_ = pixels = [given.get(source, 0.0) for source in self.sources]
        table = np.zeros((len(self.sources), len(self.names), 2), dtype=np.float32)
        table[..., 0] = [
            np.where(self.labelled_or_mirrored(s), right, first) for s, right in zip(self.sources, pixels, strict=True)
        ]
        return table

    def labels_of(self, source: str) -> np.ndarray:
        """bool (K,): the points this source labels."""
        return np.isin(self.names, self.sources[source])

    def labelled_or_mirrored(self, source: str) -> np.ndarray:
        """bool (K,): the points that this source labels, and their other sides, which it labels in mirror images."""
        labelled = self.labels_of(source)
        return labelled | labelled[self.flip_order()]

    def channels(self, by_source: bool) -> np.ndarray:
        """Which heatmap channel holds which point.

        Args:
            by_source: True: every (source, point) pair has a separate channel; False: all sources share K channels.

        Returns:
            int64 (S, K). A point that a source neither labels nor mirrors is read from the first source's channel.
        """
        table = np.tile(np.arange(len(self.names)), (len(self.sources), 1))
        if by_source:
            free = len(self.names)
            for s, source in enumerate(self.source_names[1:], start=1):
                for k in np.flatnonzero(self.labelled_or_mirrored(source)):
                    table[s, k] = free
                    free += 1
        return table


def flip_channels(channels: np.ndarray, flip_order: Sequence[int] | np.ndarray) -> np.ndarray:
    """int64 (C,): ``heatmaps[:, flip_channels]`` reorders the channels of a mirrored face.

    Args:
        channels: (S, K) from `Keypoints.channels`.
        flip_order: (K,) from `Keypoints.flip_order`.

    Raises:
        ValueError: a channel would be the mirror image of two others.
    """
    order = np.arange(channels.max() + 1)
    order[channels] = channels[:, flip_order]
    if not np.array_equal(order[channels], channels[:, flip_order]):
        raise ValueError("a channel holds points whose mirror points are in different channels")
    return order


def _unknown_key(raw: Any) -> tuple[str, str] | None:
    """The first unknown key and the message about it; None if all keys are known."""
    known = [field.name for field in fields(Keypoints)]
    unknown = [str(key) for key in raw if key not in known] if isinstance(raw, Mapping) else []
    return (unknown[0], unknown_key(unknown[0], known)) if unknown else None


def _texts(values: Sequence[Any], key: str) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError(f"{values!r} is a text; a list of names is needed")
    if not isinstance(values, Sequence):
        raise UserError(f"keypoints: {key}: {_as_yaml(values)} is not a list of names")
    return tuple(_text(value, key) for value in values)


def _lists(values: Sequence[Any] | None, key: str) -> tuple[tuple[str, ...], ...]:
    return tuple(_texts(value, key) for value in values or ())


def _text(value: Any, key: str) -> str:
    """A name. YAML reads ``yes`` as true and ``1.10`` as 1.1; a whole number stays as it is.

    Raises:
        UserError: the value is neither a text nor a whole number.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        hint = "give the name of a point" if isinstance(value, (list, tuple, Mapping)) else "quote it"
        raise UserError(f"keypoints: {key}: {_as_yaml(value)} is not a text; {hint}")
    return str(value)


def _as_yaml(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _is_unprintable(name: str) -> bool:
    return any(unicodedata.category(character) in UNPRINTABLE for character in name)


def _normaliser(value: Any) -> Ends | dict[str, Ends] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {_text(name, "normaliser"): _ends(ends) for name, ends in value.items()}
    return _ends(value)


def _ends(values: Sequence[Any]) -> Ends:
    if isinstance(values, str):
        raise TypeError(f"{values!r} is a text; a list of two points, or of two lists of points, is needed")
    key = "normaliser"
    groups = [_texts(value, key) if isinstance(value, (list, tuple)) else _text(value, key) for value in values]
    return _two(groups, key)


def _two(values: Sequence[T], key: str) -> tuple[T, T]:
    if len(values) != 2:
        raise UserError(f"keypoints: {key}: {_plain(values)} must have two entries, not {len(values)}")
    return values[0], values[1]


def _members(group: Group) -> tuple[str, ...]:
    return (group,) if isinstance(group, str) else group


def _shown(left: Sequence[str], right: Sequence[str]) -> list[Any]:
    """Two groups in a message: groups of one point as the point."""
    return [group[0] if len(group) == 1 else list(group) for group in (left, right)]


def _duplicate(names: Sequence[str]) -> str | None:
    """The first name that occurs twice; None: all differ."""
    return next((name for i, name in enumerate(names) if name in names[:i]), None)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _validated(values: Any) -> Keypoints:
    if isinstance(values, Keypoints):
        return values
    if key := _unknown_key(values):
        raise PydanticCustomError("unknown_key", "{hint}", {"key": key[0], "hint": key[1]})
    try:
        return Keypoints.from_dict(values)
    except UserError as error:
        fault = str(error).removeprefix("keypoints: ")  # pydantic adds the field's key
        raise PydanticCustomError("value_error", "{error}", {"error": fault}) from error


# The type of the field ``keypoints`` of settings: a mapping is read by `Keypoints.from_dict`.
KeypointsField = Annotated[Keypoints, PlainValidator(_validated), PlainSerializer(Keypoints.to_dict)]
