"""What a network of facekp is, and the registry of all of them.

A network maps normalised images to heatmaps. A new one is a subclass of `HeatmapNetwork` under a name of its own::

    from facekp.networks.base import NETWORKS, HeatmapNetwork

    @NETWORKS.register("my_network")
    class MyNetwork(HeatmapNetwork):
        def __init__(self, heatmaps: int, stride: Literal[2, 4] = 4, image_channels: int = 1) -> None: ...
        def forward(self, images: Tensor) -> list[Tensor]: ...

The arguments of its constructor, but for ``heatmaps`` and ``image_channels``, are its settings under ``model.network``;
their annotations are checked when the command starts. A network without ``image_channels`` takes grey images only.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from facekp.core.errors import UserError
from facekp.core.registry import Registry
from facekp.core.settings import Settings

Heatmaps = Annotated[int, Field(ge=1, le=10000)]  # C, number of maps
COLOURS = "image_channels"  # the argument of networks that can take colour images


class NetworkSettings(Settings):
    """``model.network``: the network's name; each network adds its own settings."""

    name: str


class HeatmapNetwork(nn.Module, ABC):
    """A network from images to heatmaps; its class is registered in `NETWORKS`.

    Attributes:
        stride: image pixels per heatmap cell; cell c shows pixel stride * c + (stride - 1) / 2.
        activation: ``softmax`` where the raw output is a logarithm, so that only losses with this activation suit;
            None: any loss does.
    """

    stride: int
    activation: str | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw heatmaps, before any activation.

        Args:
            images: float (N, image_channels, H, W), normalised; 1 channel is grey, 3 are red, green and blue.

        Returns:
            one (N, C, H // stride, W // stride) per stack; every stack is supervised, the last one predicts.
        """

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters whose learning rate differs from ``lr``, in lists, each with its factor on ``lr``."""
        return []

    def stored_settings(self) -> dict[str, Any]:
        """Settings that a checkpoint holds in place of those given, so that it loads without other files."""
        return {}


NETWORKS: Registry[type[HeatmapNetwork]] = Registry(
    "network",
    key="model.network",
    base=NetworkSettings,
    entry_points="facekp.networks",
    inputs=("heatmaps", COLOURS),
    package="facekp.networks",
    config_group="model",
    config=lambda network: {
        "network": network,
        "by_source": True,
        "sigma": 1.0,
        "normalise": {"mean": 0.0, "std": 255.0},
    },
)


def check_colour(name: str, image_channels: int) -> None:
    """
    Raises:
        UserError: a network takes grey images only, and the images are in colour.
    """
    if image_channels != 1 and not _takes_colour(name):
        raise UserError(
            f"data.channels={image_channels}: the network {name} takes grey images only, as its constructor has no "
            f"argument {COLOURS}; use data.channels=1, or another model"
        )


def build_network(settings: NetworkSettings, heatmaps: int, image_channels: int = 1) -> HeatmapNetwork:
    """The network that the settings name, on the CPU and in training mode, with fresh weights.

    Args:
        settings: of `NETWORKS.parse`.
        heatmaps: C, maps in the output.
        image_channels: of the images, 1 (grey) or 3 (red, green, blue).

    Raises:
        UserError: the class does not keep to `HeatmapNetwork`, or takes grey images only.
    """
    check_colour(settings.name, image_channels)
    made = NETWORKS[settings.name]
    colours = {COLOURS: image_channels} if _takes_colour(settings.name) else {}
    network: Any = made(heatmaps=heatmaps, **colours, **NETWORKS.arguments(settings))
    if not isinstance(getattr(network, "stride", None), int):
        raise UserError(f"network {settings.name}: has no stride; set self.stride to the image pixels per heatmap cell")
    return network


def _takes_colour(name: str) -> bool:
    return COLOURS in inspect.signature(NETWORKS[name]).parameters
