"""Text in CSV files that people open in a spreadsheet: a cell that would be read as a formula gets an apostrophe.

A photo or a point may have a name such as ``=HYPERLINK(...)``. Spreadsheets run a cell that begins with ``=``, ``+``,
``-`` or ``@``, a tab or a line break. Numbers stay as they are. `original` reverses `neutral`, so that facekp reads
the names that it wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMULA = re.compile(r"'*[=+\-@\t\r\n]")  # also behind apostrophes, so that every text can be read back
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)


def neutral(value: Any) -> Any:
    """A cell that no spreadsheet runs; anything but a text stays as it is.

    Example:
        >>> [neutral(value) for value in ("=1+1", "-eye", "-1.5e-3", "nose", "'=a", -2)]
        ["'=1+1", "'-eye", '-1.5e-3', 'nose', "''=a", -2]
    """
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def original(value: Any) -> Any:
    """What `neutral` was given.

    Example:
        >>> [original(neutral(value)) for value in ("=1+1", "'=a", "'a", "-1")]
        ['=1+1', "'=a", "'a", '-1']
    """
    if isinstance(value, str) and value.startswith("'") and FORMULA.match(value):
        return value[1:]
    return value


def neutral_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts and names of columns are `neutral`."""
    return _mapped(frame, neutral)


def original_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A table that was read from a file of `neutral_frame`."""
    return _mapped(frame, original)


def _mapped(frame: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    new = frame.rename(columns=change)
    for position, (_, column) in enumerate(frame.items()):
        if column.dtype.kind in "biufc":
            continue
        changed = {
            value: change(value) for value in column.unique() if isinstance(value, str) and change(value) != value
        }
        values: Any = column if hasattr(column, "cat") else column.astype(object)
        if changed and hasattr(column, "cat"):
            new.isetitem(position, values.cat.rename_categories(changed))
        elif changed:
            new.isetitem(position, values.map(lambda value, changed=changed: changed.get(value, value)))
    return new
