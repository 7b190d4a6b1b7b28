"""Checkpoints: plain values and tensors that rebuild a model, and the hashes of its training images.

A file comes in, a `LoadedCheckpoint` goes out. Every byte of a file is compared with its checksums first
(`facekp.core.archive`). Files are read with ``weights_only=True`` and a network is rebuilt from its name in
`facekp.networks.base.NETWORKS`, so code in a file never runs and nothing that a file names is imported. The weights of
the published system are read as well; their file has no checksums.
"""

from __future__ import annotations

import pickle
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from facekp.config.location import CONF_DIR
from facekp.config.migration import migrate
from facekp.core.archive import DamagedArchive, check_archive, is_archive
from facekp.core.errors import UserError, first_line
from facekp.core.registry import Registry
from facekp.functional.decoders import DECODERS
from facekp.functional.finite import first_not_finite
from facekp.models.keypoint_model import KeypointModel
from facekp.models.packaged import file_of
from facekp.networks.base import NETWORKS
from facekp.networks.published_weights import published_state_dict

KEY = "facekp"  # of facekp's entry in a Lightning checkpoint
FORMAT = 2  # 1: written by 0.1, which named the tensors PREFIXES[1] + name
PREFIXES = {1: "detector.", 2: "model."}  # of the model's tensors in state_dict, by format
PREFIX = PREFIXES[FORMAT]
EXPORTED = (".onnx", ".pt2")  # names of files of facekp.export end so
RESUMED_STATE = ("state_dict", "current_model_state", "optimizer_states")  # tensors that a resumed training restores

MAX_MESSAGE_LENGTH = 400  # characters of a message, which may quote a value of any size

Entry = dict[str, Any]


@dataclass(frozen=True)
class LoadedCheckpoint:
    """The content of a checkpoint without the optimiser's state.

    Attributes:
        path: the file.
        model: in evaluation mode, on the CPU.
        trained_on: int64 hashes (`facekp.data.near_duplicates.face_hashes`) of all its training faces, including
            those of the checkpoints it started from; None where the file does not record them.
        config: the resolved training config with the keys of this version; empty where the file has none.
        labels: int64 (S, K), how many labels trained the heatmap that each source's point is read from
            (`KeypointModel.labels_by_heatmap`); None where the file does not record them.
    """

    path: Path
    model: KeypointModel
    trained_on: np.ndarray | None
    config: dict[str, Any]
    labels: np.ndarray | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The settings of the training's data; empty where they are unknown."""
        return self.config.get("data") or {}


def describe(
    model: KeypointModel, trained_on: np.ndarray | None, config: dict[str, Any], labels: np.ndarray | None
) -> Entry:
    """Facekp's entry in a checkpoint: plain dictionaries, lists, strings, numbers and tensors.

    Args:
        model: its settings are kept; its tensors are not part of the entry.
        trained_on: int64 hashes; None: unknown.
        config: the resolved training config as plain values.
        labels: int64 (S, K), as in `LoadedCheckpoint`; None: unknown.
    """
    return {
        "format": FORMAT,
        **model.to_dict(),
        "plugins": used_plugins(model),
        "trained_on": None if trained_on is None else torch.from_numpy(np.unique(trained_on)),
        "labels": None if labels is None else torch.from_numpy(labels),
        "config": config,
    }


def used_plugins(model: KeypointModel) -> list[dict[str, str]]:
    """The plug-ins that loading the model needs: ``kind``, ``name``, ``module`` and, where installed, ``package``."""
    used = _registered_names(model.settings.network.name, model.decoder.rule)
    origins = [(registry.kind, registry.origin(name)) for registry, name in used]
    return [{"kind": kind, **origin} for kind, origin in origins if origin is not None]


def _registered_names(network: str, rule: str) -> list[tuple[Registry[Any], str]]:
    return [(NETWORKS, network), (DECODERS, rule)]


def load_checkpoint(path: str | Path) -> LoadedCheckpoint:
    """Read a checkpoint of facekp, or the published system's weights.

    Args:
        path: a file, or a word of `facekp.models.packaged`.

    Raises:
        UserError: the file does not exist, is damaged or not a checkpoint, was written by another program or a newer
            facekp, needs a plug-in that is not installed, or its weights are not finite or do not match its settings.
    """
    path = file_of(path)
    raw = read_tensors(path)
    published = published_state_dict(raw)
    entry, state = _read_entry(path, raw) if published is None else _published_entry(published)
    try:
        entry = migrate_entry(entry)
        _check_installed(entry)
        model = KeypointModel.from_dict(entry)
        trained_on = _integers(entry["trained_on"], "trained_on", None)
        labels = _integers(entry["labels"], "labels", model.channels.shape)
        config = _config(entry["config"])
    except UserError as error:
        raise UserError(f"{path}: {_in_one_line(error)}") from error
    except Exception as error:  # settings of foreign values raise all sorts of errors
        text = f"{type(error).__name__}: {_in_one_line(error)}"
        raise UserError(f"{path}: its settings are damaged ({text}); train it anew") from error
    if published is not None:
        state["mean_face"] = model.mean_face
    _load_state(path, model, state, entry["plugins"])
    return LoadedCheckpoint(path, model.eval().requires_grad_(False), trained_on, config, labels)


def load_checkpoints(ckpt: str | list[str]) -> list[LoadedCheckpoint]:
    """Read what ``ckpt=`` names: a file, ``shipped``, or a list of them; errors as for `load_checkpoint`."""
    return [load_checkpoint(path) for path in (ckpt if isinstance(ckpt, list) else [ckpt])]


def read_tensors(path: Path) -> dict[str, Any]:
    """The plain content of a torch file.

    Raises:
        UserError: the file is missing, damaged, or not a torch file of plain values.
    """
    if not path.is_file():
        problem = "is a folder; name the .ckpt file in it" if path.is_dir() else "does not exist"
        raise UserError(f"{path}: {problem}")
    if path.suffix in EXPORTED:
        predicts = "can only predict" if path.suffix == ".onnx" else "is for other programs"
        raise UserError(f"{path}: an exported file, which {predicts}; give the checkpoint that it was made from")
    try:
        if is_archive(path):
            check_archive(path)
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except DamagedArchive as error:
        raise UserError(f"{path}: is damaged ({error}); copy it again, or take another checkpoint") from error
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: not a checkpoint of plain values and tensors; give one of facekp.train") from error
    except Exception as error:  # unpickling foreign bytes raises all sorts of errors
        raise UserError(f"{path}: not a checkpoint ({first_line(error)[:120]}); give one of facekp.train") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: not a checkpoint, it holds a {type(raw).__name__}; give a .ckpt of facekp.train")
    return raw


def read_facekp_tensors(path: Path, reason: str) -> dict[str, Any]:
    """Read the plain content of a facekp checkpoint; a file of the published system's weights is refused.

    Args:
        path: the file.
        reason: why such a file is refused, for the message.

    Raises:
        UserError: as `read_tensors`, or the file has no entry of facekp.
    """
    raw = read_tensors(path)
    if KEY not in raw:
        raise UserError(f"{path}: holds the published system's weights and nothing else; {reason}")
    return raw


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:MAX_MESSAGE_LENGTH]


def _read_entry(path: Path, raw: dict[str, Any]) -> tuple[Entry, dict[str, Tensor]]:
    """Facekp's entry in a Lightning checkpoint, as it was written, and the model's tensors."""
    entry = raw.get(KEY)
    if not isinstance(entry, dict) or not isinstance(entry.get("format"), int):
        raise UserError(f"{path}: was not written by facekp (no {KEY!r} entry); give a .ckpt of facekp.train")
    if entry["format"] > FORMAT:
        raise UserError(f"{path}: format {entry['format']} is newer than this facekp reads ({FORMAT}); update facekp")
    state = raw.get("state_dict")
    if entry["format"] not in PREFIXES or not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise UserError(f"{path}: its format or its weights are damaged; train it anew")
    return entry, model_tensors(raw)


def _integers(values: Any, name: str, shape: torch.Size | None) -> np.ndarray | None:
    """The array of an int64 tensor; None stays None.

    Args:
        values: an int64 tensor, if the entry is not damaged; or None.
        name: what the values are, for the message.
        shape: that the tensor must have; None: any with one axis.

    Raises:
        ValueError: it is something else.
    """
    if values is None:
        return None
    if values.dtype != torch.int64 or (values.dim() != 1 if shape is None else values.shape != shape):
        raise ValueError(f"{name} is {values.dtype} of shape {tuple(values.shape)}")
    return values.numpy()


def _config(values: Any) -> dict[str, Any]:
    """The settings of a training.

    Raises:
        ValueError: the settings, or those of the data, are not a mapping.
    """
    config = dict(values)
    if not isinstance(config.get("data"), (dict, NoneType)):
        raise ValueError("config.data is not a mapping of settings")
    return config


# Older files.


def migrate_entry(entry: Mapping[str, Any]) -> Entry:
    """Facekp's entry of any older version, with the keys of this one. Keys that every version has may be missing."""
    parts = {key: entry[key] for key in ("model", "decoder") if key in entry}
    config = {"config": migrate(entry["config"])} if "config" in entry else {}
    groups = {key: value for key, value in migrate(parts).items() if key in parts}
    only = entry.get("calibration")  # 0.1 had one, for one decoder
    calibrations = [] if only is None else [only]
    lacking: Entry = {"offsets": {}, "image_channels": 1, "calibrations": calibrations, "plugins": [], "labels": None}
    kept = {key: value for key, value in entry.items() if key != "calibration"}
    return {**lacking, **kept, **groups, **config, "format": FORMAT}


def model_tensors(raw: Mapping[str, Any]) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint of facekp, by their names in `KeypointModel.state_dict`."""
    prefix = PREFIXES[raw[KEY]["format"]]
    return {key.removeprefix(prefix): value for key, value in raw["state_dict"].items() if key.startswith(prefix)}


def upgrade_names(raw: dict[str, Any]) -> None:
    """Rename the tensors of an older training checkpoint to their names now, in place."""
    old = PREFIXES[raw[KEY]["format"]]
    for state in ("state_dict", "current_model_state"):  # the second one: the last weights beside averaged ones
        if state in raw and old != PREFIX:
            raw[state] = {PREFIX + k.removeprefix(old) if k.startswith(old) else k: v for k, v in raw[state].items()}


def _published_entry(weights: dict[str, Tensor]) -> tuple[Entry, dict[str, Tensor]]:
    """The settings of the published system, which its file does not hold, and its tensors by the model's names."""

    def conf(name: str) -> dict[str, Any]:
        return yaml.safe_load((CONF_DIR / f"{name}.yaml").read_text(encoding="utf-8"))

    entry = {
        "keypoints": conf("keypoints/kaggle15"),
        "size": [96, 96],
        "model": conf("model/hourglass_seed"),
        "activation": conf("loss/mse")["activation"],
        "decoder": conf("decoder/argmax"),
        "trained_on": None,
        "config": {},
    }
    return entry, {f"network.{name}": value for name, value in weights.items()}


# Checks.


def _check_installed(entry: Entry) -> None:
    """Check that all registered parts of a checkpoint's model are installed here.

    Raises:
        UserError: the network or the decoder rule is not installed; the message says which plug-in brings it.
    """
    for registry, name in _registered_names(entry["model"]["network"]["name"], entry["decoder"]["rule"]):
        if name in registry:
            continue
        origin = next((p for p in entry["plugins"] if (p["kind"], p["name"]) == (registry.kind, name)), None)
        if origin is None:
            raise UserError(f"its {registry.kind} {name!r} is not part of this facekp; update facekp")
        module, package = origin["module"], origin.get("package")
        made_by, remedy = f"the module {module}", f"give plugins=[{module}]"
        if package is not None:
            made_by, remedy = f"the package {package}", f"pip install {package}"
        raise UserError(f"its {registry.kind} {name!r} comes from {made_by} and is not installed; {remedy}")


def _load_state(path: Path, model: KeypointModel, state: dict[str, Tensor], plugins: list[dict[str, str]]) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        detail = textwrap.shorten(lines[1] if len(lines) > 1 else lines[0], 240, placeholder=" ...").rstrip(".")
        brings = [p.get("package", p["module"]) for p in plugins if p["kind"] == NETWORKS.kind]
        remedy = "".join(f"install the version of {package} that trained it, or " for package in brings)
        raise UserError(
            f"{path}: the weights do not match the file's settings ({detail}); {remedy}take another checkpoint"
        ) from error
    if (name := first_not_finite({**model.state_dict(), "offsets": model.offset})) is not None:
        raise UserError(f"{path}: its weights {name} are not finite: the training diverged; train with a lower lr=")
