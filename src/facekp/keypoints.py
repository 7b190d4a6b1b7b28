"""What the points of a face are called: names, left-right pairs, drawing order, and who labelled which of them.

A `Keypoints` comes from a few lines of YAML (conf/keypoints/*.yaml, or a user's own) and travels with every table and
checkpoint. Axes: K points, S sources (labelling conventions), C heatmap channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from facekp.errors import UserError


@dataclass(frozen=True)
class Keypoints:
    """A landmark scheme.

    Attributes:
        name: what the scheme is called, e.g. ``kaggle15``.
        names: the K point names in column order; a CSV has ``<name>_x`` and ``<name>_y`` for each.
        pairs: (left, right) names that a horizontal flip exchanges.
        lines: chains of names joined by a stroke when a face is drawn.
        sources: for each labelling convention the points it labels. The first one labels all K points. A row belongs to
            the smallest convention that could hold its number of labelled values.
        normaliser: two names whose distance makes errors comparable between faces (NME), e.g. the eye centres.
    """

    name: str
    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    lines: tuple[tuple[str, ...], ...]
    sources: dict[str, tuple[str, ...]]
    normaliser: tuple[str, str]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Keypoints:
        """Build from plain lists (YAML or a checkpoint).

        Raises:
            UserError: a name is doubled or unknown, or the first source does not label every point.
        """
        try:
            first, second = raw["normaliser"]
            scheme = cls(
                name=str(raw["name"]),
                names=tuple(raw["names"]),
                pairs=tuple((left, right) for left, right in raw["pairs"]),
                lines=tuple(tuple(line) for line in raw["lines"]),
                sources={source: tuple(names or raw["names"]) for source, names in raw["sources"].items()},
                normaliser=(first, second),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"keypoints: {error}; needed are name, names, pairs, lines, sources, normaliser") from error
        scheme._check()
        return scheme

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, for YAML and checkpoints."""
        return _plain(asdict(self))

    def _check(self) -> None:
        if len(set(self.names)) != len(self.names):
            doubled = sorted({n for n in self.names if self.names.count(n) > 1})
            raise UserError(f"keypoints {self.name}: names: {doubled[0]!r} stands twice; give every point its own name")
        used = [n for group in (*self.pairs, *self.lines, *self.sources.values(), self.normaliser) for n in group]
        unknown = sorted(set(used) - set(self.names))
        if unknown:
            raise UserError(f"keypoints {self.name}: {unknown[0]!r} is not among names: {', '.join(self.names)}")
        first = next(iter(self.sources))
        if set(self.sources[first]) != set(self.names):
            raise UserError(f"keypoints {self.name}: sources.{first} is the first source and must hold every name")

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


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
