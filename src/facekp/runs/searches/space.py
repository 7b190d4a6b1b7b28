"""What a search draws from: overrides in Hydra's notation for sweeps come in, the overrides of each job go out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, Sweep

from facekp.core.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SEARCH = "hparams_search"
DIGITS = 4  # of a number drawn from an interval, so that names and commands stay short


class SearchSpace:
    """The values that each key of a search may have.

    Args:
        overrides: of the search, ``key=value``. Values are written as in Hydra's sweeps: ``a,b``, ``choice(a,b)``,
            ``range(1,9)``, ``interval(0,1)``, ``int(interval(1,64))``; ``tag(log, …)`` draws on a logarithmic scale.

    Raises:
        UserError: no key has several values, or nothing can be drawn from a range.
    """

    def __init__(self, overrides: Iterable[Override]) -> None:
        self.parts: dict[str, str | BaseDistribution] = {}  # by key, in the order given: an override, or what to draw
        for override in overrides:
            key = override.get_key_element()
            searched = override.is_sweep_override()
            if override.key_or_group.split(".")[0] != SEARCH:
                self.parts[key] = distribution(override) if searched else str(override.input_line)
            elif searched:
                raise UserError(f"{override.input_line}: settings of the search can't be searched; give one value")
        self.drawn: dict[str, Any] = {key: part for key, part in self.parts.items() if not isinstance(part, str)}
        if not self.drawn:
            raise UserError(
                f"{SEARCH}=optuna: nothing to search; give a key several values, "
                "as in optimizer=sgd,adam or 'lr=tag(log, interval(1e-4, 1e-2))'"
            )

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides of a job.

        Args:
            values: a drawn value for each key in `drawn`.
        """
        return [
            part if isinstance(part, str) else f"{key}={_text(values[key], part)}" for key, part in self.parts.items()
        ]

    def corners(self) -> list[list[str]]:
        """Overrides of a few jobs that have every choice, and both ends of every range, at least once."""
        values: dict[str, Any] = {
            key: getattr(part, "choices", None) or (part.low, part.high) for key, part in self.drawn.items()
        }
        first = {key: choices[0] for key, choices in values.items()}
        return [self.overrides({**first, key: value}) for key, choices in values.items() for value in choices]


def distribution(override: Override) -> BaseDistribution:
    """Optuna's distribution for a sweep in Hydra's notation.

    Both ends of an interval belong to it. The end of a range does not, as in Hydra.

    Raises:
        UserError: the range is empty, has a tag other than ``log``, or has no logarithm.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values, line = override.value(), override.input_line
    tags = values.tags if isinstance(values, Sweep) else set()
    if tags - {"log"} or (tags and override.is_choice_sweep()):
        raise UserError(f"{line}: the tag {sorted(tags)[-1]} is not supported here; only numbers may have the tag log")
    if override.is_choice_sweep():
        return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))
    try:
        low, high, step = _bounds(values)
        if not math.isfinite(high - low):
            raise ValueError("its ends must be finite numbers")
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log="log" in tags, step=int(step or 1))
        return FloatDistribution(low, high, log="log" in tags, step=step)
    except (IndexError, ValueError) as error:
        raise UserError(f"{line}: nothing can be drawn from it: {str(error).rstrip('.')}") from error


def _bounds(values: Any) -> tuple[float, float, float | None]:
    """Lowest and highest value of a range or an interval, and the step of a range."""
    if isinstance(values, IntervalSweep):
        return values.start or 0, values.end or 0, None
    grid = list(values.range())
    if not grid:
        raise ValueError("the range is empty")
    # The end of range(0, 1, 0.3) is computed as 0.8999…; Optuna leaves out an end that is not a multiple of the step.
    end = type(grid[0])(Decimal(str(grid[0])) + (len(grid) - 1) * Decimal(str(values.step)))
    low, high = sorted((grid[0], end))
    return low, high, abs(values.step)


def _text(value: Any, part: Any) -> str:
    """A drawn value as an override has it; a number of an interval is rounded but stays within it."""
    if not isinstance(value, float):
        return str(value)
    if part.step is not None:
        return f"{value:.10g}"
    return str(min(max(float(f"{value:.{DIGITS}g}"), part.low), part.high))
