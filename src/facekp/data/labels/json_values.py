"""Values of label files in JSON: the parsed file, numbers in any spelling, and how a value is shown in a message."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from facekp.core.errors import UserError
from facekp.data.labels.text import read_text

MAX_SHOWN_LENGTH = 80  # characters of a value in a message


def read_json(path: Path, expected: str) -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        expected: what it should be, for the message, such as ``a file of COCO keypoints``.

    Raises:
        UserError: it can't be read, is not JSON, or is nested too deeply.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"data.labels={path}: not valid JSON ({error}); give {expected}") from error


def number_of(value: Any) -> float:
    """A number, also one that was written as a text; NaN for anything else, and for infinity.

    Example:
        >>> number_of("1.5"), number_of(2), number_of(True), number_of([1])
        (1.5, 2.0, nan, nan)
    """
    if isinstance(value, str) and "_" not in value:  # Python reads 1_0 as 10
        try:
            value = float(value)
        except ValueError:
            return math.nan
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        return float(value) if is_number and math.isfinite(value) else math.nan
    except OverflowError:  # a whole number of hundreds of digits
        return math.nan


def shown(value: Any) -> str:
    """A value in a message; a number of thousands of digits has no text."""
    try:
        return repr(value)[:MAX_SHOWN_LENGTH]
    except ValueError:
        return "a number with thousands of digits"
