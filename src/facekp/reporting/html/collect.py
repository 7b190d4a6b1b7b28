"""Finished and stopped runs, read from their folders: paths come in, `Run`s and what was left out go out."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from facekp.core.errors import UserError
from facekp.models.calibration import RELIABILITY

log = logging.getLogger(__name__)
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where PyYAML was built with libyaml

NUMBERS = ["true_x", "true_y", "x", "y", "error"]

TEXTS = ["source", "keypoint"]

NO_MATTER = (  # keys that change nothing about what is learnt or scored
    "out",
    "resume",
    "sweep",
    "debug",
    "logger",
    "callbacks.progress",
    "callbacks.pictures",
    "data.cache",
    "data.device_bytes",
    "data.dir",
    "data.download",
)

REPEATED = ("seed", "data.fold", "data.split_seed")  # keys in which the members of a group may differ


@dataclass(frozen=True, eq=False)
class Run:
    """What a run's folder tells.

    Attributes:
        name: its folder, below the folder that all runs share.
        raw: config.yaml.
        config: the same, flattened (``model.network.stride``), without what doesn't matter.
        figures: metrics.json.
        curve: metrics.csv; empty where there is none.
        predictions: predictions.csv (row, source, keypoint, true_x, true_y, x, y, error); empty where there is none.
        images: a row for every image, indexed by row, source and a sum over its labels, so that only the same labels of
            the same image meet: ``squared`` (sum of squared coordinate errors), ``values`` (labelled coordinates).
        finished: whether it came to its end; the figures of a stopped one are its best epoch's.
        reliability: its checkpoint's (`facekp.models.calibration.Calibration`), where `facekp.calibrate` has calibrated that.
    """

    name: str
    raw: dict[str, Any]
    config: dict[str, Any]
    figures: dict[str, Any]
    curve: pd.DataFrame
    predictions: pd.DataFrame
    images: pd.DataFrame
    finished: bool
    reliability: dict[str, Any] | None = None


@dataclass(frozen=True)
class SkippedRun:
    """A folder that looks like a run's, and why it can't be shown."""

    name: str
    reason: str


def read_runs(paths: Sequence[Path]) -> tuple[list[Run], list[SkippedRun]]:
    """All runs in some folders and below, best first.

    Raises:
        UserError: a path is no folder, or no run with figures is there.
    """
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; name folders of runs or sweeps (settings are written key=value)")
    folders = list(dict.fromkeys(folder.resolve() for path in paths for folder in _run_folders(path)))
    shared = Path(os.path.commonpath([folder.parent for folder in folders])) if folders else Path()
    runs, left_out = [], []
    for folder in folders:
        name = str(folder.relative_to(shared))
        try:
            runs.append(_read_run(folder, name))
        except UserError as error:
            left_out.append(SkippedRun(name, str(error)))
            log.warning("left out: %s: %s", folder, error)
    if not runs:
        why = f"; {left_out[0].name}: {left_out[0].reason}" if left_out else ""
        raise UserError(f"{', '.join(map(str, paths))}: no run with figures here or below{why}; train one first")
    return sorted(runs, key=lambda run: run.figures["rmse"]), left_out


def _run_folders(path: Path) -> Iterator[Path]:
    """Folders with a file that runs leave, in order; nothing inside them, nor in hidden ones, is looked at."""
    for place, inner, files in os.walk(path):
        if {"config.yaml", "metrics.json", "status.json"} & set(files):
            inner.clear()
            yield Path(place)
        inner[:] = sorted(name for name in inner if not name.startswith("."))


def _read_run(folder: Path, name: str) -> Run:
    figures = _read_figures(folder)
    if not (folder / "config.yaml").is_file():
        raise UserError("no config.yaml: a scoring, not a training")
    raw = _read_config(folder / "config.yaml")
    predictions = _read_table(folder / "predictions.csv", ["row", *TEXTS, *NUMBERS], others=False)
    finished = bool(figures.get("finished", True))
    if not finished:
        log.warning("unfinished: %s: shown by the best of its %s epochs", folder, figures.get("epochs", "?"))
    return Run(
        name=name,
        raw=raw,
        config={key: value for key, value in flatten(raw).items() if not _is_one_of(key, NO_MATTER)},
        figures=figures,
        curve=_read_table(folder / "metrics.csv", ["epoch"], others=True),
        predictions=predictions,
        images=by_image(predictions),
        finished=finished,
        reliability=_read_reliability(folder / RELIABILITY),
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.load(path.read_text(), Loader=YAML)
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} can't be read ({str(error).splitlines()[0]})") from error
    if not isinstance(config, dict):
        raise UserError(f"{path.name} holds no settings")
    return config


def _read_figures(folder: Path) -> dict[str, Any]:
    """metrics.json.

    Raises:
        UserError: there is none, and why, as far as the folder tells; or it isn't what a run writes.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise UserError(_why_no_figures(folder))
    try:
        figures = json.loads(path.read_text())
        if not math.isfinite(figures["rmse"] + figures["mean_face"]["rmse"]):
            raise ValueError("an RMSE is not finite")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"metrics.json is not what a run writes ({type(error).__name__}: {error})") from error
    return dict(figures)


def _read_reliability(path: Path) -> dict[str, Any] | None:
    """None where there is none, and, with a line in the log, where it can't be read."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        return {key: [float(value) for value in found[key]] for key in ("expected", "measured")}
    except (ValueError, KeyError, TypeError, OSError) as error:
        log.warning("%s: not shown: %s: %s", path, type(error).__name__, error)
        return None


def _why_no_figures(folder: Path) -> str:
    try:
        status = json.loads((folder / "status.json").read_text())
        return f"no metrics.json: {status['status']}: {status['message']}".strip(": ")
    except (ValueError, KeyError, TypeError, OSError):
        return "no metrics.json: unfinished"


def _read_table(path: Path, needed: list[str], others: bool) -> pd.DataFrame:
    """A CSV file's columns, or only those needed; empty, with a line in the log, where it can't be read."""
    kinds: dict[str, Any] = {**dict.fromkeys(TEXTS, "category"), **dict.fromkeys(NUMBERS, "float32")}
    try:
        found = pd.read_csv(path, dtype=kinds, usecols=lambda column: others or column in needed)
        if set(needed) - set(found):
            raise ValueError(f"lacks {sorted(set(needed) - set(found))[0]}")
        return found.dropna(subset=needed)
    except FileNotFoundError:
        return pd.DataFrame(columns=needed)
    except (ValueError, OSError) as error:
        log.warning("%s: not shown: %s", path, str(error).splitlines()[0])
        return pd.DataFrame(columns=needed)


def by_image(predictions: pd.DataFrame) -> pd.DataFrame:
    """Squared errors summed by image (`Run.images`)."""
    frame = pd.DataFrame(
        {
            "row": predictions["row"],
            "source": predictions["source"],
            "labels": (predictions["true_x"] + 3 * predictions["true_y"]).astype(float),
            "squared": predictions["error"].astype(float) ** 2,
            "values": 2,
        }
    )
    summed = frame.groupby(["row", "source"], sort=True, as_index=False, observed=True).sum()
    summed["source"] = summed["source"].astype(str)
    summed["labels"] = summed["labels"].round(1)
    return summed.set_index(["row", "source", "labels"])


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one dictionary of dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _is_one_of(key: str, groups: Sequence[str]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def differing(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Keys whose value is not the same in all of some flat configs, in their order; one that lacks a key differs."""
    keys = list(dict.fromkeys(key for config in configs for key in config))
    return [key for key in keys if len({_word(config, key) for config in configs}) > 1]


def _word(config: dict[str, Any], key: str) -> str:
    """A value for comparing: 1 and 1.0 are one."""
    value = config.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:.12g}"
    return repr(value) if key in config else ""


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """What a table's head calls a key: its last part, the group for ``.name``; the whole where two keys end alike."""
    last = {key: key.removesuffix(".name").rsplit(".", 1)[-1] for key in keys}
    return {key: word if list(last.values()).count(word) == 1 else key for key, word in last.items()}


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing but what is repeated (seed, fold), under what tells them from other groups."""

    name: str
    runs: list[Run]

    @property
    def images(self) -> pd.DataFrame:
        """As `Run.images`; an image that several runs predicted has the mean of their squared errors."""
        return pd.concat([run.images for run in self.runs]).groupby(level=[0, 1, 2], sort=True).mean()


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """The groups of some runs, in the order of each one's first run."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        fixed = [f"{key}={_word(run.config, key)}" for key in sorted(run.config) if key not in REPEATED]
        members.setdefault("\n".join(fixed), []).append(run)
    keys = [key for key in differing([own[0].config for own in members.values()]) if key not in REPEATED]
    heads = short_names(keys)
    groups = []
    for own in members.values():
        settings = [f"{heads[key]}={own[0].config[key]}" for key in keys if key in own[0].config]
        groups.append(Group(" ".join(settings) or "all runs", own))
    return groups
