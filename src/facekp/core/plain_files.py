"""Reads small JSON and YAML files that may be damaged or made by strangers: plain values come out, in bounded time.

Size, depth and number of values are limited. A YAML file of 1 KB can name one list so often by aliases (``*a``) that
whoever walks through it never ends; such a file counts with every repetition.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import yaml

from facekp.core.errors import first_line
from facekp.core.files import YAML_LOADER

MAX_BYTES = 2**22  # 4 MB: metrics.json of 2000 points has 0.5 MB; YAML of this size is parsed in seconds
MAX_DEPTH = 50  # nested lists and mappings; a run's config has 6 levels
MAX_VALUES = 200_000  # with all repetitions; a run's config has 300, metrics.json of 2000 points 10 000


class DamagedFile(ValueError):
    """The content of a file can't be what facekp wrote. The message says why, without the file's name."""


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        FileNotFoundError: it does not exist.
        DamagedFile: it is not valid JSON, or too large.
    """
    text = read_text(path)
    try:
        values = json.loads(text)
    except ValueError as error:  # also of numbers with thousands of digits
        raise DamagedFile(f"not valid JSON: {error}") from error
    except RecursionError as error:
        raise _too_deep() from error
    _check_size(values)
    return values


def read_yaml(path: Path) -> Any:
    """The value in a YAML file; nothing that it names is imported.

    Raises:
        FileNotFoundError: it does not exist.
        DamagedFile: it is not valid YAML, or too large.
    """
    return parse_yaml(read_text(path))


def parse_yaml(text: str) -> Any:
    """The value in a YAML text.

    Raises:
        DamagedFile: it is not valid YAML, or too large.

    Example:
        >>> parse_yaml("a: &sizes [1, 2]\\nb: *sizes")
        {'a': [1, 2], 'b': [1, 2]}
    """
    try:
        _check_depth(text)
        values = yaml.load(text, Loader=YAML_LOADER)
    except (yaml.YAMLError, RecursionError) as error:
        raise DamagedFile(f"not valid YAML: {yaml_problem(error)}") from error
    except DamagedFile:
        raise
    except (ValueError, OverflowError) as error:  # of dates and numbers
        raise DamagedFile(f"not valid YAML: {first_line(error)}") from error
    _check_size(values)
    return values


def yaml_problem(error: BaseException) -> str:
    """What is wrong with a YAML text and in which line, as one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return first_line(error)
    hint = "; indent with spaces, not tabs" if "cannot start any token" in problem else ""
    return f"{problem}, in line {mark.line + 1}{hint}"


def read_text(path: Path) -> str:
    """The text of a small file.

    Raises:
        FileNotFoundError: it does not exist.
        DamagedFile: it is too large, not UTF-8, or no regular file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFile("not a regular file")  # reading a pipe would wait for ever
    if status.st_size > MAX_BYTES:
        raise DamagedFile(f"{status.st_size / 1e6:.0f} MB, more than the {MAX_BYTES / 1e6:.0f} MB that such a file has")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFile(f"not a text in UTF-8 ({error.reason} at byte {error.start})") from error


def _check_depth(text: str) -> None:
    """Refuse YAML that is nested deeply, before libyaml's recursion overflows the stack of the process.

    Raises:
        DamagedFile: it is.
    """
    depth = 0
    for event in yaml.parse(text, Loader=YAML_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _too_deep()
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_size(values: Any) -> None:
    """Refuse values that would fill the memory or exhaust the stack.

    Raises:
        DamagedFile: there are too many values, they are nested too deeply, or a list holds itself.
    """
    if _measure(values, {}, 0)[0] > MAX_VALUES:
        raise DamagedFile(f"more than {MAX_VALUES} values")


def _measure(value: Any, known: dict[int, tuple[int, int]], depth: int) -> tuple[int, int]:
    """Number of values in a value, and its levels, with all repetitions.

    Args:
        value: plain.
        known: the same of lists and mappings that were measured, by their identity.
        depth: levels above the value.

    Raises:
        DamagedFile: it is nested too deeply; a list that holds itself is.
    """
    if not isinstance(value, (dict, list)):
        return 1, 0
    if id(value) not in known:
        if depth > MAX_DEPTH:
            raise _too_deep()
        parts = [_measure(part, known, depth + 1) for part in (value.values() if isinstance(value, dict) else value)]
        known[id(value)] = 1 + sum(size for size, _ in parts), 1 + max((levels for _, levels in parts), default=0)
    size, levels = known[id(value)]
    if depth + levels > MAX_DEPTH:
        raise _too_deep()
    return size, levels


def _too_deep() -> DamagedFile:
    return DamagedFile(f"nested more than {MAX_DEPTH} levels deep")
