"""A run's folder: what is written there, atomically, and where it may be.

config.yaml       the resolved config, written once; the authority when the run is resumed
overrides.yaml    what the command line changed
git.txt           the revision of the code, where it runs from a checkout
split.csv         row, fold, set and group of every row, and the photo it was cut out of
metrics.csv       the curves, a row an epoch
metrics.json      the best checkpoint's figures on validation, the baseline beside them, and whether the run is finished
predictions.csv   every labelled validation point: row, set, source, keypoint, truth, prediction, confidence, error; of
                  photos also name, and truth and prediction in the photo's own pixels
checkpoints/      best.ckpt and last.ckpt
pictures/         faces, heatmaps, curves
status.json       of a sweep's job: how it stands (facekp.runs.sweep)
wandb/            what W&B's client keeps, with logger=wandb; wandb.yaml: the W&B run's id and group
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from hydra.core.hydra_config import HydraConfig

from facekp.config.rules import check
from facekp.core.errors import UserError
from facekp.core.files import write_text, write_yaml
from facekp.data.table import FaceTable


def write_origin(folder: Path) -> None:
    """overrides.yaml and git.txt: what the command line changed, and the revision of the code."""
    write_yaml(folder / "overrides.yaml", list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else [])
    write_text(folder / "git.txt", f"{git_revision() or 'no checkout'}\n")


def check_new_folder(folder: Path) -> None:
    """A run's own folder must be new, and its path fit for ``ckpt=`` and ``resume=`` as it stands.

    Raises:
        UserError: it holds a run already, or its name is not fit.
    """
    check({"out": str(folder)})  # a sweep makes it of what differs
    if (folder / "config.yaml").exists():
        raise UserError(f"out={folder}: holds a run already; choose another out=, or go on with resume={folder}")


def read_config(folder: Path, groups: Iterable[str]) -> dict[str, Any]:
    """config.yaml of a run's folder.

    Args:
        folder: of the run.
        groups: keys it must hold.

    Raises:
        UserError: there is none, or it is not what a run writes.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"resume={folder}: {path} does not exist; name the folder of a run")
    try:
        config = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"resume={folder}: {path} is no YAML: {str(error).splitlines()[0]}") from error
    missing = set(groups) - set(config if isinstance(config, dict) else ())
    if missing:
        raise UserError(f"resume={folder}: {path} lacks {sorted(missing)[0]}; it is not what a run wrote")
    return config


def read_curve(folder: Path) -> pd.DataFrame | None:
    """metrics.csv of a training; None where there is none with minutes."""
    path = folder / "metrics.csv"
    curve = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    return curve.dropna(subset="minutes") if "minutes" in curve else None


def read_figures(folder: Path) -> dict[str, Any]:
    """metrics.json, empty where there is none; ``minutes`` are the curves', which go on over a resume."""
    path, curve = folder / "metrics.json", read_curve(folder)
    figures = json.loads(path.read_text()) if path.is_file() else {}
    if curve is not None and len(curve):
        figures["minutes"] = curve["minutes"].iloc[-1]
    return figures


def git_revision() -> str | None:
    """Commit of the checkout this very file belongs to, with ``-dirty`` where files differ; None elsewhere."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # an installed copy inside another project is not it
        return git("describe", "--always", "--dirty", "--abbrev=40")
    except (OSError, subprocess.CalledProcessError):
        return None


def split_frame(
    table: FaceTable, fold_of: np.ndarray, groups: np.ndarray, train: np.ndarray, val: np.ndarray
) -> pd.DataFrame:
    """Which row went where: columns row, source, group, fold, set (train, val or unused); of photos also name."""
    part = np.full(len(table), "unused", dtype=object)
    part[train], part[val] = "train", "val"
    source = np.array(table.keypoints.source_names)[table.source]
    group = table.row[groups]
    frame = pd.DataFrame({"row": table.row, "source": source, "group": group, "fold": fold_of, "set": part})
    return frame if table.name is None else frame.assign(name=table.name)


def predictions_frame(table: FaceTable, part: str, points: np.ndarray, confidence: np.ndarray) -> pd.DataFrame:
    """Every labelled point of a table beside its prediction; positions and errors in pixels.

    Of faces cut out of photos also ``name`` (of the photo), and ``photo_true_x`` … ``photo_y`` in the photo's pixels.
    """
    n, k = np.nonzero(table.mask)
    truth, found = table.points[n, k], points[n, k]
    frame = pd.DataFrame(
        {
            "row": table.row[n],
            "set": part,
            "source": np.array(table.keypoints.source_names)[table.source[n]],
            "keypoint": np.array(table.keypoints.names)[k],
            "true_x": truth[:, 0],
            "true_y": truth[:, 1],
            "x": found[:, 0],
            "y": found[:, 1],
            "confidence": confidence[n, k],
            "error": np.linalg.norm(found - truth, axis=1),
        }
    )
    if table.name is None:
        return frame
    truth, found = (table.in_source(own)[n, k].round(3) for own in (table.points, points))
    columns = ["photo_true_x", "photo_true_y", "photo_x", "photo_y"]
    return frame.assign(name=table.name[n], **dict(zip(columns, [*truth.T, *found.T], strict=True)))
