"""The levels of a backbone's features: their strides, their channels, and the weights that each one depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from facekp.core.errors import UserError, first_line

PROBE = 224  # pixels of the image on which strides are measured; a multiple of 14, 16 and 32


@dataclass(frozen=True)
class Level:
    """One of the feature maps that a backbone returns.

    Attributes:
        stride: image pixels per cell.
        channels: number of channels of the feature map.
        parameters: names of the weights that it depends on and that no level before it does.
    """

    stride: int
    channels: int
    parameters: frozenset[str]


def probe(backbone: nn.Module) -> list[Level]:
    """The levels of a backbone, as it returns them, from the image on.

    They are measured on one image: which weights a map depends on is what its gradient says. So no kind of backbone
    needs a table of its modules.

    Raises:
        UserError: the backbone takes images of one size only.
    """
    names, parameters = zip(*backbone.named_parameters(), strict=True)
    was_training = backbone.training
    backbone.eval()
    try:
        features, _ = (backbone(torch.zeros(1, 3, side, side)).feature_maps for side in (PROBE, PROBE // 2))
    except Exception as error:  # of the library's code
        reason = first_line(error)[:160]
        raise UserError(
            f"model.network: the backbone can't take images of {PROBE} and {PROBE // 2} pixels ({reason}); "
            "choose one that takes any size, e.g. convnextv2 or dinov2"
        ) from error
    backbone.train(was_training)
    levels: list[Level] = []
    known: set[str] = set()
    for maps in features:
        gradients = torch.autograd.grad(maps.sum(), parameters, retain_graph=True, allow_unused=True)
        used = {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}
        levels.append(Level(round(PROBE / maps.shape[-1]), maps.shape[1], frozenset(used - known)))
        known |= used
    return levels


def freeze(backbone: nn.Module, levels: Sequence[Level], frozen: int | Literal["all"]) -> None:
    """Switch off the training of the first levels' weights, and of weights that no level depends on.

    The latter get no gradient, which distributed training takes for an error.

    Args:
        backbone: changed.
        levels: of `probe`.
        frozen: number of levels, or ``all``.

    Raises:
        UserError: there are fewer levels.
    """
    if frozen != "all" and frozen > len(levels):
        raise UserError(
            f"model.network.frozen={frozen}: the backbone has {len(levels)} levels; give at most {len(levels)}, or all"
        )
    later = [] if frozen == "all" else [level.parameters for level in levels[frozen:]]
    trained = frozenset[str]().union(*later)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name in trained)
