"""Runs for a report, read from their folders: paths go in, `Run` objects and the skipped folders come out."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import pandas as pd

from facekp.config.arguments import key_of
from facekp.core.console import count, values_text
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import flatten
from facekp.data.digests import CONTENT
from facekp.functional.metrics import MAIN, metric_of
from facekp.reporting.html.names import brief_names
from facekp.runs.file_checks import MAX_NUMBER, reading
from facekp.runs.folder import FIND, RunFolder, find_runs
from facekp.runs.resume_arguments import DATA_FILES
from facekp.runs.sweeps.job_names import MAPPINGS, REPETITION_KEYS

log = logging.getLogger(__name__)
T = TypeVar("T")

# Keys that change neither what is learnt nor how it is scored.
IGNORED = (
    "out",
    "resume",
    "sweep",
    "debug",
    "plugins",
    "logger",
    "callbacks.progress",
    "callbacks.pictures",
    "data.cache",
    "data.device_bytes",
    "data.download",
)
FINISHED, UNFINISHED, PRUNED = "finished", "unfinished", "pruned"  # states of runs
SHOWN_DIGITS = 8  # of the digests of the data; 32 bits tell the data of some thousand runs apart


@dataclass(frozen=True, eq=False)
class Run:
    """The content of a run's folder.

    Attributes:
        name: path of the folder, relative to the folder that all runs have in common.
        short_name: of tables and figures (`brief_names`).
        config: config.yaml, with the keys of this version.
        compared: its values by dotted key (``model.network.stride``), without those that change no result.
        metrics: metrics.json.
        curves: metrics.csv; no rows if the file does not exist.
        predictions: columns row, source, keypoint, true_x, true_y, x, y, error; no rows if the file does not exist.
        images: squared errors summed by image (`by_image`).
        finished: whether the training has ended; the metrics of an unfinished run are those of its best epoch.
        pruned: whether a search ended the training early.
        written: when metrics.json was written, in seconds.
        reliability: of the run's checkpoint, once ``facekp.calibrate`` has calibrated it.
        corruptions: corruptions.csv; no rows if the file does not exist.
        corrupted_reliability: as ``reliability``, for corrupted images.
        digests: data.yaml, by which data are the same whatever folder they are in; empty where one of the runs, of an
            older version, has none.
    """

    name: str
    short_name: str
    config: dict[str, Any]
    compared: dict[str, Any]
    metrics: dict[str, Any]
    curves: pd.DataFrame
    predictions: pd.DataFrame
    images: pd.DataFrame
    finished: bool
    pruned: bool = False
    written: float = 0.0
    reliability: dict[str, list[float]] | None = None
    corruptions: pd.DataFrame = field(default_factory=pd.DataFrame)
    corrupted_reliability: dict[str, list[float]] | None = None
    digests: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """``finished``, ``unfinished`` or ``pruned``."""
        if self.pruned:
            return PRUNED
        return FINISHED if self.finished else UNFINISHED

    @property
    def is_complete(self) -> bool:
        """Whether the run was trained to its end, so that its figures can be compared with those of others."""
        return self.state == FINISHED

    @property
    def baseline(self) -> float | None:
        """RMSE of the mean face on the same images; None where it has none."""
        return self.metrics["mean_face"].get(MAIN)

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The metrics that are numbers."""
        return {key: value for key, value in self.metrics.items() if isinstance(value, (int, float))}

    @property
    def gain(self) -> float | None:
        """By which fraction the RMSE is lower than the mean face's; negative if it is higher."""
        return None if not self.baseline else 1 - float(self.metrics[MAIN]) / self.baseline

    @property
    def split(self) -> str:
        """Which labelled images were held out: the data, the size of the images, the fold and seed, or the subset."""
        data = self.config["data"]
        seed = f", split seed {data['split_seed']}" if data.get("split_seed") else ""
        side = f" at {data['size']} px" if data.get("size") else ""
        files = "".join(f" {data[key]}" for key in ("dir", "images", "labels") if data.get(key))
        rows = f", {count(data['rows'], 'row')}" if data.get("rows") else ""
        content = f", labels {self.digests['labels'][:SHOWN_DIGITS]}" if self.digests else f"{files}{rows}"
        if data.get("held_out"):
            return f"{data.get('name')}{content}{side}, held out {values_text(data['held_out'])}"
        return f"{data.get('name')}{content}{side}, fold {data.get('fold')} of {data.get('folds')}{seed}"

    @property
    def side(self) -> int | None:
        """The size of the images in pixels; None where the data have one size only."""
        size = self.config["data"].get("size")
        return size if isinstance(size, int) else None


@dataclass(frozen=True)
class SkippedRun:
    """A folder of a run that can't be shown, and why."""

    name: str
    reason: str


def read_runs(paths: Sequence[Path]) -> tuple[list[Run], list[SkippedRun]]:
    """All runs in some folders and below them: finished ones first, each part by increasing RMSE.

    Raises:
        UserError: a path is not a folder, or none of the folders holds a run with metrics.
    """
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; name folders of runs or sweeps (settings are written key=value)")
    folders = list(dict.fromkeys(folder.path.resolve() for path in paths for folder in find_runs(path)))
    common = Path(os.path.commonpath([folder.parent for folder in folders])) if folders else Path()
    names = [str(folder.relative_to(common)) for folder in folders]
    brief = brief_names(names)
    runs, skipped = [], []
    for folder, name in zip(folders, names, strict=True):
        try:
            runs.append(_read_run(RunFolder(folder), name, brief[name]))
        except UserError as error:
            skipped.append(SkippedRun(name, str(error)))
            log.warning("skipped: %s: %s", folder, error)
    if not runs:
        why = f"; {skipped[0].name}: {skipped[0].reason}" if skipped else ""
        raise UserError(
            f"{', '.join(map(str, paths))}: there is no run with metrics in or below this folder{why}; name "
            "folders of trainings"
        )
    if not all(run.digests for run in runs):  # an older run's data can be compared by their folder only
        runs = [replace(run, digests={}) for run in runs]
    return sorted(runs, key=lambda run: (not run.is_complete, run.metrics[MAIN])), skipped


def _read_run(folder: RunFolder, name: str, short_name: str) -> Run:
    curves = _or_empty(folder.read_curves, RunFolder("").read_curves)
    metrics = _read_metrics(folder, curves)
    if not folder.config.is_file():
        raise UserError(f"no {folder.config.name}: written by facekp.evaluate, not by a training")
    config = _read_config(folder)
    predictions = _or_empty(folder.read_predictions, RunFolder("").read_predictions)
    finished = bool(metrics.get("finished", True))
    if not finished:
        log.warning("unfinished: %s: shown by its best epoch so far, of %s", folder, metrics.get("epochs", "?"))
    digests = _read_digests(folder)
    overrides: list[str] = _or_empty(folder.read_overrides, list) if folder.overrides.is_file() else []
    return Run(
        name=name,
        short_name=short_name,
        config=config,
        compared=_compared(config, digests, folder.has_searched_lr(), overrides),
        metrics=metrics,
        curves=curves,
        predictions=predictions,
        images=by_image(predictions, _or_empty(folder.read_groups, lambda: None)),
        digests=digests,
        finished=finished,
        pruned=folder.known_status().status == PRUNED,
        written=folder.metrics.stat().st_mtime,
        reliability=_or_empty(folder.read_reliability, lambda: None),
        corruptions=_or_empty(folder.read_corruptions, RunFolder("").read_corruptions),
        corrupted_reliability=_or_empty(folder.read_corrupted_reliability, lambda: None),
    )


def _read_config(folder: RunFolder) -> dict[str, Any]:
    """config.yaml.

    Raises:
        UserError: a training did not write it.
    """
    config = folder.read_config()
    try:
        Keypoints.from_dict(config["keypoints"])
    except Exception as error:  # values of other types raise all sorts of errors
        raise UserError(f"{folder.config}: its keypoints are damaged ({error})") from error
    return config


def _compared(
    config: dict[str, Any], digests: dict[str, Any], searched_lr: bool, overrides: Sequence[str]
) -> dict[str, Any]:
    """`Run.compared`: the settings, and what identifies the data.

    Args:
        config: config.yaml.
        digests: data.yaml; equal ones are of equal data, whatever folder the files were in. Empty for older runs, whose
            data are identified by the folder.
        searched_lr: whether the run was trained with ``lr=find``. Such runs are the same recipe, whatever rate each of
            them found.
        overrides: of the run. A value that follows from the fold or the seed, such as
            ``init_from=fold${data.fold}.ckpt``, is compared as it was written, so that runs of all folds are a group.
    """
    settings = {key: value for key, value in flatten(config, whole=MAPPINGS).items() if not _is_one_of(key, IGNORED)}
    for key, text in ((key_of(text), text.partition("=")[2].replace("\\", "")) for text in overrides):
        if key in settings and any(f"${{{repeated}}}" in text for repeated in REPETITION_KEYS):
            settings[key] = text
    if searched_lr:
        settings["lr"] = FIND
    if not digests:
        return settings
    for key in DATA_FILES:
        settings.pop(key, None)
    return {**settings, "data.content": _content(digests)}


def _is_one_of(key: str, groups: Sequence[str]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def _read_digests(folder: RunFolder) -> dict[str, Any]:
    """The digests of the images and labels in data.yaml; empty where it lacks one of them."""
    digests: dict[str, Any] = _or_empty(folder.read_data, dict)
    return {part: str(digests[part]) for part in CONTENT} if set(CONTENT) <= digests.keys() else {}


def _content(digests: dict[str, Any]) -> str:
    return ", ".join(f"{part} {str(digests[part])[:SHOWN_DIGITS]}" for part in CONTENT)


def _read_metrics(folder: RunFolder, curves: pd.DataFrame) -> dict[str, Any]:
    """metrics.json, with the figures of the mean face, empty where it has none.

    Args:
        folder: of the run.
        curves: its metrics.csv.

    Raises:
        UserError: it does not exist, has no RMSE, or a run did not write it.
    """
    if not folder.metrics.is_file():
        raise UserError(f"no {folder.metrics.name}: {_why_unfinished(folder)}")
    metrics = {"mean_face": {}, **folder.read_metrics(curves)}
    if MAIN not in metrics and "labelled_values" in metrics:
        raise UserError(f"{folder.metrics}: has no RMSE, as no labelled point could be scored")
    with reading(folder.metrics):
        if not all(math.isfinite(rmse) for rmse in (metrics[MAIN], metrics["mean_face"].get(MAIN, 0))):
            raise ValueError("an RMSE is not finite")
        for key, value in (*metrics.items(), *metrics["mean_face"].items()):
            if metric_of(key) is not None and not _is_figure(value):
                raise ValueError(f"{key} is {str(value)[:40]!r}")
        for key, bounds in metrics.get("intervals", {}).items():
            if not isinstance(bounds, list) or len(bounds) != 2 or not all(map(_is_finite, bounds)):
                raise ValueError(f"the interval of {key} is {str(bounds)[:40]!r}")
    return metrics


def _is_figure(value: Any) -> bool:
    """Whether a value is a finite number, or a curve: two columns of equal length."""
    if not isinstance(value, dict):
        return _is_finite(value)
    columns = list(value.values())
    if len(columns) != 2 or not all(isinstance(column, list) for column in columns):
        return False
    same_length = len(columns[0]) == len(columns[1])
    return same_length and all(number is None or _is_finite(number) for column in columns for number in column)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MAX_NUMBER


def _why_unfinished(folder: RunFolder) -> str:
    try:
        status = folder.read_status()
    except UserError:
        return "unfinished"
    return f"{status.status or 'unfinished'}: {status.message}".removesuffix(": ")


def _or_empty(read: Callable[[], T], empty: Callable[[], T]) -> T:
    """What a file holds; a file that is damaged is logged, and counts as if it did not exist."""
    try:
        return read()
    except UserError as error:
        log.warning("not shown: %s", error)
        return empty()


def by_image(predictions: pd.DataFrame, groups: pd.Series | None = None) -> pd.DataFrame:
    """Squared errors summed by image.

    Args:
        predictions: of `facekp.runs.folder.RunFolder.read_predictions`.
        groups: of `facekp.runs.folder.RunFolder.read_groups`; None: each image is its own group.

    Returns:
        Columns ``squared`` (sum of squared coordinate errors), ``values`` (labelled coordinates) and ``group`` (equal
        for near-duplicates and faces of one photo), one row per image. The index is row, source and a sum over the
        labels, so that runs are only compared on equal labels. Each keypoint has another weight in the sum, as two
        points whose names were exchanged are other labels.
    """
    source, names = pd.factorize(predictions["source"], sort=True)
    sources = max(len(names), 1)
    place = predictions["row"].to_numpy(np.int64) * sources + source
    images, image = np.unique(place, return_inverse=True)
    x, y, error = (predictions[column].to_numpy(np.float64) for column in ("true_x", "true_y", "error"))
    keypoint, points = pd.factorize(predictions["keypoint"])
    weight = np.array([1 + crc32(str(name).encode()) % 1000 / 100 for name in points])[keypoint]
    sums = (weight * (x + 3 * y), error**2)
    labels, squared = (np.bincount(image, values, len(images)).astype(float) for values in sums)
    row, name = np.divmod(images, sources)
    index = [row, np.asarray(names, str)[name], labels.round(1)]
    group = row if groups is None else groups.reindex(row).fillna(pd.Series(row, index=row)).to_numpy(np.int64)
    return pd.DataFrame(
        {"squared": squared, "values": 2 * np.bincount(image, minlength=len(images)), "group": group},
        index=pd.MultiIndex.from_arrays(index, names=["row", "source", "labels"]),
    )
