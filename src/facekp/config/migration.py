"""Configs written by older versions, brought up to date: the only place that knows what has changed since.

A run's config.yaml and the config inside a checkpoint keep the keys of the version that wrote them. `migrate` renames
what has a new name, and fills keys that did not exist with the value that keeps the old behaviour. So a new key needs
one line here, and no reader needs a default of its own. `epochs_from_1` does the same for the epochs of metrics.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

# Former keys and their names now.
RENAMED = {"trainer.fast_network": "trainer.fast_cpu"}

# Keys that older versions lack, with the value that does what those versions did. A key is filled only where its group
# exists, as an evaluation's config has no trainer.
ADDED: dict[str, Any] = {
    "data.device_bytes": 2**31,
    "data.offsets": None,
    "data.rows_from": "first",
    "data.split": "rows",
    "data.channels": 1,
    "data.chunk_rows": 0,
    "data.only": None,
    "data.group_by": None,
    "data.held_out": None,
    "augment.stretch": 0.0,
    "augment.wild": 0.0,
    "augment.elastic": 0.0,
    "augment.gamma": 0.0,
    "augment.blur": 0.0,
    "augment.noise": 0.0,
    "augment.erase": 0.0,
    "augment.transforms": [],
    "decoder.floor": 0.0,
    "decoder.shift": 0.0,
    "decoder.scale": 0.0,
    "teacher.seen": False,
    "trainer.num_nodes": 1,
    "trainer.strategy": "auto",
    "trainer.min_epochs": None,
    "trainer.accumulate_grad_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.limit_train_batches": 1.0,
    "trainer.limit_val_batches": 1.0,
    "trainer.fast_dev_run": False,
    "trainer.gradient_clip_val": None,
    "trainer.gradient_clip_algorithm": "norm",
    "trainer.deterministic": False,
    "trainer.benchmark": None,
    "trainer.sync_batchnorm": False,
    "trainer.profiler": None,
    "trainer.log_every_n_steps": 1,
    "trainer.compile": False,
    "trainer.cuda_graph": False,
    "trainer.channels_last": False,
    "trainer.fast_cpu": False,
    "callbacks.ema": None,
    "callbacks.patience": None,
    "callbacks.save_every": 1,
}

# The same for one choice of a group: by group, the name of the choice, and key.
ADDED_TO_CHOICE: dict[tuple[str, str], dict[str, Any]] = {
    ("model.network", "hourglass"): {"block": "bottleneck"},
    ("loss", "mse"): {"foreground": 0.0},
    ("optimizer", "sgd"): {"fused": False},
    ("optimizer", "adam"): {"fused": False},
    ("optimizer", "adamw"): {"fused": False},
}

# Older runs had none of these metrics; with the usual settings they differ from newer runs in nothing.
USUAL_METRICS = {"normaliser": None, "thresholds": [0.08, 0.1], "pck": [0.05, 0.1], "resamples": 1000}

NO_TEACHER = {"ckpt": None, "weight": 1.0, "unlabelled": False, "drop": None, "seen": False}

# A run had one logger with a name; now each logger has a switch.
LOGGERS: dict[str, dict[str, Any]] = {
    "none": {"csv": False},
    "csv": {"csv": True},
    "tensorboard": {"csv": True, "tensorboard": True},
    "wandb": {"csv": True, "wandb": True, "tags": [], "faces": 6, "patience": 120},
}

# Short names of precisions that Lightning understands, and the names that the settings allow.
PRECISIONS = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "64": "64-true"}


def migrate(config: dict[str, Any]) -> dict[str, Any]:
    """A config of any older version, with the keys of this one.

    Args:
        config: the plain values of a run's config.yaml or of a checkpoint; not changed. An empty one stays empty.

    Example:
        >>> migrate({"trainer": {"fast_network": True}})["trainer"]["fast_cpu"]
        True
        >>> migrate({})
        {}
    """
    if not config:
        return {}
    new = deepcopy(config)
    for old_key, key in RENAMED.items():
        group, name = _group(new, old_key)
        if group is not None and name in group:
            group[key.rpartition(".")[2]] = group.pop(name)
    for key, value in ADDED.items():
        group, name = _group(new, key)
        if group is not None:
            group.setdefault(name, deepcopy(value))
    for (path, choice), values in ADDED_TO_CHOICE.items():
        group, _ = _group(new, f"{path}.name")
        if group is not None and group.get("name") == choice:
            for name, value in values.items():
                group.setdefault(name, deepcopy(value))
    if isinstance(logger := new.get("logger"), dict) and logger.get("name") in LOGGERS:
        new["logger"] = {**LOGGERS[logger.pop("name")], **logger}
    new.setdefault("plugins", [])
    if isinstance(trainer := new.get("trainer"), dict):
        new.setdefault("teacher", dict(NO_TEACHER))
        new.setdefault("metrics", deepcopy(USUAL_METRICS))
        precision = str(trainer.get("precision"))
        trainer["precision"] = PRECISIONS.get(precision, trainer.get("precision"))
    return new


def _group(config: dict[str, Any], key: str) -> tuple[dict[str, Any] | None, str]:
    """The mapping that holds a dotted key, or None if it is missing; and the key's last part."""
    *path, name = key.split(".")
    group: Any = config
    for part in path:
        group = group.get(part) if isinstance(group, dict) else None
    return (group if isinstance(group, dict) else None), name


def epochs_from_1(epochs: Sequence[int]) -> list[int]:
    """The epochs of a run, from its first one on, counted from 1; version 0.1 counted them from 0.

    Example:
        >>> epochs_from_1([0, 1]), epochs_from_1([1, 2])
        ([1, 2], [1, 2])
    """
    missing = 1 if 0 in epochs else 0
    return [int(epoch) + missing for epoch in epochs]
