"""What the benchmark measures: a cost, beside that of a baseline and the least that is possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Measurement:
    """A cost; lower is better.

    Attributes:
        name: what was measured; no two measurements have the same.
        value: the cost.
        unit: of it, e.g. ``s``.
        baseline: the same cost of the simplest code that does the same; None: not measured.
        baseline_name: what that code is.
        limit: the least cost that this machine allows, from its measured rates; None: it can't be computed.
        goal: what is aimed at, in words; empty: nothing.

    Example:
        >>> Measurement("encode", 2.0, "ms", baseline=60.0, limit=0.5).times_as_fast
        30.0
    """

    name: str
    value: float
    unit: str = ""
    baseline: float | None = None
    baseline_name: str = ""
    limit: float | None = None
    goal: str = ""

    @property
    def times_as_fast(self) -> float | None:
        """The cost of the baseline, divided by this one."""
        return None if self.baseline is None else self.baseline / self.value

    @property
    def of_limit(self) -> float | None:
        """How close to the limit the cost is: 1 is the limit itself."""
        return None if self.limit is None else self.limit / self.value

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without what there is not."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}

    def cells(self) -> tuple[str, ...]:
        """Its row in `measurements_table`."""
        ratio, share = self.times_as_fast, self.of_limit
        return (
            self.name,
            f"{number(self.value)} {self.unit}".rstrip(),
            "" if ratio is None else f"{number(ratio)} times as fast as {self.baseline_name}",
            "" if share is None else f"{share:.0%}",
            self.goal,
        )


@dataclass(frozen=True)
class Growth:
    """How a cost grows with a size.

    Attributes:
        name: what was measured.
        size: what grows.
        sizes: the values of it, increasing.
        costs: one for each size.
        unit: of the costs, such as ``ms``.
    """

    name: str
    size: str
    sizes: Sequence[float]
    costs: Sequence[float]
    unit: str

    def cells(self) -> tuple[str, ...]:
        """Its row in `growth_table`."""
        pairs = [f"{number(size)}: {number(cost)}" for size, cost in zip(self.sizes, self.costs, strict=True)]
        return (self.name, self.size, ", ".join(pairs), self.unit)


def number(value: float) -> str:
    """A number with three digits, or all before its point.

    Example:
        >>> [number(value) for value in (0.01234, 1.5, 12.34, 1234.5)]
        ['0.0123', '1.5', '12.3', '1234']
    """
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def measurements_table(measurements: Sequence[Measurement], title: str) -> Table:
    """The measurements for the terminal."""
    table = Table(title=title)
    for heading in ("what", "measured", "baseline", "of the limit", "goal"):
        table.add_column(heading)
    for measurement in measurements:
        table.add_row(*measurement.cells())
    return table


def growth_table(growths: Sequence[Growth]) -> Table:
    """How costs grow, for the terminal."""
    table = Table(title="how costs grow")
    for heading in ("what", "with", "cost by size", "unit"):
        table.add_column(heading)
    for growth in growths:
        table.add_row(*growth.cells())
    return table
