"""What a network of facekp is, and the registry of all of them.

A network maps normalised images to heatmaps. A new one is a subclass of `HeatmapNetwork` under a name of its own::

    from facekp.networks.base import NETWORKS, HeatmapNetwork

    @NETWORKS.register("my_network")
    class MyNetwork(HeatmapNetwork):
        def __init__(self, heatmaps: int, stride: Literal[2, 4] = 4) -> None: ...
        def forward(self, images: Tensor) -> list[Tensor]: ...

The arguments of its constructor, but for ``heatmaps``, are its settings under ``model.network``; their annotations are
checked when the command starts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from facekp.core.errors import UserError
from facekp.core.registry import Registry
from facekp.core.settings import Settings

Heatmaps = Annotated[int, Field(ge=1, le=10000)]  # C, number of maps


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
            images: float (N, 1, H, W), normalised.

        Returns:
            one (N, C, H // stride, W // stride) per stack; every stack is supervised, the last one predicts.
        """


NETWORKS: Registry[type[HeatmapNetwork]] = Registry(
    "network",
    key="model.network",
    base=NetworkSettings,
    entry_points="facekp.networks",
    inputs=("heatmaps",),
    package="facekp.networks",
    config_group="model",
    config=lambda network: {
        "network": network,
        "by_source": True,
        "sigma": 1.0,
        "normalise": {"mean": 0.0, "std": 255.0},
    },
)


def build_network(settings: NetworkSettings, heatmaps: int) -> HeatmapNetwork:
    """The network that the settings name, on the CPU and in training mode, with fresh weights.

    Args:
        settings: of `NETWORKS.parse`.
        heatmaps: C, maps in the output.

    Raises:
        UserError: the class does not keep to `HeatmapNetwork`.
    """
    made = NETWORKS[settings.name]
    network: Any = made(heatmaps=heatmaps, **NETWORKS.arguments(settings))
    if not isinstance(getattr(network, "stride", None), int):
        raise UserError(f"network {settings.name}: has no stride; set self.stride to the image pixels per heatmap cell")
    return network
