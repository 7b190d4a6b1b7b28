"""Every network that `model.network.name` may name, built from plain settings."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from facekp.config.rules import check_setting
from facekp.core.errors import UserError
from facekp.networks.hourglass import PublishedHourglass, StackedHourglass
from facekp.networks.regression import CoordinateRegression
from facekp.networks.simcc import SimCC

NETWORKS: dict[str, type[nn.Module]] = {
    "hourglass": StackedHourglass,
    "hourglass_seed": PublishedHourglass,
    "regression": CoordinateRegression,
    "simcc": SimCC,
}


def build_network(name: str, **settings: Any) -> nn.Module:
    """The network called ``name`` in `NETWORKS`, on the CPU and in training mode, with fresh weights.

    Args:
        name: a key of `NETWORKS`.
        settings: its constructor's arguments, ``heatmaps`` (C) among them.

    Raises:
        UserError: an unknown name, an unknown or missing setting, a value out of range.
    """
    check_setting("name", name, NETWORKS)
    known = inspect.signature(NETWORKS[name]).parameters
    for setting in settings:
        if setting not in known:
            raise UserError(f"network {name}: unknown setting {setting!r}; it takes {', '.join(known)}")
    missing = [key for key, setting in known.items() if setting.default is setting.empty and key not in settings]
    if missing:
        raise UserError(f"network {name}: setting {missing[0]!r} is missing; it takes {', '.join(known)}")
    return NETWORKS[name](**settings)
