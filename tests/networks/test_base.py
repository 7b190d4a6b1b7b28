"""The registry of networks: every shipped model builds and predicts, mistakes name key and value, plug-ins fit in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import Field
from torch import nn

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.networks.base import NETWORKS, HeatmapNetwork, build_network
from tests.conftest import config_of

HOURGLASS = {"name": "hourglass", "stride": 4, "channels": 16, "levels": 2, "stacks": 1}
REGRESSION = {
    "name": "regression",
    "stride": 4,
    "size": 96,
    "channels": 8,
    "hidden": 32,
    "dropout": 0.0,
    "sigma": 1.0,
}
SIMCC = {"name": "simcc", "stride": 2, "size": 96, "channels": 8}
BUILTIN = {"backbone", "hourglass", "hourglass_seed", "regression", "simcc"}


def test_every_network_has_a_shipped_model_and_predicts_maps_at_its_stride() -> None:
    names = set()
    for model in sorted(path.stem for path in (CONF_DIR / "model").glob("*.yaml")):
        settings = NETWORKS.parse(config_of(f"model={model}")["model"]["network"])
        network = build_network(settings, heatmaps=7)
        assert network.training
        with torch.inference_mode():
            heatmaps = network.eval()(torch.rand(2, 1, 96, 96))
        side = 96 // network.stride
        assert {tuple(maps.shape) for maps in heatmaps} == {(2, 7, side, side)}, model
        names.add(settings.name)
    assert names == BUILTIN <= set(NETWORKS.names())


@pytest.mark.parametrize("network", [HOURGLASS, {"name": "hourglass_seed"}, REGRESSION, SIMCC])
def test_every_network_of_facekp_takes_colour(network: dict[str, Any]) -> None:
    colour = build_network(NETWORKS.parse(network), heatmaps=3, image_channels=3).eval()
    with torch.inference_mode():
        images = torch.rand(2, 3, 96, 96)
        heatmaps = colour(images)[-1]
        assert not torch.equal(colour(images.flip(1))[-1], heatmaps)  # the colours count
    assert heatmaps.shape == (2, 3, 96 // colour.stride, 96 // colour.stride)


def test_a_network_for_grey_images_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS.entries, "plain", lambda heatmaps: nn.Conv2d(1, heatmaps, 1))
    with pytest.raises(UserError, match=r"data\.channels=3: the network plain takes grey images only"):
        build_network(NETWORKS.parse({"name": "plain"}), heatmaps=3, image_channels=3)


def test_checkpoints_from_before_the_setting_block_get_bottlenecks() -> None:
    def parameters(**settings: Any) -> int:
        return sum(p.numel() for p in build_network(NETWORKS.parse({**HOURGLASS, **settings}), 5).parameters())

    assert parameters() == parameters(block="bottleneck")
    assert parameters(block="basic") > 2 * parameters()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "hourglas"}, "there is no network 'hourglas'; choose one of backbone, hourglass, hourglass_seed"),
        ({**HOURGLASS, "stride": 3}, "model.network.stride=3: choose one of 1, 2, 4"),
        ({**HOURGLASS, "stacks": 9}, "model.network.stacks=9: must be at most 8"),
        ({**HOURGLASS, "levels": 0}, "model.network.levels=0: must be at least 1"),
        ({**HOURGLASS, "channels": 30}, "model.network.channels=30: must be a multiple of 4"),
        ({**HOURGLASS, "channels": "wide"}, "model.network.channels=wide: must be a whole number"),
        ({**HOURGLASS, "depth": 3}, "model.network.depth: unknown key; the keys here are name, stride"),
        ({**HOURGLASS, "chanels": 8}, "model.network.chanels: unknown key; did you mean channels?"),
        ({"name": "hourglass", "stride": 4}, "model.network.channels: is missing"),
        ({**HOURGLASS, "block": "wide"}, "model.network.block=wide: choose one of basic, bottleneck"),
        ({"name": "hourglass_seed", "stride": 2}, "model.network.stride: unknown key"),
        ({**REGRESSION, "size": 88}, "model.network.size=88: must be a multiple of 16"),
        ({**REGRESSION, "hidden": 0}, "model.network.hidden=0: must be at least 1"),
        ({**REGRESSION, "dropout": 1.0}, "model.network.dropout=1.0: must be less than 1"),
        ({**REGRESSION, "dropout": "x"}, "model.network.dropout=x: must be a number"),
        ({**REGRESSION, "levels": 3}, "model.network.levels: unknown key"),
        ({**REGRESSION, "sigma": 0}, "model.network.sigma=0: must be greater than 0"),
        ({**SIMCC, "size": 100}, "model.network.size=100: must be a multiple of 8"),
        ({**SIMCC, "channels": 0}, "model.network.channels=0: must be at least 1"),
        ({"name": "simcc", "stride": 2, "channels": 8}, "model.network.size: is missing"),
    ],
)
def test_mistakes_name_the_setting_and_what_is_allowed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        NETWORKS.parse(settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plug_in_network_gets_settings_from_its_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tiny(HeatmapNetwork):
        def __init__(self, heatmaps: int, stride: Literal[2, 4] = 4, width: Annotated[int, Field(ge=1)] = 3) -> None:
            super().__init__()
            self.stride = stride
            self.body = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, heatmaps, stride, stride))

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [self.body(images)]

    monkeypatch.setattr(NETWORKS, "entries", dict(NETWORKS.entries))
    NETWORKS.register("tiny")(Tiny)
    network = build_network(NETWORKS.parse({"name": "tiny", "stride": 2}), heatmaps=5)
    assert network(torch.rand(2, 1, 32, 32))[0].shape == (2, 5, 16, 16)
    assert NETWORKS.origin("tiny") == {"name": "tiny", "module": __name__}
    assert NETWORKS.origin("hourglass") is None
    with pytest.raises(UserError, match=r"width=0: must be at least 1"):
        NETWORKS.parse({"name": "tiny", "width": 0})


def test_a_network_without_a_stride_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strideless(HeatmapNetwork):
        def __init__(self, heatmaps: int) -> None:
            super().__init__()

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [images]

    monkeypatch.setattr(NETWORKS, "entries", dict(NETWORKS.entries))
    NETWORKS.register("strideless")(Strideless)
    with pytest.raises(UserError, match="no stride"):
        build_network(NETWORKS.parse({"name": "strideless"}), heatmaps=5)
