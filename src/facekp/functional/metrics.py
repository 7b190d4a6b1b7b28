r"""Metrics: how far predicted points lie from the labels, in image pixels.

Predictions and labels of a whole evaluation come in (`MetricInput`), figures for metrics.json go out. A metric is
declared once, by `metric`, and then appears in metrics.json, metrics.csv, the console, the report, sweep.csv and W&B.
Another package adds one in the same way and declares an entry point, or is named by ``plugins=[mymodule]``::

    from facekp.functional.metrics import MetricInput, metric

    @metric("failures", label="faces off by more than 5 px", unit="fraction", digits=4, better="lower")
    def failures(scored: MetricInput) -> float:
        worst = np.nanmax(scored.distance, axis=1, initial=0)  # (N,)
        return float((worst > 5).mean())

RMSE = :math:`\sqrt{\sum e^2 / n}` over all labelled coordinates, as the competition scores it.
`facekp.functional.pooled_errors` keeps sums and counts, never a mean of per-batch figures, so uneven batches and
several processes give the same result. Axes: N faces, K points, S sources, B bins.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.registry import Registry
from facekp.core.settings import Settings

TRIMMED_ONE_IN = 100  # `trimmed_mean` leaves out the worst value of every hundred

Place = Literal["epoch", "console", "report", "sweep", "dashboard"]
PLACES: tuple[Place, ...] = get_args(Place)
MAIN = "rmse"  # the metric that ranks runs; its parts are the RMSE of each source and each keypoint
POOLED = ("rmse", "nme")  # `KeypointErrors` computes these batch by batch at every validation
# Other keys of metrics.json
RESERVED = ("mean_face", "epochs", "best_epoch", "steps", "minutes", "parameters", "checkpoint", "finished")


# Declaring metrics


@dataclass(frozen=True, eq=False)
class MetricInput:
    """What a metric is computed from.

    Attributes:
        points: float32 (N, K, 2), predictions in pixels.
        truth: float32 (N, K, 2), labels in pixels, NaN where unlabelled.
        source: int (N,), the labelling convention of each face.
        keypoints: names the points and sources.
        confidence: float32 (N, K) from 0 to 1; None for a baseline, which has none.
        floor: below this confidence the model predicts the mean face.
        corrupted: the same for corrupted images, by the name of the corruption: an entry for each strength. Empty where
            none were predicted.
    """

    points: np.ndarray
    truth: np.ndarray
    source: np.ndarray
    keypoints: Keypoints
    confidence: np.ndarray | None = None
    floor: float = 0.0
    corrupted: Mapping[str, Sequence[MetricInput]] = field(default_factory=dict)

    @cached_property
    def labelled(self) -> np.ndarray:
        """bool (N, K)."""
        return ~np.isnan(self.truth[..., 0])

    @cached_property
    def distance(self) -> np.ndarray:
        """float64 (N, K): pixels between prediction and label, NaN where unlabelled."""
        return np.linalg.norm(self.points.astype(np.float64) - self.truth, axis=-1)

    @cached_property
    def pooled(self) -> dict[str, Any]:
        """`KeypointErrors.summary` of all faces, computed once for all metrics that read it."""
        from facekp.functional.pooled_errors import KeypointErrors  # imported here, as torchmetrics takes seconds

        errors = KeypointErrors(self.keypoints, sync_on_compute=False)  # this process has all rows
        errors.update(*(torch.from_numpy(np.array(part)) for part in (self.points, self.truth, self.source)))
        return errors.summary()


class Curve(dict[str, list[float]]):
    """A metric that is a curve: two columns of equal length by name, the first is the x axis."""


Value = float | dict[str, float] | Curve


@dataclass(eq=False)
class Metric:
    """A metric and how it is shown.

    Attributes:
        name: its key in metrics.json; ``NAME/PART`` for each part.
        compute: takes a `MetricInput`. It returns a number, numbers by part (``""`` is the whole), or a `Curve`.
            NaN means that nothing could be measured; such a figure is left out.
        label: what tables and axes call it.
        unit: shown behind the label; empty if it has none. ``fraction`` is shown in per cent on the axis of a curve.
        digits: decimals in tables.
        better: whether lower or higher is better; None if neither is.
        needs_confidence: not computed for baselines, which have no confidence.
        shown: where it appears besides metrics.json and W&B's summary. ``epoch``: metrics.csv and the loggers, after
            every epoch; ``console``: table at the end of a run; ``report``: report pages; ``sweep``: sweep.csv;
            ``dashboard``: panels of the W&B dashboard.
    """

    name: str
    compute: Callable[[MetricInput], Value]
    label: str
    unit: str = ""
    digits: int = 3
    better: Literal["lower", "higher"] | None = None
    needs_confidence: bool = False
    shown: tuple[Place, ...] = PLACES

    def __post_init__(self) -> None:
        functools.update_wrapper(self, self.compute)  # module and name say in messages where it comes from

    def __call__(self, scored: MetricInput) -> dict[str, Any]:
        """Its figures by their key in metrics.json, without those that are NaN or infinite, which JSON does not have.

        Raises:
            UserError: it can't be computed, or returns something else than numbers.
        """
        try:
            value = self.compute(scored)
            if isinstance(value, Curve):
                return {self.name: {name: _column(numbers) for name, numbers in value.items()}}
            parts = value if isinstance(value, dict) else {"": value}
            numbers = {self.key(part): _number(number) for part, number in parts.items()}
        except Exception as error:  # perhaps another package's code
            where = f"{self.compute.__module__}.{self.compute.__qualname__}"
            raise UserError(f"metric {self.name!r} ({where}): {type(error).__name__}: {error}") from error
        return {key: number for key, number in numbers.items() if math.isfinite(number)}

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


def _column(values: Iterable[float]) -> list[float | None]:
    """A column of a curve; None for NaN and infinity."""
    return [value if math.isfinite(value) else None for value in values]


def _number(value: Any) -> float | int:
    number = value.item() if isinstance(value, (np.generic, np.ndarray, Tensor)) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"returned {type(value).__name__}; a metric returns a number, numbers by part, or a Curve")
    return number


class MetricSettings(Settings):
    """A metric has no settings."""

    name: str


METRICS: Registry[Metric] = Registry(
    "metric", key="metrics", base=MetricSettings, entry_points="facekp.metrics", inputs=1
)


def metric(name: str, *, label: str, **details: Any) -> Callable[[Callable[[MetricInput], Value]], Metric]:
    """Decorator that declares a metric.

    Args:
        name: key in metrics.json, of letters, digits, ``_`` and ``/``.
        label: what tables and axes call it.
        details: further attributes of `Metric`: ``unit``, ``digits``, ``better``, ``needs_confidence``, ``shown``.

    Raises:
        UserError: the name is not valid or already taken.
    """
    if not re.fullmatch(r"[A-Za-z]\w*(/\w+)*", name) or name.split("/")[0] in RESERVED:
        raise UserError(
            f"metric {name!r}: not a valid name; use letters, digits, _ and /, but not {', '.join(RESERVED)}"
        )

    def declare(compute: Callable[[MetricInput], Value]) -> Metric:
        declared: Metric = METRICS.register(name)(Metric(name, compute, label, **details))
        return declared

    return declare


def all_metrics() -> list[Metric]:
    """Every metric: facekp's own, those of installed packages, those of ``plugins=``."""
    return [METRICS[name] for name in METRICS.names()]


def metrics_shown(place: Place) -> list[Metric]:
    """The metrics that appear at a place."""
    return [declared for declared in all_metrics() if place in declared.shown]


def epoch_metrics() -> list[Metric]:
    """The metrics of every epoch that `KeypointErrors` does not compute; most often there are none."""
    return [declared for declared in metrics_shown("epoch") if declared.name not in POOLED]


def metric_of(key: str) -> Metric | None:
    """The metric that a key of metrics.json belongs to; None where none is declared.

    Example:
        >>> metric_of("rmse/nose_tip").name, metric_of("rmse/trimmed").name, metric_of("minutes")
        ('rmse', 'rmse/trimmed', None)
    """
    names = [name for name in METRICS.names() if key == name or key.startswith(f"{name}/")]
    return METRICS[max(names, key=len)] if names else None


def keys_of(declared: Metric, keys: Iterable[str]) -> list[str]:
    """Those keys of metrics.json that belong to a metric, in their order."""
    return [key for key in keys if metric_of(key) is declared]


def compute_figures(scored: MetricInput) -> dict[str, Any]:
    """The figures of every metric, by their key in metrics.json.

    Raises:
        UserError: a metric can't be computed.
    """
    figures: dict[str, Any] = {}
    for declared in all_metrics():
        if scored.confidence is not None or not declared.needs_confidence:
            figures |= declared(scored)
    return figures


# facekp's own metrics


@metric("rmse", label="RMSE", unit="px", digits=3, better="lower")
def rmse(scored: MetricInput) -> dict[str, float]:
    """Pooled RMSE of all labelled coordinates, of each source and of each keypoint."""
    figures = {key: value for key, value in scored.pooled.items() if key == "rmse" or key.startswith("rmse/")}
    return {key.removeprefix("rmse").removeprefix("/"): value for key, value in figures.items()}


@metric("nme", label="NME", digits=4, better="lower", shown=("epoch", "console", "report"))
def nme(scored: MetricInput) -> float:
    """Mean distance as a fraction of the distance between the two points that normalise it."""
    return float(scored.pooled.get("nme", np.nan))


@metric("labelled_values", label="labelled values", digits=0, shown=())
def labelled_values(scored: MetricInput) -> int:
    """Labelled coordinates, two per point."""
    return int(scored.pooled["labelled_values"])


@metric("curve", label="points closer", unit="fraction", better="higher", shown=("report",))
def error_curve(scored: MetricInput) -> Curve:
    """Fraction of labelled points closer than 0.1, 0.2, ... px."""
    return Curve(scored.pooled["curve"])


@metric("rmse/trimmed", label="RMSE without the worst 1 %", unit="px", better="lower", shown=("console", "report"))
def trimmed_rmse(scored: MetricInput) -> float:
    """RMSE without the worst hundredth of the labelled values, so that a few wrong labels do not decide it."""
    return _trimmed_rmse(scored)


def _trimmed_rmse(scored: MetricInput) -> float:
    squared = np.square(scored.points - scored.truth, dtype=np.float64)[~np.isnan(scored.truth)]
    return trimmed_mean(squared) ** 0.5 if len(squared) else math.nan


@metric("rmse/corrupted", label="RMSE of corrupted images", unit="px", better="lower", shown=("console", "report"))
def corrupted_rmse(scored: MetricInput) -> float:
    """Mean of the corruptions' RMSE without the worst 1 %; that of a corruption is the mean over its strengths."""
    labelled = [[part for part in parts if part.labelled.any()] for parts in scored.corrupted.values()]
    means = [np.mean([_trimmed_rmse(part) for part in parts]) for parts in labelled if parts]
    return float(np.mean(means)) if means else math.nan


@metric("offset", label="offset of the labels", unit="px", shown=())
def offset(scored: MetricInput) -> dict[str, float]:
    """How many pixels right of the predictions the labels of each source lie: the median of all points."""
    right = (scored.truth - scored.points)[..., 0]  # (N, K)
    by_source = {name: right[scored.source == s] for s, name in enumerate(scored.keypoints.source_names)}
    return {
        name: round(float(np.nanmedian(values)), 3) for name, values in by_source.items() if not np.isnan(values).all()
    }


@metric("below_floor", label="mean face predicted", unit="fraction", digits=4, needs_confidence=True, shown=())
def below_floor(scored: MetricInput) -> float:
    """Fraction of labelled points of a confidence below the floor, where the mean face is predicted instead."""
    assert scored.confidence is not None
    labelled = scored.confidence[scored.labelled]
    return round(float((~(labelled >= scored.floor)).mean()), 4) if len(labelled) else math.nan  # also below: NaN


def trimmed_mean(values: np.ndarray) -> float:
    """Mean without the worst hundredth of the values.

    Example:
        >>> trimmed_mean(np.append(np.ones(99), 1000))
        1.0
    """
    return float(np.sort(values)[: len(values) - len(values) // TRIMMED_ONE_IN].mean())


# The baseline


def mean_face(points: np.ndarray, source: np.ndarray, keypoints: Keypoints) -> np.ndarray:
    """The baseline that every score is compared with: the mean labelled position of each point, by source.

    Args:
        points: (N, K, 2) labels in pixels, NaN where unlabelled.
        source: (N,).
        keypoints: names the sources.

    Returns:
        float32 (S, K, 2). Where a source never labels a point, the mean over all sources; where none does, NaN.
    """
    faces = np.stack([_labelled_mean(points[source == s]) for s in range(len(keypoints.sources))])
    return np.where(np.isnan(faces), _labelled_mean(points)[None], faces).astype(np.float32)


def _labelled_mean(points: np.ndarray) -> np.ndarray:
    labelled = ~np.isnan(points)
    count = labelled.sum(axis=0)
    total = np.where(labelled, points, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
