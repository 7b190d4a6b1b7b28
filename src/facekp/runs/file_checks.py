"""What the files of runs and sweeps may hold: values as they were read go in, checked ones or an error come out.

A file may be cut, edited or written by another program. `reading` turns every error into one line that names the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from facekp.config.migration import epochs_from_1
from facekp.core.errors import UserError, first_line
from facekp.core.plain_files import DamagedFile

if TYPE_CHECKING:
    import pandas as pd

MAX_EPOCH = 10**9  # more are damage, and could not be drawn
PREDICTION_TEXTS = ("source", "keypoint")
PREDICTION_NUMBERS = ("true_x", "true_y", "x", "y", "error")
CORRUPTION_COLUMNS = ("corruption", "strength", "rmse", "rmse/trimmed")
MAX_NUMBER = 1e12  # of a number of pixels, whose squares are summed
DAMAGED = "it is damaged, or facekp did not write it"


class DamagedRunFile(UserError):
    """A file of a run or a sweep is missing, or can't be read."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is read into one line that names the file.

    Raises:
        DamagedRunFile: the file does not exist or is damaged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedRunFile(f"{path} does not exist; put it back, or name another run") from error
    except KeyError as error:
        raise DamagedRunFile(f"{path} can't be read: it lacks {error}; {DAMAGED}") from error
    except Exception as error:  # values of other types and sizes raise all sorts of errors
        raise DamagedRunFile(f"{path} can't be read: {first_line(error)[:160]}; {DAMAGED}") from error


def open_table(path: Path) -> IO[str]:
    """A CSV file, opened.

    Raises:
        DamagedFile: it is no regular file; reading a pipe would wait for ever.
    """
    if path.exists() and not path.is_file():
        raise DamagedFile("not a regular file")
    return path.open(encoding="utf-8", newline="")


def mapping(values: Any) -> dict[str, Any]:
    """The values if they are a mapping of texts to values.

    Raises:
        ValueError: they are something else.
    """
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ValueError("it is not a mapping of names to values")
    return values


def texts(values: Any) -> list[str]:
    """The values if they are a list of texts.

    Raises:
        ValueError: they are something else.
    """
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("it is not a list of strings")
    return values


def config(values: Any, needed: tuple[str, ...]) -> dict[str, Any]:
    """The values of config.yaml if they hold all groups of settings that a training has.

    Raises:
        ValueError: they are something else.
    """
    checked = mapping(values) if isinstance(values, dict) else {}
    missing = [key for key in needed if not isinstance(checked.get(key), dict)]
    if missing:
        raise ValueError(f"it lacks the settings {missing[0]}")
    return checked


def metrics(values: Any) -> dict[str, Any]:
    """The values of metrics.json if those that commands calculate with have the right types.

    Raises:
        ValueError: they are something else.
    """
    checked = mapping(values)
    for key, value in checked.items():
        if not METRIC_TYPES.get(key.split("/")[0], _is_anything)(value):
            raise ValueError(f"{key} is {str(value)[:40]!r}")
    return checked


def _is_anything(value: Any) -> bool:
    return True


def _is_number(value: Any) -> bool:
    """Whether a value is a number that arithmetic can use; whole numbers may have hundreds of digits."""
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < MAX_NUMBER)


def _is_rmse(value: Any) -> bool:
    """Whether a value is a number that is not negative; NaN where nothing could be scored."""
    return _is_number(value) and not value < 0


METRIC_TYPES = {
    "rmse": _is_rmse,  # also of each source and point
    "epochs": lambda value: isinstance(value, int) and 0 <= value <= MAX_EPOCH,
    "minutes": lambda value: _is_number(value) and 0 <= value < math.inf,
    "parameters": _is_number,
    "finished": lambda value: isinstance(value, bool),
    "mean_face": lambda value: isinstance(value, dict) and _is_rmse(value.get("rmse", 0)),
}


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of metrics.csv with epochs counted from 1, if they are numbers of increasing epochs.

    Raises:
        ValueError: they are something else.
    """
    for name in frame:
        if frame[name].dtype.kind not in "iuf":
            raise ValueError(f"the column {str(name)[:40]} is not of numbers")
    epochs = epochs_from_1(frame["epoch"].tolist())
    if epochs != sorted(set(epochs)) or not all(1 <= epoch <= MAX_EPOCH for epoch in epochs):
        raise ValueError("the epochs do not increase")
    return frame.assign(epoch=epochs)


def predictions(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The complete rows of predictions.csv, if they have all columns and finite numbers.

    Raises:
        ValueError: they have not.
    """
    frame = _complete_rows(frame, columns)
    _check_size(frame, PREDICTION_NUMBERS)
    return frame.assign(row=frame["row"].astype("int64"))


def groups(frame: pd.DataFrame) -> pd.Series:
    """The column group of split.csv by row, if both are whole numbers and each row is listed once.

    Raises:
        ValueError: they are something else.
    """
    frame = _complete_rows(frame, ("row", "group"))
    by_row = frame.set_index("row")["group"]
    if not by_row.index.dtype.kind == by_row.dtype.kind == "i" or by_row.index.has_duplicates:
        raise ValueError("row and group are not whole numbers, or a row is listed twice")
    return by_row


def corruptions(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of corruptions.csv with a figure, if they have all columns and finite numbers.

    Raises:
        ValueError: they have not.
    """
    numbers = CORRUPTION_COLUMNS[1:]
    frame = _complete_rows(frame, CORRUPTION_COLUMNS).astype(dict.fromkeys(numbers, float))
    _check_size(frame, numbers)
    return frame


def _complete_rows(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows that have a value in each of the columns.

    Raises:
        ValueError: a column is missing.
    """
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ValueError(f"the column {missing[0]} is missing")
    complete = frame[list(columns)].notna().all(axis=1)
    return frame if complete.all() else frame[complete]


def _check_size(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse numbers that are not finite, or whose squares could not be summed.

    Raises:
        ValueError: a number in the columns is not finite, or is too large.
    """
    if not (abs(frame[list(columns)].to_numpy()) < MAX_NUMBER).all():
        raise ValueError("a number is not finite or too large")


def reliability(values: Any) -> dict[str, list[float]]:
    """``expected`` and ``measured`` of reliability.json, if they are as many finite numbers, at least one.

    Raises:
        ValueError: they are something else.
        KeyError: one of them is missing.
    """
    checked = mapping(values)
    found = {key: [float(value) for value in checked[key]] for key in ("expected", "measured")}
    if len(found["expected"]) != len(found["measured"]) or not found["expected"]:
        raise ValueError("expected and measured differ in length, or are empty")
    if not all(math.isfinite(error) for errors in found.values() for error in errors):
        raise ValueError("an error is not finite")
    return found
