"""How a metric is declared, and what it may return. Axis: N faces."""

from __future__ import annotations

import copy
import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from torch import Tensor

from facekp.core.errors import UserError
from facekp.core.registry import Registry, is_builtin
from facekp.core.settings import Settings, one_of
from facekp.functional.metrics.metric_input import MetricInput

Place = Literal["epoch", "console", "report", "sweep", "dashboard"]
PLACES: tuple[Place, ...] = get_args(Place)
Better = Literal["lower", "higher"]
Section = Literal["runs", "landmarks", "subsets"]
MAIN = "rmse"  # the metric that ranks runs; its parts are the RMSE of each source and each keypoint
MAX_DIGITS = 15  # decimals of a table
# Other keys of metrics.json
RESERVED = (
    "mean_face",
    "intervals",
    "epochs",
    "best_epoch",
    "steps",
    "minutes",
    "parameters",
    "checkpoint",
    "finished",
)


@dataclass(frozen=True, eq=False)
class Ratio:
    """A figure that is a sum over faces divided by another sum, so it can be computed for resampled faces too.

    Attributes:
        total: (N,), what each face adds to the upper sum.
        count: (N,), what each face adds to the lower sum; 0 for a face that does not count.
        root: the figure is the square root of the ratio.
        value: the figure where it is computed in another way; None: from the sums.

    Example:
        >>> float(Ratio(np.array([8.0, 10.0]), np.array([1, 1]), root=True))
        3.0
    """

    total: np.ndarray
    count: np.ndarray
    root: bool = False
    value: float | None = None

    def __post_init__(self) -> None:
        for name in ("total", "count"):  # a plug-in may give lists
            object.__setattr__(self, name, np.asarray(getattr(self, name)))

    def __float__(self) -> float:
        if self.value is not None:
            return self.value
        count = self.count.sum()
        ratio = float(self.total.sum() / count) if count else math.nan
        return math.sqrt(ratio) if self.root else ratio


class Curve(dict[str, list[float]]):
    """A metric that is a curve: two columns of equal length by name, the first is the x axis."""


Number = float | Ratio
Value = Number | Mapping[str, Number] | Curve


@dataclass(eq=False)
class Metric:
    """A metric and how it is shown.

    Attributes:
        name: its key in metrics.json; ``NAME/PART`` for each part.
        compute: takes a `MetricInput`. It returns a number, a `Ratio`, several of them by part (``""`` is the whole),
            or a `Curve`. NaN means that nothing could be measured; such a figure is left out.
        label: what tables and axes call it.
        unit: shown behind the label; empty if it has none. ``fraction`` is shown in per cent on the axis of a curve.
        digits: decimals in tables.
        better: whether lower or higher is better; None if neither is.
        needs_confidence: not computed for baselines, which have no confidence.
        shown: where it appears besides metrics.json and W&B's summary. ``epoch``: metrics.csv and the loggers, after
            every epoch; ``console``: table at the end of a run; ``report``: report pages; ``sweep``: sweep.csv;
            ``dashboard``: panels of the W&B dashboard.
        sections: where report pages show it: ``runs``, the table of runs; ``landmarks``, the table of metrics of
            landmark papers; ``subsets``, the table with a row for each subset.

    Raises:
        UserError: an attribute is not valid.
    """

    CHOICES: ClassVar[dict[str, tuple[Any, ...]]] = {
        "better": (*get_args(Better), None),
        "shown": PLACES,
        "sections": get_args(Section),
    }

    name: str
    compute: Callable[[MetricInput], Value]
    label: str
    unit: str = ""
    digits: int = 3
    better: Better | None = None
    needs_confidence: bool = False
    shown: tuple[Place, ...] = PLACES
    sections: tuple[Section, ...] = ("runs",)

    def __post_init__(self) -> None:
        self._check()
        functools.update_wrapper(self, self.compute)  # module and name say in messages where it comes from

    def _check(self) -> None:
        def refuse(key: str, allowed: str) -> None:
            raise UserError(f"metric {self.name!r}: {key}={getattr(self, key)!r}: {allowed}")

        if not callable(self.compute):
            refuse("compute", "must be a function of a MetricInput")
        for key in ("label", "unit"):
            if not isinstance(getattr(self, key), str):
                refuse(key, "must be a text")
        if isinstance(self.digits, bool) or not isinstance(self.digits, int) or not 0 <= self.digits <= MAX_DIGITS:
            refuse("digits", f"must be a whole number from 0 to {MAX_DIGITS}")
        for key, choices in self.CHOICES.items():
            value = getattr(self, key)
            if key != "better" and not isinstance(value, (tuple, list)):
                refuse(key, f"must be a tuple, of {', '.join(choices)}")
            for choice in [value] if key == "better" else value:
                if choice not in choices:
                    refuse(key, one_of(choices, choice))

    def __call__(self, scored: MetricInput) -> dict[str, Any]:
        """Its figures by their key in metrics.json, without those that are NaN or infinite, which JSON does not have.

        Raises:
            UserError: it can't be computed, or returns something else than numbers.
        """
        return self.figures_and_ratios(scored)[0]

    def figures_and_ratios(self, scored: MetricInput) -> tuple[dict[str, Any], dict[str, Ratio]]:
        """As `__call__`, and those of the figures that are a `Ratio`.

        Raises:
            UserError: it can't be computed, or returns something else than numbers.
        """
        try:
            value = self.compute(scored if self.is_own else copy.deepcopy(scored))  # a plug-in may change arrays
            if isinstance(value, Curve):
                return {self.name: _columns(value)}, {}
            parts = {self.key(part): number for part, number in _parts(value).items()}
            _check_ratios(parts, len(scored.points))
            numbers = {key: _number(number) for key, number in parts.items()}
        except Exception as error:  # perhaps another package's code
            raise UserError(f"metric {self.name!r} ({self.where}): {type(error).__name__}: {error}") from error
        figures = {key: number for key, number in numbers.items() if math.isfinite(number)}
        return figures, {key: part for key, part in parts.items() if key in figures and isinstance(part, Ratio)}

    @property
    def is_own(self) -> bool:
        """Whether it is part of facekp."""
        return is_builtin(self.compute)

    @property
    def where(self) -> str:
        """Module and name of its function."""
        return f"{self.compute.__module__}.{getattr(self.compute, '__qualname__', type(self.compute).__qualname__)}"

    def key(self, part: str = "") -> str:
        """Key of a part in metrics.json."""
        return f"{self.name}/{part}" if part else self.name

    def title(self, key: str, unit: bool = True) -> str:
        """What a table calls the figure with that key, with its unit if wanted."""
        part = key.removeprefix(self.name).strip("/").replace("_", " ")
        words = f"{self.label} {part}" if part else self.label
        return f"{words}, {self.unit}" if unit and self.unit else words

    def text(self, value: float | None) -> str:
        """A figure with its decimals; empty where there is none."""
        return "" if value is None else f"{value:.{self.digits}f}"


def _columns(curve: Curve) -> dict[str, list[float | None]]:
    columns = {str(name): _column(numbers) for name, numbers in curve.items()}
    lengths = [len(column) for column in columns.values()]
    if len(lengths) != 2 or lengths[0] != lengths[1]:  # metrics.json could not be read again
        raise TypeError(f"returned a Curve with columns of lengths {lengths}; a Curve has two columns of equal length")
    return columns


def _check_ratios(parts: Mapping[str, Number], faces: int) -> None:
    for part in parts.values():
        if isinstance(part, Ratio) and not (part.total.shape == part.count.shape == (faces,)):
            raise TypeError(
                f"returned a Ratio of shapes {part.total.shape} and {part.count.shape}; total and count have an entry "
                f"for each face, here ({faces},)"
            )


def _column(values: Iterable[float]) -> list[float | None]:
    """A column of a curve as plain numbers, which checkpoints may hold; None for NaN and infinity."""
    return [float(value) if math.isfinite(value) else None for value in values]


def _parts(value: Number | Mapping[str, Number]) -> Mapping[str, Number]:
    return value if isinstance(value, Mapping) else {"": value}


def _number(value: Any) -> float | int:
    if isinstance(value, Ratio):
        return float(value)
    number = value.item() if isinstance(value, (np.generic, np.ndarray, Tensor)) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"returned {type(value).__name__}; a metric returns a number, numbers by part, or a Curve")
    return number


class MetricSettings(Settings):
    """A metric has no settings."""

    name: str


class MetricRegistry(Registry[Metric]):
    """The registry of metrics; `metric` adds to it."""

    def register(self, name: str, settings: type[Settings] | None = None) -> Callable[[Any], Any]:
        """As `Registry.register`.

        Raises:
            UserError: what is registered is no `Metric`, or one of another name.
        """
        enter = super().register(name, settings)

        def enter_metric(thing: Any) -> Any:
            if not isinstance(thing, Metric):
                where = f"{thing.__module__}.{thing.__qualname__}" if hasattr(thing, "__qualname__") else repr(thing)
                raise UserError(
                    f"metric {name!r}: {where} is not a metric; declare it by @metric({name!r}, label=...) of "
                    "facekp.functional.metrics"
                )
            if thing.name != name:
                raise UserError(f"metric {name!r}: {thing.where} declares {thing.name!r}; use the same name for both")
            return enter(thing)

        return enter_metric


METRICS: Registry[Metric] = MetricRegistry(
    "metric", key="metrics", base=MetricSettings, entry_points="facekp.metrics", inputs=1
)


def metric(name: str, *, label: str, **details: Any) -> Callable[[Callable[[MetricInput], Value]], Metric]:
    """Decorator that declares a metric.

    Args:
        name: key in metrics.json, of letters, digits, ``_`` and ``/``.
        label: what tables and axes call it.
        details: further attributes of `Metric`: ``unit``, ``digits``, ``better``, ``needs_confidence``, ``shown``.

    Raises:
        UserError: the name or a detail is not valid, or the name is already taken.
    """
    if not re.fullmatch(r"[A-Za-z]\w*(/\w+)*", name) or name.split("/")[0] in RESERVED:
        raise UserError(
            f"metric {name!r}: not a valid name; use letters, digits, _ and /, but not {', '.join(RESERVED)}"
        )

    def declare(compute: Callable[[MetricInput], Value]) -> Metric:
        declared: Metric = METRICS.register(name)(Metric(name, compute, label, **details))
        return declared

    return declare
