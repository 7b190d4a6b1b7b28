"""The published system's weights: its state dict goes in, one that `PublishedHourglass` loads comes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

LEVELS = 4

BRANCHES = {"1": "full", "2": "down", "3": "up"}  # of res<level>_<branch>; level 4 is the outermost

RENAMED = {
    "_KFSGNet__conv1": "stem.0",
    "_KFSGNet__conv2": "stem.2",
    "_KFSGNet__lin.conv": "head.0",
    "_KFSGNet__lin.bn": "head.1",
    "_KFSGNet__hg.res_center.convBlock": "hourglass." + "inner." * LEVELS + "body",
}


def published_state_dict(raw: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """What `hourglass.PublishedHourglass` calls the weights of a checkpoint of the published system.

    Args:
        raw: what ``torch.load(file, map_location="cpu", weights_only=True)`` gave;
            the published file was saved on CUDA.

    Returns:
        A full state dict (the tensors are shared, not copied), or None where ``raw`` is something else.
    """
    if "_KFSGNet__conv1.weight" not in raw:
        return None
    state = {_rename(key): value for key, value in raw.items()}
    means = [key for key in state if key.endswith("running_mean")]
    for key in means:  # the file comes from a torch that did not count batches
        state.setdefault(key.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    return state


def _rename(key: str) -> str:
    module, _, leaf = key.rpartition(".")
    level = re.fullmatch(r"_KFSGNet__hg\.res(\d)_(\d)\.convBlock\.(\d)", module)
    if level:
        depth, branch, layer = level.groups()
        return f"hourglass.{'inner.' * (LEVELS - int(depth))}{BRANCHES[branch]}.body.{layer}.{leaf}"
    for old, new in RENAMED.items():
        if module == old or module.startswith(old + "."):
            return f"{new}{module[len(old) :]}.{leaf}"
    return key
