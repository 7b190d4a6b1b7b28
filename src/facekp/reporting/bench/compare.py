"""What became slower or faster since an earlier benchmark: its JSON file and new measurements come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from facekp.core.errors import UserError
from facekp.core.plain_files import DamagedFile, read_json
from facekp.reporting.bench.measurement import Measurement

WRITTEN = "a file that facekp.bench wrote with out=FILE"
TIMES = ("s", "ms", "minutes")  # last words of the units of times
NOISE = 1.1  # ratios of medians below this, and above its inverse, differ by what else the machine does


class Change(NamedTuple):
    """By how much a cost changed: 2 means twice as much as before, or twice as slow if it is a time."""

    name: str
    ratio: float
    is_time: bool


def read_results(path: Path) -> dict[str, Any]:
    """The file that an earlier ``out=`` named.

    Raises:
        UserError: it does not exist, or ``facekp.bench`` did not write it.
    """
    try:
        content = read_json(path)
    except (OSError, DamagedFile) as error:
        raise UserError(f"compare={path}: can't be read ({error}); give {WRITTEN}") from error
    rows = content.get("measurements") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        raise UserError(f"compare={path}: holds no measurements; give {WRITTEN}")
    return content


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or "value" not in row:
        return False
    costs = (row["value"], row.get("baseline"))  # null: not known
    return isinstance(row.get("name"), str) and all(cost is None or isinstance(cost, (int, float)) for cost in costs)


def changes(measurements: Sequence[Measurement], earlier: Mapping[str, Any]) -> list[Change]:
    """By how much each cost changed that both have, largest first.

    Where both have a baseline, costs are divided by it: another machine then changes little.

    Args:
        measurements: results of the current code.
        earlier: of `read_results`.
    """
    before = {row["name"]: row for row in earlier["measurements"] if row["value"] is not None}
    both = [each for each in measurements if each.name in before and each.unit]  # others are no costs
    found = [Change(each.name, _ratio(each, before[each.name]), each.unit.split()[-1] in TIMES) for each in both]
    return sorted(found, key=lambda change: -change.ratio)


def _ratio(now: Measurement, before: Mapping[str, Any]) -> float:
    if not before["value"]:
        return 1.0
    if now.baseline and before.get("baseline"):
        return (now.value / now.baseline) / (before["value"] / before["baseline"])
    return now.value / before["value"]


def changes_table(found: Sequence[Change], earlier: Mapping[str, Any], machine: Mapping[str, Any]) -> Table:
    """What changed beyond noise, for the terminal."""
    here = earlier.get("machine") == machine
    where = "this machine" if here else "another machine or other versions: only ratios to a baseline compare"
    table = Table(title=f"since {earlier.get('date', 'an unknown date')} on {where}")
    table.add_column("what")
    table.add_column("change", justify="right")
    for name, ratio, is_time in found:
        if ratio > NOISE or ratio < 1 / NOISE:
            much = f"{ratio:.2f} times as much"
            slower = f"{ratio:.2f} times as slow" if ratio > 1 or not ratio else f"{1 / ratio:.2f} times as fast"
            table.add_row(name, slower if is_time else much)
    return table
