"""What the points of a face are called: names, left-right pairs, drawing order, and who labelled which of them.

A `Keypoints` comes from a few lines of YAML (conf/keypoints/*.yaml, or a user's own) and travels with every table and
checkpoint. Axes: K points, S sources (labelling conventions), C heatmap channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from facekp.core.errors import UserError

RESERVED = ("all", "rmse", "trimmed")  # rmse/<source> and rmse/<point> stand beside figures of these names


@dataclass(frozen=True)
class Keypoints:
    """A landmark scheme.

    Attributes:
        name: what the scheme is called, e.g. ``kaggle15``.
        names: the K point names in column order; a CSV has ``<name>_x`` and ``<name>_y`` for each.
        pairs: (left, right) names that a horizontal flip exchanges; a point in none keeps its name.
        lines: chains of names joined by a stroke when a face is drawn.
        sources: for each labelling convention the points it labels. The first one labels all K points. A row of the
            competition belongs to the smallest convention that could hold its number of labelled values.
        normaliser: two names whose distance makes errors comparable between faces (NME), e.g. the eye centres; None:
            there is no NME.
    """

    name: str
    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    lines: tuple[tuple[str, ...], ...]
    sources: dict[str, tuple[str, ...]]
    normaliser: tuple[str, str] | None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Keypoints:
        """Build from plain lists (YAML or a checkpoint); ``name`` and ``names`` are all that is needed.

        Raises:
            UserError: a name is doubled or unknown, a pair or line is none, or the first source does not label every
                point.
        """
        try:
            names = _texts(raw["names"])
            sources = raw.get("sources") or {"default": None}
            scheme = cls(
                name=str(raw["name"]),
                names=names,
                pairs=tuple((left, right) for left, right in map(_texts, raw.get("pairs") or ())),
                lines=tuple(map(_texts, raw.get("lines") or ())),
                sources={str(source): _texts(own or names) for source, own in sources.items()},
                normaliser=_pair(raw.get("normaliser")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"keypoints: {type(error).__name__}: {error}; a scheme has name and names, and where it helps pairs, "
                f"lines, sources and normaliser, as conf/keypoints/kaggle15.yaml"
            ) from error
        scheme._check()
        return scheme

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, for YAML and checkpoints."""
        return _plain(asdict(self))

    def _check(self) -> None:
        def refuse(fault: str) -> None:
            raise UserError(f"keypoints {self.name}: {fault}")

        if not self.names:
            refuse("names: there is none; name at least one point")
        if doubled := _doubled(self.names):
            refuse(f"names: {doubled!r} stands twice; give every point its own name")
        used = [n for group in (*self.pairs, *self.lines, *self.sources.values()) for n in group]
        unknown = sorted({*used, *(self.normaliser or ())} - set(self.names))
        if unknown:
            refuse(f"{unknown[0]!r} is not among names: {', '.join(self.names)}")
        if doubled := _doubled([n for pair in self.pairs for n in pair]):
            refuse(f"pairs: {doubled!r} stands twice; a flip gives every point one other name")
        if short := [line for line in self.lines if len(line) < 2]:
            refuse(f"lines: {list(short[0])} joins nothing; give at least two names")
        if self.normaliser is not None and self.normaliser[0] == self.normaliser[1]:
            refuse(f"normaliser: {list(self.normaliser)} has no length; give two points, or null")
        first = next(iter(self.sources))
        if set(self.sources[first]) != set(self.names):
            refuse(f"sources.{first} is the first source and must hold every name")
        if taken := sorted({*self.sources, *RESERVED} & {*self.names}) or sorted({*self.sources} & {*RESERVED}):
            refuse(f"{taken[0]!r} already names something else in the figures; rename it")

    @property
    def columns(self) -> list[str]:
        """The 2K column names of a CSV, x before y."""
        return [f"{name}_{axis}" for name in self.names for axis in "xy"]

    @property
    def source_names(self) -> list[str]:
        return list(self.sources)

    def source_of(self, values: np.ndarray) -> np.ndarray:
        """The labelling convention of rows with that many labelled (or asked-for) values.

        Args:
            values: integers (N,), how many of the 2K coordinates each row has.

        Returns:
            int8 (N,): index into `source_names`; the smallest source whose points could hold that many values.
        """
        sizes = np.array([2 * len(points) for points in self.sources.values()])
        fits = values[:, None] <= sizes[None, :]
        return np.where(fits, sizes[None, :], sizes.max() + 1).argmin(axis=1).astype(np.int8)

    def flip_order(self) -> np.ndarray:
        """int64 (K,): ``points[:, flip_order]`` names the points of a mirrored face."""
        swap = {name: other for pair in self.pairs for name, other in (pair, pair[::-1])}
        return np.array([self.names.index(swap.get(name, name)) for name in self.names])

    def offsets(self, by_source: Mapping[str, float] | None) -> np.ndarray:
        """How far right of the mirror-symmetric place each source labels its points.

        Labels made by another pixel convention, or clicked with one hand, may all lie some tenths of a pixel to one
        side. A mirror image then has them on the wrong side; whoever trains with mirror images takes the offset off
        first and adds it to the answers.

        Args:
            by_source: pixels by name of the source, those that are left out 0; None: all are 0.

        Returns:
            float32 (S, K, 2), of which the second of the last axis is 0. A point that a source never labels has the
            first source's, as its channel is (`channels`).

        Raises:
            UserError: the scheme has no such source.
        """
        given = by_source or {}
        if unknown := sorted(set(given) - set(self.sources)):
            raise UserError(
                f"offsets: {unknown[0]!r} is no source of {self.name}; name its own ({', '.join(self.sources)}), or "
                "set data.offsets=null"
            )
        first, *_ = right = [given.get(source, 0.0) for source in self.sources]
        table = np.zeros((len(self.sources), len(self.names), 2), dtype=np.float32)
        table[..., 0] = [np.where(self.labels_of(s), own, first) for s, own in zip(self.sources, right, strict=True)]
        return table

    def labels_of(self, source: str) -> np.ndarray:
        """bool (K,): the points this source labels."""
        return np.isin(self.names, self.sources[source])

    def channels(self, by_source: bool) -> np.ndarray:
        """Which heatmap channel holds which point.

        Args:
            by_source: a channel of its own for every (source, point) pair, or one set of K shared by all sources.

        Returns:
            int64 (S, K). A point that a source never labels is read from the first source's channel.
        """
        table = np.tile(np.arange(len(self.names)), (len(self.sources), 1))
        if by_source:
            free = len(self.names)
            for s, source in enumerate(self.source_names[1:], start=1):
                for k in np.flatnonzero(self.labels_of(source)):
                    table[s, k] = free
                    free += 1
        return table


def flip_channels(channels: np.ndarray, flip_order: Sequence[int] | np.ndarray) -> np.ndarray:
    """int64 (C,): ``heatmaps[:, flip_channels]`` puts the channels of a mirrored face in place.

    Args:
        channels: (S, K) from `Keypoints.channels`.
        flip_order: (K,) from `Keypoints.flip_order`.
    """
    order = np.arange(channels.max() + 1)
    order[channels] = channels[:, flip_order]
    return order


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError(f"{values!r} stands where a list of names is needed")
    return tuple(str(value) for value in values)


def _pair(values: Sequence[Any] | None) -> tuple[str, str] | None:
    if values is None:
        return None
    first, second = _texts(values)
    return first, second


def _doubled(names: Sequence[str]) -> str | None:
    """The first name that stands twice."""
    return next((name for i, name in enumerate(names) if name in names[:i]), None)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
