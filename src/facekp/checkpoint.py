"""Checkpoints: plain values and tensors that rebuild a detector and tell which images trained it.

A file comes in, a `Trained` goes out. Files are read with ``weights_only=True``; a network is rebuilt from its name in
facekp's registry, so no code named in a file ever runs. The starting system's published weights are read as well.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from facekp.conf import CONF_DIR
from facekp.detector import Detector
from facekp.errors import UserError
from facekp.seed import seed_state_dict

KEY = "facekp"  # of our entry in a Lightning checkpoint
FORMAT = 1
WEIGHTS = "detector."  # prefix of the detector's tensors in the Lightning module's state
SHIPPED = Path(__file__).parent / "weights" / "shipped.ckpt"


@dataclass(frozen=True)
class Trained:
    """What a checkpoint holds beside the optimiser's state.

    Attributes:
        path: the file.
        detector: in evaluation mode, on the CPU.
        trained_on: int64 hashes (`facekp.data.split.image_hashes`) of all images that trained it, those of the
            checkpoints it started from included; None where the file doesn't tell.
        mean_face: (S, K, 2) pixels, the mean of the rows outside validation, NaN where unknown; the answer where a
            map says nothing.
        config: the resolved training config; empty where the file doesn't tell.
    """

    path: Path
    detector: Detector
    trained_on: np.ndarray | None
    mean_face: np.ndarray
    config: dict[str, Any]


def describe(
    detector: Detector, trained_on: np.ndarray | None, mean_face: np.ndarray, config: dict[str, Any]
) -> dict[str, Any]:
    """Our entry in a checkpoint: plain dicts, lists, strings, numbers and tensors."""
    return {
        "format": FORMAT,
        **detector.settings(),
        "trained_on": None if trained_on is None else torch.from_numpy(np.unique(trained_on)),
        "mean_face": torch.from_numpy(mean_face),
        "config": config,
    }


def load_checkpoint(path: str | Path) -> Trained:
    """Read a checkpoint of this framework, or the starting system's published weights.

    Args:
        path: a file, or ``shipped`` for the one inside the package.

    Raises:
        UserError: no such file, no checkpoint, one of another program or of a newer facekp, weights that don't fit.
    """
    path = SHIPPED if str(path) == "shipped" else Path(path)
    raw = read_tensors(path)
    state = seed_state_dict(raw)
    entry: Mapping[str, Any]
    if state is not None:
        entry = _seed_entry()
        state = {f"network.{key}": value for key, value in state.items()}
    else:
        entry = raw.get(KEY) or {}
        _check_format(path, entry)
        state = {k.removeprefix(WEIGHTS): v for k, v in raw["state_dict"].items() if k.startswith(WEIGHTS)}
    detector = Detector.from_settings(entry)
    _load_state(path, detector, state)
    trained_on = entry["trained_on"]
    return Trained(
        path=path,
        detector=detector.eval().requires_grad_(False),
        trained_on=None if trained_on is None else trained_on.numpy(),
        mean_face=entry["mean_face"].numpy(),
        config=dict(entry["config"]),
    )


def read_tensors(path: Path) -> dict[str, Any]:
    """The plain content of a torch file.

    Raises:
        UserError: it is missing or no torch file of plain values.
    """
    if not path.is_file():
        what = "is a folder; name the .ckpt file in it" if path.is_dir() else "does not exist"
        raise UserError(f"ckpt={path}: {what}")
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError) as error:
        raise UserError(f"ckpt={path}: is no checkpoint ({_first_line(error)}); give one of facekp.train") from error
    if not isinstance(raw, dict):
        raise UserError(f"ckpt={path}: holds a {type(raw).__name__}, no checkpoint; give a .ckpt of facekp.train")
    return raw


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _check_format(path: Path, entry: Mapping[str, Any]) -> None:
    if entry.get("format") is None:
        raise UserError(f"ckpt={path}: was not written by facekp (no {KEY!r} entry); give a .ckpt of facekp.train")
    if entry["format"] > FORMAT:
        raise UserError(f"ckpt={path}: format {entry['format']} is newer than this facekp reads ({FORMAT}); update it")


def _load_state(path: Path, detector: Detector, state: dict[str, Tensor]) -> None:
    try:
        detector.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        detail = lines[1].strip() if len(lines) > 1 else lines[0]
        raise UserError(f"ckpt={path}: the weights don't fit their own settings: {detail[:160]}") from error


def _seed_entry() -> dict[str, Any]:
    """The settings of the starting system, which its file doesn't hold."""

    def conf(name: str) -> dict[str, Any]:
        return yaml.safe_load((CONF_DIR / f"{name}.yaml").read_text())

    keypoints, loss = conf("keypoints/kaggle15"), conf("loss/mse")
    shape = (len(keypoints["sources"]), len(keypoints["names"]), 2)
    return {
        "keypoints": keypoints,
        "size": [96, 96],
        "model": conf("model/hourglass_seed"),
        "activation": loss["activation"],
        "decoder": conf("decoder/argmax"),
        "trained_on": None,
        "mean_face": torch.full(shape, torch.nan),
        "config": {},
    }
