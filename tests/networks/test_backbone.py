"""`model=backbone`: what is trained, what a checkpoint holds, and what is refused.

All networks here are tiny and start at random; no test asks a server.
"""

import json

import pytest
import torch

from facekp.core.errors import UserError
from facekp.models.checkpoint import describe
from facekp.models.keypoint_model import KeypointModel
from facekp.networks.base import NETWORKS, build_network
from tests.conftest import config_of, settings_of

transformers = pytest.importorskip("transformers")

RESNET = {"model_type": "resnet", "embedding_size": 4, "hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 1, 1],
          "layer_type": "basic"}  # fmt: skip
DINO = {"model_type": "dinov2", "hidden_size": 8, "num_hidden_layers": 5, "num_attention_heads": 2, "mlp_ratio": 2,
        "image_size": 98, "patch_size": 14}  # fmt: skip


def network(channels=3, **changes):
    """A small network with random weights, in training mode."""
    values = config_of("model=backbone", "model.network.width=8")["model"]["network"]
    torch.manual_seed(0)
    return build_network(NETWORKS.parse({**values, "config": RESNET, **changes}), 5, channels)


def images(channels=3, side=96):
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("config", "side", "stride", "multiple"), [(RESNET, 96, 4, 32), (RESNET, 72, 2, 32), (DINO, 96, 4, 14)]
)
def test_maps_have_the_stride_at_any_size_and_every_trained_weight_gets_a_gradient(config, side, stride, multiple):
    made = network(config=config, stride=stride)
    (maps,) = made(images(side=side))
    assert maps.shape == (2, 5, side // stride, side // stride)
    assert made.multiple == multiple
    maps.square().sum().backward()
    assert not [name for name, p in made.named_parameters() if p.requires_grad and p.grad is None]


def test_grey_images_are_seen_as_colour_images_of_their_levels():
    made = network(channels=1).eval()
    grey = images(channels=1)
    torch.testing.assert_close(made(grey)[0], made(grey.expand(-1, 3, -1, -1))[0])


@pytest.mark.parametrize(("frozen", "stages"), [(0, []), (2, [0, 1]), ("all", [0, 1, 2, 3])])
def test_frozen_levels_are_not_trained_and_stay_in_evaluation_mode(frozen, stages):
    made = network(frozen=frozen)
    encoder = made.backbone.encoder.stages
    for number, stage in enumerate(encoder):
        assert {p.requires_grad for p in stage.parameters()} == {number not in stages}
        assert stage.training == (number not in stages)
    assert made.backbone.embedder.training == (not stages)
    assert all(p.requires_grad for p in [*made.pyramid.parameters(), *made.head.parameters()])
    groups = made.parameter_groups()
    trained = {id(p) for p in made.backbone.parameters() if p.requires_grad}
    assert {id(p) for parameters, _ in groups for p in parameters} == trained
    assert [factor for _, factor in groups] == [0.1] * bool(trained)


def test_pretrained_weights_are_taken_and_a_checkpoint_needs_them_no_more(tmp_path, scheme, caplog):
    torch.manual_seed(1)
    given = transformers.ResNetForImageClassification(transformers.ResNetConfig(**RESNET, num_labels=3))
    given.save_pretrained(tmp_path / "weights")
    config = settings_of("data=synthetic", "model=backbone", "model.network.width=8")
    with caplog.at_level("INFO"):
        model_settings = config.model.replaced(
            network={**config.model.network.plain(), "weights": str(tmp_path / "weights")}
        )
        model = KeypointModel(scheme, (96, 96), model_settings, "softmax", config.decoder)
    assert f"model.network.weights={tmp_path}/weights: " in caplog.text
    stage = "encoder.stages.1.layers.0.layer.0.convolution.weight"
    assert torch.equal(model.network.backbone.state_dict()[stage], given.state_dict()[f"resnet.{stage}"])
    entry = describe(model, None, {}, None)
    assert str(tmp_path) not in json.dumps(entry["model"])
    assert entry["model"]["network"]["config"]["hidden_sizes"] == RESNET["hidden_sizes"]
    (tmp_path / "weights" / "config.json").unlink()
    again = KeypointModel.from_dict(entry)
    again.load_state_dict(model.state_dict())
    pixels = 255 * images(channels=1)
    assert torch.equal(again.eval()(pixels)[0], model.eval()(pixels)[0])
    with pytest.raises(UserError, match=r"weights: the folder has no config\.json"):
        network(weights=str(tmp_path / "weights"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": None}, r"model\.network\.config: has no model_type"),
        ({"config": {"model_type": "bert"}}, "transformers has no backbone of the kind bert"),
        ({"config": {"model_type": "timm_backbone"}}, "no backbone of the kind timm_backbone"),
        ({"config": {**RESNET, "hidden_sizes": "x"}}, r"model\.network\.config: transformers can't build it"),
        ({"frozen": 5}, r"model\.network\.frozen=5: the backbone has 4 levels"),
    ],
)
def test_mistakes_are_named_in_one_line(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        network(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:1], r"the shape of embedder\.embedder\.convolution\.weight does not fit its config\.json"),
        (lambda t: t * torch.nan, r"its tensor embedder\.embedder\.convolution\.weight has NaN or infinite numbers"),
    ],
)
def test_weights_of_another_shape_or_with_nan_are_refused_by_name(tmp_path, change, message):
    given = transformers.ResNetModel(transformers.ResNetConfig(**RESNET))
    given.config.save_pretrained(tmp_path)
    first = "embedder.embedder.convolution.weight"
    torch.save({**given.state_dict(), first: change(given.state_dict()[first])}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=message):
        network(weights=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "problem"),
    [("x.safetensors", "is a file"), ("nowhere", "there is no such folder"), ("../../x", "there is")],
)
def test_a_path_that_is_no_folder_is_not_taken_for_a_hub_name(tmp_path, name, problem):
    (tmp_path / "x.safetensors").touch()
    with pytest.raises(UserError, match=f"{problem}.*; give the folder that save_pretrained wrote"):
        network(weights=name if name.startswith(".") else str(tmp_path / name))


def test_weights_that_are_not_there_are_named_with_the_ways_out(monkeypatch):
    def unreachable(name, **_):
        raise OSError(f"We couldn't connect to the hub\nfor {name}")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", unreachable)
    with pytest.raises(UserError, match=r"weights=some/name: can't be loaded \(.*for some/name\); give a folder with"):
        network(weights="some/name")


def test_what_a_file_says_of_code_is_not_followed():
    made = network(config={**RESNET, "auto_map": {"AutoBackbone": "evil--x.Y"}, "_attn_implementation": "evil/kernel"})
    assert not {"auto_map", "_attn_implementation", "id2label"} & set(made.stored_settings()["config"])
