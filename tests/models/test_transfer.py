"""Weights for another model: what fits is copied, by source and point name where the scheme differs."""

import pytest
import torch

from facekp.core.keypoints import Keypoints
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint
from facekp.models.keypoint_model import KeypointModel
from facekp.models.transfer import TransferReport, channel_pairs, copy_matching
from tests.conftest import settings_of

FIVE = ["left_eye_center", "right_eye_center", "nose_tip", "mouth_left_corner", "chin"]  # the last one is new


def scheme_of(names, sources=None):
    return Keypoints.from_dict({"name": "mine", "names": names, "sources": sources})


def built_like(loaded, keypoints=None, size=(96, 96), **network):
    """A model with fresh weights and the settings of a checkpoint, but for those given."""
    old = loaded.model
    settings = old.settings.replaced(network={**old.settings.network.plain(), **network})
    torch.manual_seed(7)
    return KeypointModel(keypoints or old.keypoints, size, settings, old.activation, old.decoder, None)


@pytest.fixture(scope="module")
def shipped():
    return load_checkpoint("shipped")


def test_the_same_architecture_and_scheme_take_every_tensor(shipped):
    model = built_like(shipped)
    report = copy_matching(model, shipped)
    old = shipped.model.state_dict()
    assert report.copied == list(old)
    assert not report.partly_copied
    assert not report.not_copied
    for name, value in model.state_dict().items():
        assert torch.equal(value, old[name]), name


def test_other_points_take_the_channels_of_points_with_the_same_name(shipped):
    model = built_like(shipped, scheme_of(FIVE, {"dense": None, "sparse": ["nose_tip", "chin"]}))
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    report = copy_matching(model, shipped)
    state, old = model.state_dict(), shipped.model.state_dict()
    names = shipped.model.keypoints.names
    dense = shipped.model.channels[0]
    sparse_nose = shipped.model.channels[1, names.index("nose_tip")]
    expected = [dense[names.index(name)] for name in FIVE[:4]]
    heads = [name for name in state if ".heads." in name]
    assert heads
    assert set(heads) <= set(report.partly_copied)
    for head in heads:
        for channel, old_channel in enumerate(expected):
            assert torch.equal(state[head][channel], old[head][old_channel])
        assert torch.equal(state[head][4], fresh[head][4])  # chin
        assert torch.equal(state[head][5], old[head][sparse_nose])
        assert torch.equal(state[head][6], fresh[head][6])  # chin of the second source
    assert torch.equal(state["mean_face"][:, :4], old["mean_face"][:, [names.index(name) for name in FIVE[:4]]])
    assert torch.equal(state["mean_face"][:, 4], fresh["mean_face"][:, 4])
    backbone = [name for name in state if name.startswith(("network.stem", "network.hourglasses"))]
    assert all(torch.equal(state[name], old[name]) for name in backbone)
    assert set(backbone) <= set(report.copied)
    assert not report.not_copied


def test_an_unknown_source_takes_the_first_one_s_channels(shipped):
    model = built_like(shipped, scheme_of(["nose_tip", "chin"]))  # the source is called default
    assert channel_pairs(model, shipped.model) == [(0, shipped.model.keypoints.names.index("nose_tip"))]


def test_separate_and_shared_channels_are_matched_by_point(shipped):
    shared = built_like(shipped)
    settings = shared.settings.replaced(by_source=False)
    shared = KeypointModel(shared.keypoints, (96, 96), settings, "softmax", shared.decoder)
    assert channel_pairs(shared, shipped.model) == [(k, k) for k in range(15)]
    assert len(channel_pairs(shipped.model, shared)) == len(shipped.model.mirrored_channels)


def test_no_point_in_common_leaves_the_heads_and_takes_the_rest(shipped):
    model = built_like(shipped, scheme_of(["wing", "tail"]))
    report = copy_matching(model, shipped)
    assert set(report.not_copied) == {"mean_face", *(name for name in model.state_dict() if ".heads." in name)}
    assert not report.partly_copied
    assert report.copied


def test_another_width_takes_nothing_of_a_tensor(shipped):
    model = built_like(shipped, channels=shipped.model.settings.network.channels * 2)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    report = copy_matching(model, shipped)
    old = shipped.model.state_dict()
    for name, value in model.state_dict().items():
        fits = name in old and old[name].shape == value.shape
        assert torch.equal(value, old[name] if fits else fresh[name])
        assert (name in report.copied) == fits
    assert set(report.not_copied) == set(fresh) - set(report.copied)


@pytest.mark.parametrize("stacks", [1, 3])
def test_another_number_of_stacks_takes_the_stacks_that_both_have(shipped, stacks):
    model = built_like(shipped, stacks=stacks)
    report = copy_matching(model, shipped)
    old = shipped.model.state_dict()
    state = model.state_dict()
    assert set(report.copied) == {name for name in state if name in old}
    assert set(report.not_copied) == {name for name in state if name not in old}
    assert all(torch.equal(state[name], old[name]) for name in report.copied)


def test_layers_that_read_heatmaps_are_copied_by_their_input_channels(shipped, tmp_path):
    loaded = LoadedCheckpoint(tmp_path, built_like(shipped, stacks=2, channels=8), None, {})
    model = built_like(loaded, scheme_of(FIVE))
    name = "network.from_heatmaps.0.weight"
    fresh = model.state_dict()[name].clone()
    copy_matching(model, loaded)
    nose = shipped.model.keypoints.names.index("nose_tip")
    assert torch.equal(model.state_dict()[name][:, 2], loaded.model.state_dict()[name][:, nose])
    assert torch.equal(model.state_dict()[name][:, 4], fresh[:, 4])


def test_the_run_s_random_numbers_stay_the_same(shipped):
    model = built_like(shipped, scheme_of(FIVE))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    copy_matching(model, shipped)
    assert torch.equal(torch.rand(4), expected)


def test_coordinates_of_a_regression_network_are_copied_in_pairs(shipped, tmp_path):
    settings = settings_of("model=regression", "model.network.channels=8", "model.network.hidden=16").model
    decoder = shipped.model.decoder
    old = KeypointModel(shipped.model.keypoints, (96, 96), settings, "softmax", decoder)
    model = KeypointModel(scheme_of(FIVE), (96, 96), settings, "softmax", decoder)
    copy_matching(model, LoadedCheckpoint(tmp_path, old, None, {}))
    nose = old.keypoints.names.index("nose_tip")
    last = [name for name in model.state_dict() if name.endswith(".weight")][-1]
    assert model.state_dict()[last].shape == (2 * 5, 16)
    assert torch.equal(model.state_dict()[last][4:6], old.state_dict()[last][2 * nose : 2 * nose + 2])


def test_the_mean_face_of_another_image_size_is_left(shipped):
    model = built_like(shipped, size=(64, 64))
    assert "mean_face" in copy_matching(model, shipped).not_copied
    assert (model.mean_face == 31.5).all()


def test_the_report_names_what_was_not_taken_and_shortens_long_lists():
    report = TransferReport(copied=["a"], partly_copied=["head"], not_copied=[f"b{i}" for i in range(6)])
    assert str(report) == ("1 tensors copied, 1 partly copied (head), 6 not copied (b0, b1, b2, b3 and 2 more)")


def test_weights_for_grey_images_start_a_network_for_colour_and_the_other_way_round(shipped, faces):
    old, stem = shipped.model, "network.stem.0.weight"
    colour = KeypointModel(old.keypoints, (96, 96), old.settings, old.activation, old.decoder, image_channels=3).eval()
    report = copy_matching(colour, shipped)
    assert set(report.copied) == set(old.state_dict())
    weights = colour.state_dict()[stem]
    assert torch.equal(weights, old.state_dict()[stem].expand_as(weights) / 3)
    assert str(report).endswith(f"of grey images, now of colour: weights divided among 3 colours ({stem})")
    images = torch.from_numpy(faces.images[:4, None]).float()
    torch.testing.assert_close(colour(images.expand(-1, 3, -1, -1))[-1], old(images)[-1], atol=1e-3, rtol=0)

    grey = built_like(shipped)
    report = copy_matching(grey, LoadedCheckpoint(shipped.path, colour, None, {}))
    torch.testing.assert_close(grey.state_dict()[stem], old.state_dict()[stem])
    assert report.recoloured == [stem]


def test_points_and_sources_in_another_order_are_taken_by_their_names(shipped, tmp_path):
    old_scheme = scheme_of(["left", "right"], {"first": None, "second": ["left", "right"]})
    new_scheme = scheme_of(["right", "left"], {"second": None, "first": ["left", "right"]})
    old = built_like(shipped, old_scheme, channels=8)
    old.mean_face.copy_(torch.arange(8.0).view(2, 2, 2))
    model = built_like(shipped, new_scheme, channels=8)
    report = copy_matching(model, LoadedCheckpoint(tmp_path, old, None, {}))
    assert not report.partly_copied
    assert not report.not_copied
    assert torch.equal(model.mean_face, old.mean_face.flip(0, 1))
    head = next(name for name in model.state_dict() if ".heads." in name and name.endswith(".weight"))
    for source, before in ((0, 1), (1, 0)):
        for point in (0, 1):
            weights = model.state_dict()[head][model.channels[source, point]]
            assert torch.equal(weights, old.state_dict()[head][old.channels[before, 1 - point]])


def test_shared_channels_take_the_weights_of_the_first_source_s_own(shipped):
    settings = shipped.model.settings.replaced(by_source=False)
    shared = KeypointModel(shipped.model.keypoints, (96, 96), settings, "softmax", shipped.model.decoder)
    report = copy_matching(shared, shipped)
    assert not report.partly_copied
    assert not report.not_copied
    head = next(name for name in shared.state_dict() if ".heads." in name and name.endswith(".weight"))
    assert torch.equal(shared.state_dict()[head], shipped.model.state_dict()[head][:15])
