"""Checkpoints: plain values and tensors that rebuild a model and tell which images trained it.

A file comes in, a `LoadedCheckpoint` goes out. Files are read with ``weights_only=True``; a network is rebuilt from its name in
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

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.models.keypoint_model import KeypointModel
from facekp.networks.published_weights import published_state_dict

KEY = "facekp"  # of our entry in a Lightning checkpoint

FORMAT = 2  # 1: written by 0.1, whose tensors are named PREFIXES[1] + name

PREFIXES = {1: "detector.", 2: "model."}  # of the model's tensors in state_dict, by format

PREFIX = PREFIXES[FORMAT]

SHIPPED = Path(__file__).parent / "weights" / "shipped.ckpt"


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What a checkpoint holds beside the optimiser's state.

    Attributes:
        path: the file.
        model: in evaluation mode, on the CPU.
        trained_on: int64 hashes (`facekp.data.split.image_hashes`) of all images that trained it, those of the
            checkpoints it started from included; None where the file doesn't tell.
        config: the resolved training config; empty where the file doesn't tell.
    """

    path: Path
    model: KeypointModel
    trained_on: np.ndarray | None
    config: dict[str, Any]


def describe(model: KeypointModel, trained_on: np.ndarray | None, config: dict[str, Any]) -> dict[str, Any]:
    """Our entry in a checkpoint: plain dicts, lists, strings, numbers and tensors."""
    return {
        "format": FORMAT,
        **model.settings(),
        "trained_on": None if trained_on is None else torch.from_numpy(np.unique(trained_on)),
        "config": config,
    }


def load_checkpoint(path: str | Path) -> LoadedCheckpoint:
    """Read a checkpoint of this framework, or the starting system's published weights.

    Args:
        path: a file, or ``shipped`` for the one inside the package.

    Raises:
        UserError: no such file, no checkpoint, one of another program or of a newer facekp, weights that don't fit.
    """
    path = SHIPPED if str(path) == "shipped" else Path(path)
    raw = read_tensors(path)
    seed = published_state_dict(raw)
    try:
        entry, state = _own_entry(path, raw) if seed is None else _seed_entry(seed)
        model = KeypointModel.from_settings(entry)
        trained_on, config = entry["trained_on"], dict(entry["config"])
        hashes = None if trained_on is None else trained_on.numpy()
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: its settings are damaged ({type(error).__name__}: {error}); train it anew") from error
    if seed is not None:
        state["mean_face"] = model.mean_face
    _load_state(path, model, state)
    return LoadedCheckpoint(path=path, model=model.eval().requires_grad_(False), trained_on=hashes, config=config)


def load_checkpoints(ckpt: str | list[str]) -> list[LoadedCheckpoint]:
    """What ``ckpt=`` names: one file, ``shipped``, or a list of them; errors as for `load_checkpoint`."""
    return [load_checkpoint(path) for path in (ckpt if isinstance(ckpt, list) else [ckpt])]


def read_tensors(path: Path) -> dict[str, Any]:
    """The plain content of a torch file.

    Raises:
        UserError: it is missing or no torch file of plain values.
    """
    if not path.is_file():
        what = "is a folder; name the .ckpt file in it" if path.is_dir() else "does not exist"
        raise UserError(f"{path}: {what}")
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: is no checkpoint of plain values and tensors; give one of facekp.train") from error
    except Exception as error:  # whatever unpickling makes of foreign bytes
        raise UserError(f"{path}: is no checkpoint ({_first_line(error)}); give one of facekp.train") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: holds a {type(raw).__name__}, no checkpoint; give a .ckpt of facekp.train")
    return raw


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _own_entry(path: Path, raw: dict[str, Any]) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """Our entry in a Lightning checkpoint, and the model's tensors."""
    entry = raw.get(KEY)
    if not isinstance(entry, dict) or not isinstance(entry.get("format"), int):
        raise UserError(f"{path}: was not written by facekp (no {KEY!r} entry); give a .ckpt of facekp.train")
    if entry["format"] > FORMAT:
        raise UserError(f"{path}: format {entry['format']} is newer than this facekp reads ({FORMAT}); update it")
    return entry, model_tensors(raw)


def model_tensors(raw: Mapping[str, Any]) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint of facekp, by the names that `KeypointModel.state_dict` gives them."""
    prefix = PREFIXES[raw[KEY]["format"]]
    return {key.removeprefix(prefix): value for key, value in raw["state_dict"].items() if key.startswith(prefix)}


def upgrade_names(raw: dict[str, Any]) -> None:
    """Rename the tensors of a training checkpoint that an older facekp wrote, in place, to what is used now."""
    old = PREFIXES[raw[KEY]["format"]]
    for state in ("state_dict", "current_model_state"):  # the second one: Lightning's averaged weights
        if state in raw and old != PREFIX:
            raw[state] = {PREFIX + k.removeprefix(old) if k.startswith(old) else k: v for k, v in raw[state].items()}


def _load_state(path: Path, model: KeypointModel, state: dict[str, Tensor]) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        detail = lines[1].strip() if len(lines) > 1 else lines[0]
        raise UserError(f"{path}: the weights don't fit their own settings: {detail[:160]}") from error


def _seed_entry(state: dict[str, Tensor]) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """The settings of the starting system, which its file doesn't hold, and its tensors by the model's names."""

    def conf(name: str) -> dict[str, Any]:
        return yaml.safe_load((CONF_DIR / f"{name}.yaml").read_text())

    entry = {
        "keypoints": conf("keypoints/kaggle15"),
        "size": [96, 96],
        "model": conf("model/hourglass_seed"),
        "activation": conf("loss/mse")["activation"],
        "decoder": conf("decoder/argmax"),
        "trained_on": None,
        "config": {},
    }
    return entry, {f"network.{name}": value for name, value in state.items()}
