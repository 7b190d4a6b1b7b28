"""The registry: every shipped model builds and answers, and mistakes are answered in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.networks.build import NETWORKS, build_network
from tests.conftest import config_of

HOURGLASS = {"heatmaps": 5, "stride": 4, "channels": 16, "levels": 2, "stacks": 1}
REGRESSION = {"heatmaps": 5, "stride": 4, "size": 96, "channels": 8, "hidden": 32, "dropout": 0.0, "sigma": 1.0}
SIMCC = {"heatmaps": 5, "stride": 2, "size": 96, "channels": 8}


def test_every_network_has_a_shipped_model_and_answers_maps_at_its_stride() -> None:
    names = set()
    for model in sorted(path.stem for path in (CONF_DIR / "model").glob("*.yaml")):
        settings = config_of(f"model={model}")["model"]["network"]
        network = build_network(heatmaps=7, **settings)
        assert network.training
        with torch.inference_mode():
            answers = network.eval()(torch.rand(2, 1, 96, 96))
        side = 96 // network.stride
        assert {tuple(answer.shape) for answer in answers} == {(2, 7, side, side)}, model
        names.add(settings["name"])
    assert names == set(NETWORKS)


def test_a_setting_with_a_default_may_be_left_out_and_given() -> None:
    def parameters(**settings: Any) -> int:
        return sum(p.numel() for p in build_network("hourglass", **HOURGLASS, **settings).parameters())

    assert parameters() == parameters(block="bottleneck")
    assert parameters(block="basic") > 2 * parameters()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("hourglas", {}, "network.name: 'hourglas' is not one of hourglass, hourglass_seed, regression, simcc"),
        ("hourglass", {**HOURGLASS, "stride": 3}, "network.stride: 3 is not one of 1, 2, 4"),
        ("hourglass", {**HOURGLASS, "stacks": 9}, "network.stacks: 9 is not a whole number from 1 to 8"),
        ("hourglass", {**HOURGLASS, "levels": 0}, "network.levels: 0 is not a whole number from 1 to 8"),
        (
            "hourglass",
            {**HOURGLASS, "channels": 30},
            "network.channels: 30 is not a whole number from 8 to 1024 in steps of 4",
        ),
        ("hourglass", {**HOURGLASS, "channels": "wide"}, "network.channels: 'wide' is not a whole number"),
        (
            "hourglass",
            {**HOURGLASS, "depth": 3},
            "network hourglass: unknown setting 'depth'; it takes heatmaps, stride",
        ),
        ("hourglass", {"heatmaps": 5, "stride": 4}, "network hourglass: setting 'channels' is missing"),
        ("hourglass", {**HOURGLASS, "block": "wide"}, "network.block: 'wide' is not one of bottleneck, basic"),
        ("hourglass_seed", {"heatmaps": 0}, "network.heatmaps: 0 is not a whole number from 1 to 10000"),
        ("hourglass_seed", {"heatmaps": 15, "stride": 2}, "network hourglass_seed: unknown setting 'stride'"),
        (
            "regression",
            {**REGRESSION, "size": 88},
            "network.size: 88 is not a whole number from 16 to 4080 in steps of 16",
        ),
        ("regression", {**REGRESSION, "stride": 5}, "network.stride: 5 is not one of 1, 2, 3, 4, 6, 8, 12"),
        ("regression", {**REGRESSION, "hidden": 0}, "network.hidden: 0 is not a whole number from 1 to 10000"),
        ("regression", {**REGRESSION, "dropout": 1.0}, "network.dropout: 1.0 is not a share from 0 to below 1"),
        ("regression", {**REGRESSION, "dropout": "x"}, "network.dropout: 'x' is not a share"),
        ("regression", {**REGRESSION, "levels": 3}, "network regression: unknown setting 'levels'; it takes heatmaps"),
        ("regression", {**REGRESSION, "sigma": 0}, "network.sigma: 0 is not a number above 0"),
        ("simcc", {**SIMCC, "size": 100}, "network.size: 100 is not a whole number from 8 to 4088 in steps of 8"),
        ("simcc", {**SIMCC, "stride": 7}, "network.stride: 7 is not one of 1, 2, 3, 4, 6, 8, 12"),
        ("simcc", {**SIMCC, "channels": 0}, "network.channels: 0 is not a whole number from 1 to 512"),
        ("simcc", {"heatmaps": 5, "stride": 2, "channels": 8}, "network simcc: setting 'size' is missing"),
    ],
)
def test_mistakes_name_the_setting_and_what_is_allowed(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_network(name, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
