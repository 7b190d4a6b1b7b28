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

import copy
import inspect
import math
from abc import ABC, abstractmethod
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from facekp.core.errors import UserError
from facekp.core.registry import Registry, is_builtin
from facekp.core.settings import Settings
from facekp.networks.cpu import has_lazy_layers

Heatmaps = Annotated[int, Field(ge=1, le=10000)]  # C, number of maps
COLOUR_ARGUMENT = "image_channels"  # the argument of networks that can take colour images


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
    inputs=("heatmaps", COLOUR_ARGUMENT),
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
    """Refuse colour images for a network that takes grey ones only.

    Raises:
        UserError: a network takes grey images only, and the images are in colour.
    """
    if image_channels != 1 and not _takes_colour(name):
        raise UserError(
            f"data.channels={image_channels}: the network {name} takes grey images only, as its constructor has no "
            f"argument {COLOUR_ARGUMENT}; use data.channels=1, or another model"
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
    colours = {COLOUR_ARGUMENT: image_channels} if _takes_colour(settings.name) else {}
    try:
        network: Any = made(heatmaps=heatmaps, **colours, **NETWORKS.arguments(settings))
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:  # raised by the constructor's code
            raise
        raise UserError(
            f"network {settings.name}: {error}; its constructor takes heatmaps and the settings, and it has a forward"
        ) from error
    if not (issubclass(type(network), nn.Module) and hasattr(network, "parameter_groups")):
        raise UserError(
            f"network {settings.name}: {type(network).__name__} is not a HeatmapNetwork; derive it from "
            "facekp.networks.base.HeatmapNetwork"
        )
    stride = getattr(network, "stride", None)
    if stride is None:
        raise UserError(f"network {settings.name}: has no stride; set self.stride to the image pixels per heatmap cell")
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise UserError(f"network {settings.name}: self.stride={stride}: must be a whole number (int) from 1")
    return network


TRIED_IMAGES = 2  # more than one, as a network that forgets the axis of images may pass with one


def check_output(network: HeatmapNetwork, name: str, heatmaps: int, image_channels: int, size: tuple[int, int]) -> None:
    """Try a plug-in's network on two images, before a training.

    Networks of facekp are not tried, as tests cover them, nor are those with lazy layers, whose shapes are unknown. A
    copy of the network is tried, in evaluation mode.

    Args:
        network: of `build_network`.
        name: of the network in `NETWORKS`.
        heatmaps: C, maps in the output.
        image_channels: 1 for grey images, 3 for colour.
        size: (H, W) of the images in pixels.

    Raises:
        UserError: the output is not a list of tensors (N, C, H // stride, W // stride).
    """
    if has_lazy_layers(network) or is_builtin(type(network)):
        return
    height, width = size
    try:
        outputs = _trial(network, (TRIED_IMAGES, image_channels, height, width))
    except Exception as error:
        error.add_note(f"raised by the network {name} for {TRIED_IMAGES} images of {height} x {width} pixels")
        raise
    expected = (TRIED_IMAGES, heatmaps, height // network.stride, width // network.stride)
    if fault := _output_fault(outputs, expected):
        raise UserError(
            f"network {name}: {fault}; for {TRIED_IMAGES} images of {height} x {width} pixels and stride "
            f"{network.stride}, forward must return a list with one tensor {expected} per stack"
        )


def _trial(network: nn.Module, shape: tuple[int, ...]) -> Any:
    """What a copy of the network returns for images of a shape; the random state stays as it is."""
    first = next(network.parameters(), torch.zeros(()))
    images = torch.linspace(-1, 1, math.prod(shape), device=first.device).view(shape)
    with torch.no_grad(), torch.random.fork_rng([first.device] if first.is_cuda else []):
        return copy.deepcopy(network).eval()(images)


def _output_fault(outputs: Any, expected: tuple[int, ...]) -> str:
    """What is wrong with the output of a network; empty if nothing is."""
    if not isinstance(outputs, (list, tuple)):
        return f"returned {type(outputs).__name__}, not a list"
    if not outputs:
        return "returned an empty list"
    for number, maps in enumerate(outputs):
        if not isinstance(maps, Tensor):
            return f"entry {number} of the list is {type(maps).__name__}, not a tensor"
        if tuple(maps.shape) != expected:
            return f"entry {number} of the list has shape {tuple(maps.shape)}"
        if not maps.is_floating_point():
            return f"entry {number} of the list is {maps.dtype}, not floating point"
    return ""


def _takes_colour(name: str) -> bool:
    return COLOUR_ARGUMENT in inspect.signature(NETWORKS[name]).parameters
