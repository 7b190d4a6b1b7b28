"""Values of label files in JSON: the parsed file, numbers in any spelling, and how a value is shown in a message."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
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
    return parse_json(read_text(path), f"data.labels={path}", f"give {expected}")


def parse_json(text: str, where: str, fix: str) -> Any:
    """The content of a text in JSON.

    Raises:
        UserError: it is not JSON, or is nested too deeply. The message names the place and how to fix it.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON ({error}); {fix}") from error


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


def numbers_of(fields: Sequence[str], where: str, expected: str) -> list[float]:
    """The numbers of a line.

    Raises:
        UserError: one is not a finite number; ``expected`` says what to write instead.
    """
    values = [number_of(field) for field in fields]
    if wrong := [field for field, value in zip(fields, values, strict=True) if math.isnan(value)]:
        raise UserError(f"{where}: {wrong[0][:40]!r} is not a finite number; give {expected}")
    return values


def size_in(item: Mapping[str, Any], keys: tuple[str, str], where: str) -> tuple[int, int] | None:
    """The photo's width and height, which an entry has by these keys; None where it states none, or 0 or -1.

    Raises:
        UserError: they are not pixels.

    Example:
        >>> size_in({"width": 60, "height": "50"}, ("width", "height"), "a.json")
        (60, 50)
    """
    stated = [item.get(key) for key in keys]
    if any(value in (None, 0, -1) for value in stated):
        return None
    width, height = (number_of(value) for value in stated)
    if not (width >= 1 and height >= 1):
        values = " and ".join(map(shown, stated))
        raise UserError(f"{where}: {' and '.join(keys)} are {values}; give pixels, or leave them out")
    return int(width), int(height)


def mapping_of(value: Any) -> Mapping[str, Any]:
    """An object of JSON; an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def short_texts(values: Mapping[str, Any], longest: int) -> dict[str, str]:
    """Texts, numbers and flags as texts; a flag is 1 or 0. Texts longer than so many characters are left out.

    Example:
        >>> short_texts({"pose": " large ", "age": 30, "blurred": True, "notes": 99 * "-", "points": []}, longest=20)
        {'pose': 'large', 'age': '30', 'blurred': '1'}
    """
    return {name: _text(value) for name, value in values.items() if is_short(value, longest)}


def is_short(value: Any, longest: int) -> bool:
    """Whether a value is a number, a flag or a text of at most so many characters."""
    return isinstance(value, (int, float)) or (isinstance(value, str) and len(value) <= longest)


def _text(value: Any) -> str:
    return (
        str(int(value)) if isinstance(value, bool) else shown(value) if isinstance(value, int) else str(value).strip()
    )


def shown(value: Any) -> str:
    """A value in a message; a number of thousands of digits has no text."""
    try:
        return repr(value)[:MAX_SHOWN_LENGTH]
    except ValueError:
        return "a number with thousands of digits"
