"""KeypointModel: channels by source, mirrored and moved views, rebuilding from plain settings."""

import numpy as np
import pytest
import torch

from facekp.core.errors import UserError
from facekp.functional.heatmap import HeatmapCodec
from facekp.functional.warp import warp_images
from facekp.models.calibration import Calibration
from facekp.models.checkpoint import load_checkpoint
from facekp.models.keypoint_model import KeypointModel
from facekp.models.settings import DecoderOverride
from facekp.models.views import CPU_BATCH_SIZE, View, mean_over_views, other_views, to_image, to_view
from tests.conftest import settings_of


def override(model, **values):
    model.override_decoder(DecoderOverride(**values))


def test_labels_put_into_channels_and_encoded_are_read_back_by_their_source(model, faces):
    points, source = torch.from_numpy(faces.points), torch.from_numpy(faces.source)
    spread = model.labels_by_channel(points, source)
    assert spread.shape == (80, 19, 2)
    assert spread[source == 0, 15:].isnan().all()  # a dense row says nothing about sparse channels
    assert (~spread.isnan()).sum() == (~points.isnan()).sum()
    heatmaps, cells = model.target(spread)
    torch.testing.assert_close(cells * 4 + 1.5, spread, equal_nan=True)
    found = model.decode(heatmaps, source).points
    expected = torch.where(points.isnan(), model.mean_face[source.long()], points)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_offsets_are_subtracted_from_labels_and_added_to_predictions(model, faces, scheme):
    twin = KeypointModel.from_dict(model.to_dict() | {"offsets": {"sparse": 1.5}}).eval()
    twin.load_state_dict(model.state_dict())
    images, source = torch.from_numpy(faces.images[:6, None]), torch.from_numpy(faces.source[:6])
    plain, moved = model.predict(images, source).points, twin.predict(images, source).points
    offset = torch.where(torch.from_numpy(scheme.labels_of("sparse")) & (source[:, None] == 1), 1.5, 0.0)
    assert 0 < (offset > 0).sum() < offset.numel()
    torch.testing.assert_close(moved[..., 0], plain[..., 0] + offset)
    torch.testing.assert_close(moved[..., 1], plain[..., 1])
    labels = torch.from_numpy(faces.points[:6])
    torch.testing.assert_close(
        twin.labels_by_channel(labels + torch.stack((offset, torch.zeros(6, 15)), -1), source),
        model.labels_by_channel(labels, source),
        equal_nan=True,
    )
    assert twin.to_dict()["offsets"] == {"sparse": 1.5}


def test_labels_of_every_source_lose_the_offset_of_their_source(model):
    twin = KeypointModel.from_dict(model.to_dict() | {"offsets": {"dense": 0.25, "sparse": 1.5}})
    labels = torch.full((1, 2, 15, 2), 40.0)
    labels[:, 1, ~torch.from_numpy(twin.keypoints.labels_of("sparse"))] = torch.nan
    spread = twin.all_labels_by_channel(labels)[0]
    assert (spread[:15] == torch.tensor([39.75, 40.0])).all()
    assert (spread[15:] == torch.tensor([38.5, 40.0])).all()


def test_the_labels_of_a_heatmap_are_those_of_all_sources_that_share_it(model):
    labels = np.random.default_rng(0).integers(0, 50, (2, 15))
    channels = model.channels.numpy()
    expected = [[labels[channels == channel].sum() for channel in of_source] for of_source in channels]
    assert model.labels_by_heatmap(labels).tolist() == expected
    assert (np.bincount(channels.ravel()) > 1).any()


def test_where_sources_share_a_heatmap_a_teacher_s_points_are_those_of_the_first(model):
    shared = KeypointModel(
        model.keypoints, model.size, model.settings.replaced(by_source=False), model.activation, model.decoder
    )
    points = torch.rand(3, 2, 15, 2) * 95
    assert torch.equal(shared.all_labels_by_channel(points), points[:, 0])


@pytest.mark.parametrize("pixels", [97.0, -97.0])
def test_an_offset_larger_than_the_image_is_refused(model, pixels):
    with pytest.raises(UserError, match=rf"offsets\.sparse={pixels}: must be pixels, at most the image's side of 96"):
        KeypointModel.from_dict(model.to_dict() | {"offsets": {"sparse": pixels}})


def test_an_empty_or_unsure_map_is_replaced_by_the_mean_face_of_its_source(model):
    override(model, floor=0.4)
    model.mean_face[0], model.mean_face[1] = 10.0, 20.0
    points = torch.full((2, 15, 2), 50.0)
    heatmaps, _ = model.target(model.labels_by_channel(points, torch.tensor([0, 0])))
    peak = model.certain_peak
    heatmaps = heatmaps * peak * torch.tensor([1.0, 0.3])[:, None, None, None]  # certain, and unsure
    found, confidence, *_ = model.decode(heatmaps, torch.tensor([0, 0]))
    torch.testing.assert_close(found[0], points[0], atol=1e-2, rtol=0)
    assert (found[1] == 10).all()
    assert (confidence[0] > 0.9).all()
    assert (model.decode(torch.zeros(1, 19, 24, 24), torch.tensor([1])).points == 20).all()


def test_softmax_heatmaps_are_distributions(model, faces):
    heatmaps = model.heatmaps(torch.from_numpy(faces.images[:3]).unsqueeze(1))
    torch.testing.assert_close(heatmaps.sum(dim=(-2, -1)), torch.ones(3, 19))


def test_mirrored_averaging_predicts_mirrored_points_for_a_mirrored_image(model, faces, scheme):
    override(model, flip=True)
    images, source = torch.from_numpy(faces.images[:6]).unsqueeze(1), torch.from_numpy(faces.source[:6])
    points = model.predict(images, source).points
    mirrored = model.predict(images.flip(-1), source).points
    expected = points[:, scheme.flip_order()]
    expected[..., 0] = 95 - expected[..., 0]
    torch.testing.assert_close(mirrored, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("flip", [False, True])
def test_shifted_views_are_averaged_where_they_show_the_point(model, faces, flip):
    images, source = torch.from_numpy(faces.images[:8]).unsqueeze(1), torch.from_numpy(faces.source[:8])
    override(model, flip=flip)
    base = model.predict(images, source).points
    predicted, confidences = [], []
    for right, down in [(0, 0), (-5, 0), (5, 0), (0, -5), (0, 5)]:
        rows, columns = (torch.arange(96) - down).clamp(0, 95), (torch.arange(96) - right).clamp(0, 95)
        points, confidence, *_ = model.decode(model.heatmaps(images[:, :, rows][..., columns]), source)
        move = torch.tensor([right, down])
        shown = ((base + move >= 0) & (base + move <= 96)).all(-1) | (move == 0).all()
        predicted.append(torch.where(shown[..., None], points - move, torch.nan))
        confidences.append(torch.where(shown, confidence, torch.nan))
    hidden = torch.stack(confidences).isnan()
    assert hidden.any()
    assert not hidden.all(dim=(1, 2)).any()
    override(model, shift=5.0)
    points, confidence, *_ = model.predict(images, source)
    torch.testing.assert_close(points, torch.stack(predicted).nanmean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(confidence, torch.stack(confidences).nanmean(0), atol=0, rtol=1e-5)


class Echo(torch.nn.Module):
    """A network whose heatmaps are the image itself, in cells of its stride."""

    stride, activation = 4, None

    def forward(self, images):
        return [torch.nn.functional.avg_pool2d(images, self.stride).expand(-1, 19, -1, -1)]


class Constant(torch.nn.Module):
    """A network that predicts the same heatmaps (1, C, h, w) for every image."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, images):
        return [self.maps.expand(len(images), -1, -1, -1)]


def test_every_view_of_a_drawn_spot_is_mapped_back_to_where_it_is(model):
    model.activation, model.network = "none", Echo()
    spots = 20 + 56 * torch.rand(40, 1, 2, generator=torch.Generator().manual_seed(0))
    pixels = HeatmapCodec((96, 96), stride=1, sigma=5.0)
    images, source = 255 * pixels.encode(spots), torch.zeros(40, dtype=torch.int64)
    override(model, shift=2.5, scale=0.2)
    heatmaps = torch.nn.functional.avg_pool2d(model.views(images)[:, :, 0], 4)  # (N, V, h, w)
    assert heatmaps.shape[1] == 7
    found = model.views.to_image(model.codec.decode(heatmaps, model.decoder.rule)[0])
    assert (found - spots).abs().amax(dim=(0, 2)).tolist() == pytest.approx([0] * 7, abs=0.02)
    assert (model.predict(images, source).points - spots).abs().max() < 0.02


def test_several_sources_per_row_are_predicted_like_each_alone(model, faces):
    images = torch.from_numpy(faces.images[:6]).unsqueeze(1)
    override(model, shift=9.0, scale=0.3, flip=True)
    sources = torch.tensor([[0, 1]]).expand(6, 2)
    points, confidence, *_ = model.predict(images, sources)
    assert points.shape == (6, 2, 15, 2)
    for s in (0, 1):
        expected, sure, *_ = model.predict(images, sources[:, s])
        torch.testing.assert_close(points[:, s], expected)
        torch.testing.assert_close(confidence[:, s], sure)


def test_the_floor_applies_to_the_mean_confidence_of_the_views(model, faces):
    images, source = torch.from_numpy(faces.images[:8]).unsqueeze(1), torch.from_numpy(faces.source[:8])
    model.mean_face[:] = torch.rand(2, 15, 2)
    override(model, shift=4.0, scale=0.1)
    free, confidence, *_ = model.predict(images, source)
    floor = confidence.median().item()
    override(model, floor=floor)
    points = model.predict(images, source).points
    expected = torch.where((confidence < floor)[..., None], model.mean_face[source.long()], free)
    assert torch.equal(points, expected)


def test_without_other_views_predict_is_decode(model, faces):
    images, source = torch.from_numpy(faces.images[:2]).unsqueeze(1), torch.from_numpy(faces.source[:2])
    decoded, predicted = model.decode(model.heatmaps(images), source), model.predict(images, source)
    assert all(torch.equal(*pair) for pair in zip(decoded[:2], predicted[:2], strict=True))
    torch.testing.assert_close(decoded.deviation, predicted.deviation)
    assert predicted.expected_error is None


def test_a_calibration_is_valid_for_its_decoder_only(model):
    ours, other = (
        Calibration(d.plain(), [1.0], [0.5], [[1.0]], {}) for d in (model.decoder, model.decoder.replaced(shift=3.0))
    )
    model.calibrations = [other]
    assert model.valid_calibration() is None
    model.calibrations = [other, ours]
    assert model.valid_calibration() is ours


def test_plain_settings_rebuild_the_same_model(model, faces):
    twin = KeypointModel.from_dict(model.to_dict()).eval()
    twin.load_state_dict(model.state_dict())
    images, source = torch.from_numpy(faces.images[:2]).unsqueeze(1), torch.from_numpy(faces.source[:2])
    assert torch.equal(twin.predict(images, source).points, model.predict(images, source).points)
    assert twin.to_dict() == model.to_dict()


def test_an_unknown_activation_is_refused_with_the_choices(scheme, model):
    with pytest.raises(UserError, match=r"loss\.activation=sigmoid: choose one of none, softmax"):
        KeypointModel(scheme, (96, 96), model.settings, "sigmoid", model.decoder)


@pytest.mark.parametrize("name", ["regression", "simcc"])
def test_networks_whose_maps_are_logarithms_need_softmax(scheme, name):
    settings = settings_of(f"model={name}")
    with pytest.raises(UserError, match=rf"loss\.activation=none: network {name} needs softmax"):
        KeypointModel(scheme, (96, 96), settings.model, "none", settings.decoder)


def test_a_view_s_deviation_is_in_pixels_of_the_image(model, faces):
    images, source = torch.from_numpy(faces.images[:4]).unsqueeze(1), torch.from_numpy(faces.source[:4])
    maps = torch.zeros(4, len(model.mirrored_channels), *(side // model.codec.stride for side in model.size))
    maps[..., 10:12, 10:12] = 0.25  # for every view: two cells across and down, half a cell from their mean
    model.activation, model.network = "none", Constant(maps[:1])
    expected = model.codec.deviation(maps)[0, 0].item()
    override(model, scale=0.25)
    found = model.predict(images, source).deviation
    assert found[0, 0].item() == pytest.approx(expected * ((1 + 1 / 1.25**2 + 1 / 0.75**2) / 3) ** 0.5, rel=1e-4)


def test_a_view_that_is_empty_or_does_not_show_the_point_does_not_count(model):
    override(model, shift=4.0)
    codec, moves = model.codec, torch.tensor([[0.0, 0], [-4, 0], [4, 0], [0, -4], [0, 4]])
    maps = codec.encode(torch.tensor([2.0, 48.0]) + moves)  # one of each view; the second one does not show the point
    maps[1] = HeatmapCodec((96, 96), codec.stride, 4 * codec.sigma).encode(torch.tensor([[60.0, 20.0]]))[0]
    maps[4] = 0
    model.activation, model.certain_peak = "none", 1.0
    model.network = Constant(maps[:, None].expand(-1, len(model.mirrored_channels), -1, -1))
    points, confidence, deviation, _ = model.predict(torch.zeros(1, 1, 96, 96), torch.zeros(1, dtype=torch.long))
    torch.testing.assert_close(points, torch.tensor([2.0, 48.0]).expand(1, 15, 2), atol=0.01, rtol=0)
    peaks, widths = maps.amax(dim=(1, 2)), codec.deviation(maps)
    torch.testing.assert_close(confidence, peaks[[0, 2, 3, 4]].mean().expand(1, 15))
    torch.testing.assert_close(deviation, widths[[0, 2, 3]].square().mean().sqrt().expand(1, 15))


def one_by_one(model, images, source):
    """Points as 0.1 predicted them: each view through the network alone, made by `warp`, its mirror image after it."""
    confident, points, shown = [], [], []
    for view in [View(1.0, 0.0, 0.0), *other_views(model.decoder, model.size)]:
        offset = torch.tensor([view.right, view.down])
        matrix = torch.cat([view.factor * torch.eye(2), offset[:, None]], dim=1).expand(len(images), 2, 3)
        moved = images.float() if view.factor == 1 and not offset.any() else warp_images(images.float(), matrix)
        raw = model(moved)[-1]
        if model.decoder.flip:
            raw = (raw + model(moved.flip(-1))[-1].flip(-1)[:, model.mirrored_channels]) / 2
        maps = model.activate(raw)[torch.arange(len(images))[:, None], model.channels[source]]
        found, peak = model.codec.decode(maps, model.decoder.rule)
        points.append(to_image(found, view.factor, offset))
        confident.append(peak / model.certain_peak)
        inside = to_view(points[0], view.factor, offset)
        shown.append(((inside >= 0) & (inside <= 96)).all(-1) | (len(shown) == 0))
    points, confident, shown = map(torch.stack, (points, confident, shown))
    return mean_over_views(points, shown[..., None], 0) + model.offset[source], mean_over_views(confident, shown, 0)


@pytest.mark.parametrize("decoder", [{}, {"shift": 0.0, "scale": 0.0}, {"shift": 0.0, "scale": 0.0, "flip": False}])
def test_all_views_in_one_batch_predict_as_each_alone_does(faces, decoder):
    model = load_checkpoint("shipped").model
    override(model, **decoder)
    images, source = torch.from_numpy(faces.images[:12, None]), torch.from_numpy(faces.source[:12]).long()
    expected, sure = one_by_one(model, images, source)
    points, confidence, *_ = model.predict(images, source)
    torch.testing.assert_close(points, expected, atol=1e-4, rtol=0)  # pixels; measured: 2e-5
    torch.testing.assert_close(confidence, sure, atol=1e-5, rtol=0)


@pytest.mark.parametrize("values", [{}, {"flip": True}, {"flip": True, "shift": 2.0, "scale": 0.1}])
def test_few_images_go_through_the_network_together(model, values):
    override(model, **values)
    sizes = []
    model.network.register_forward_pre_hook(lambda network, given: sizes.append(len(given[0])))
    model.predict(torch.zeros(40, 1, 96, 96), torch.zeros(40, dtype=torch.long))
    assert max(sizes) <= CPU_BATCH_SIZE
    assert sum(sizes) == 40 * len(model.views) * (2 if model.decoder.flip else 1)
    assert len(sizes) == -(-sum(sizes) // CPU_BATCH_SIZE)
