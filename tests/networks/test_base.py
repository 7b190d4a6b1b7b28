"""The registry of networks: every shipped model builds and predicts, mistakes name key and value, plug-ins fit in."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import Field
from torch import nn

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.networks.base import NETWORKS, HeatmapNetwork, build_network, check_output
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
    torch.manual_seed(0)  # with other weights a ReLU may leave a heatmap of zeros
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
        ({**REGRESSION, "sigma": 0}, "model.network.sigma=0: must be at least 0.05"),
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


class Trial(HeatmapNetwork):
    """A network with all that a trial could change, which returns what a test asks for."""

    calls: torch.Tensor

    def __init__(self, output: Callable[[torch.Tensor], Any] = lambda maps: [maps], stride: Any = 4) -> None:
        super().__init__()
        self.stride, self.output = stride, output
        self.body, self.norm = nn.Conv2d(1, 5, 4, 4), nn.BatchNorm2d(5)
        self.register_buffer("calls", torch.zeros(1))
        self.frozen = nn.BatchNorm2d(5).eval()

    def forward(self, images: torch.Tensor) -> Any:
        self.calls = self.calls + 1
        assert self.norm.running_mean is not None
        self.norm.running_mean.add_(1)
        return self.output(self.norm(self.body(images)) + torch.rand(1))


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (lambda maps: maps, "returned Tensor, not a list"),
        (lambda maps: None, "returned NoneType, not a list"),
        (lambda maps: {"maps": maps}, "returned dict, not a list"),
        (lambda maps: [], "returned an empty list"),
        (lambda maps: [maps, None], "entry 1 of the list is NoneType, not a tensor"),
        (lambda maps: [maps[:, :4]], r"entry 0 of the list has shape \(2, 4, 8, 6\)"),
        (lambda maps: [maps[..., :4]], r"entry 0 of the list has shape \(2, 5, 8, 4\)"),
        (lambda maps: [maps[0]], r"entry 0 of the list has shape \(5, 8, 6\)"),
        (lambda maps: [maps.round().int()], r"entry 0 of the list is torch.int32, not floating point"),
    ],
)
def test_a_wrong_output_of_a_plug_in_network_is_refused(output: Callable[[torch.Tensor], Any], fault: str) -> None:
    with pytest.raises(UserError, match=rf"^network trial: {fault}; for 2 images of 32 x 24 pixels and stride 4"):
        check_output(Trial(output), "trial", 5, 1, (32, 24))


def test_the_trial_of_a_network_changes_neither_the_network_nor_the_random_state() -> None:
    network = Trial()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes, state = [module.training for module in network.modules()], torch.get_rng_state()
    check_output(network, "trial", 5, 1, (32, 24))
    assert before.keys() == network.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_error_of_a_network_on_trial_has_a_note_with_its_name() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        check_output(Trial(lambda maps: 1 // 0), "trial", 5, 1, (32, 24))
    assert caught.value.__notes__ == ["raised by the network trial for 2 images of 32 x 24 pixels"]


def test_networks_of_facekp_and_lazy_ones_are_not_tried() -> None:
    network = build_network(NETWORKS.parse(HOURGLASS), heatmaps=5)
    check_output(network, "hourglass", 6, 1, (32, 24))  # a trial would refuse the number of maps
    lazy = Trial()
    lazy.body = nn.LazyConv2d(5, 4, 4)
    lazy.add_module("norm", nn.LazyBatchNorm2d())
    check_output(lazy, "lazy", 6, 1, (32, 24))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda heatmaps: Trial(stride=0), r"network trial: self\.stride=0: must be a whole number \(int\) from 1"),
        (lambda heatmaps: Trial(stride=True), r"network trial: self\.stride=True"),
        (lambda heatmaps: Trial(stride=4.0), r"network trial: self\.stride=4\.0"),
        (lambda heatmaps: Trial(stride=None), "network trial: has no stride"),
        (lambda heatmaps: SimpleNamespace(stride=4), "SimpleNamespace is not a HeatmapNetwork"),
        (lambda heatmaps: nn.Conv2d(1, heatmaps, 4), "Conv2d is not a HeatmapNetwork; derive it from facekp"),
        (lambda: Trial(), "unexpected keyword argument 'heatmaps'; its constructor takes heatmaps and the settings"),
        (type("Part", (HeatmapNetwork,), {"__init__": lambda self, heatmaps: None}), "abstract method forward"),
    ],
)
def test_what_is_no_heatmap_network_is_refused(
    made: Callable[[int], Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS.entries, "trial", made)
    monkeypatch.setattr(NETWORKS, "own_settings", dict(NETWORKS.own_settings))
    with pytest.raises(UserError, match=message):
        build_network(NETWORKS.parse({"name": "trial"}), heatmaps=5)
