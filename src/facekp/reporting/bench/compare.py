"""What became slower or faster since an earlier benchmark: its JSON file and new measurements come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from facekp.core.errors import UserError
from facekp.core.plain_files import DamagedFile, read_json
from facekp.reporting.bench.measurement import Measurement

WRITTEN = "a file that facekp.bench wrote with out=FILE"
NOISE = 1.1  # ratios of medians below this, and above its inverse, differ by what else the machine does


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
    return isinstance(row, dict) and isinstance(row.get("name"), str) and isinstance(row.get("value"), (int, float))


def changes(measurements: Sequence[Measurement], earlier: Mapping[str, Any]) -> list[tuple[str, float]]:
    """By how much each cost changed that both have, largest first; 2 means twice as slow.

    Where both have a plain equivalent, costs are divided by it: another machine then changes little.

    Args:
        measurements: of now.
        earlier: of `read_results`.
    """
    before = {row["name"]: row for row in earlier["measurements"]}
    found = [(each.name, _ratio(each, before[each.name])) for each in measurements if each.name in before]
    return sorted(found, key=lambda change: -change[1])


def _ratio(now: Measurement, before: Mapping[str, Any]) -> float:
    if now.plain is not None and before.get("plain"):
        return (now.value / now.plain) / (before["value"] / before["plain"])
    return now.value / before["value"] if before["value"] else 1.0


def changes_table(found: Sequence[tuple[str, float]], earlier: Mapping[str, Any], machine: Mapping[str, Any]) -> Table:
    """What changed beyond noise, for the terminal."""
    here = earlier.get("machine") == machine
    where = "this machine" if here else "another machine or other versions: only ratios to a plain equivalent compare"
    table = Table(title=f"since {earlier.get('date', 'an unknown date')} on {where}")
    table.add_column("what")
    table.add_column("change", justify="right")
    for name, ratio in found:
        if ratio > NOISE or ratio < 1 / NOISE:
            word = f"{ratio:.2f} times as slow" if ratio > 1 else f"{1 / ratio:.2f} times as fast"
            table.add_row(name, word)
    return table
