"""The model: channels by source, mirrored and moved views, rebuilding from plain settings."""

import pytest
import torch

from facekp.core.errors import UserError
from facekp.functional.heatmap import HeatmapCodec
from facekp.models.keypoint_model import KeypointModel
from tests.conftest import config_of


@pytest.fixture
def model(scheme):
    torch.manual_seed(0)
    config = config_of("model.network.channels=8", "model.network.levels=1")
    return KeypointModel(
        scheme, (96, 96), config["model"], "softmax", {"rule": "subpixel", "flip": False, "floor": 0.0}
    ).eval()


def test_labels_put_into_channels_and_encoded_are_read_back_by_their_source(model, faces):
    points, source = torch.from_numpy(faces.points), torch.from_numpy(faces.source)
    spread = model.spread(points, source)
    assert spread.shape == (80, 19, 2)
    assert spread[source == 0, 15:].isnan().all()  # a dense row says nothing about sparse channels
    assert (~spread.isnan()).sum() == (~points.isnan()).sum()
    heatmaps, cells = model.target(spread)
    torch.testing.assert_close(cells * 4 + 1.5, spread, equal_nan=True)
    found, _ = model.decode(heatmaps, source)
    expected = torch.where(points.isnan(), model.mean_face[source.long()], points)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_the_network_never_sees_an_offset_that_every_answer_has(model, faces, scheme):
    twin = KeypointModel.from_settings(model.settings() | {"offsets": {"sparse": 1.5}}).eval()
    twin.load_state_dict(model.state_dict())
    images, source = torch.from_numpy(faces.images[:6, None]), torch.from_numpy(faces.source[:6])
    plain, own = model.detect(images, source)[0], twin.detect(images, source)[0]
    offset = torch.where(torch.from_numpy(scheme.labels_of("sparse")) & (source[:, None] == 1), 1.5, 0.0)
    assert 0 < (offset > 0).sum() < offset.numel()
    torch.testing.assert_close(own[..., 0], plain[..., 0] + offset)
    torch.testing.assert_close(own[..., 1], plain[..., 1])
    labels = torch.from_numpy(faces.points[:6])
    torch.testing.assert_close(
        twin.spread(labels + torch.stack((offset, torch.zeros(6, 15)), -1), source),
        model.spread(labels, source),
        equal_nan=True,
    )
    assert twin.settings()["offsets"] == {"sparse": 1.5}


def test_taught_labels_lose_their_source_s_offset_too(model):
    twin = KeypointModel.from_settings(model.settings() | {"offsets": {"dense": 0.25, "sparse": 1.5}})
    labels = torch.full((1, 2, 15, 2), 40.0)
    labels[:, 1, ~torch.from_numpy(twin.keypoints.labels_of("sparse"))] = torch.nan
    spread = twin.spread_all(labels)[0]
    assert (spread[:15] == torch.tensor([39.75, 40.0])).all()
    assert (spread[15:] == torch.tensor([38.5, 40.0])).all()


def test_a_map_that_says_nothing_is_answered_by_the_mean_face_of_its_source(model):
    model.decoder["floor"] = 0.4
    model.mean_face[0], model.mean_face[1] = 10.0, 20.0
    points = torch.full((2, 15, 2), 50.0)
    heatmaps, _ = model.target(model.spread(points, torch.tensor([0, 0])))
    peak = model.certain_peak
    heatmaps = heatmaps * peak * torch.tensor([1.0, 0.3])[:, None, None, None]  # certain, and unsure
    found, confidence = model.decode(heatmaps, torch.tensor([0, 0]))
    torch.testing.assert_close(found[0], points[0], atol=1e-2, rtol=0)
    assert (found[1] == 10).all()
    assert (confidence[0] > 0.9).all()
    assert (model.decode(torch.zeros(1, 19, 24, 24), torch.tensor([1]))[0] == 20).all()


def test_softmax_heatmaps_are_distributions(model, faces):
    heatmaps = model.heatmaps(torch.from_numpy(faces.images[:3]).unsqueeze(1))
    torch.testing.assert_close(heatmaps.sum(dim=(-2, -1)), torch.ones(3, 19))


def test_mirrored_averaging_answers_a_mirrored_image_with_the_mirrored_points(model, faces, scheme):
    model.decoder["flip"] = True
    images, source = torch.from_numpy(faces.images[:6]).unsqueeze(1), torch.from_numpy(faces.source[:6])
    points, _ = model.detect(images, source)
    mirrored, _ = model.detect(images.flip(-1), source)
    expected = points[:, scheme.flip_order()]
    expected[..., 0] = 95 - expected[..., 0]
    torch.testing.assert_close(mirrored, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("flip", [False, True])
def test_shifted_views_are_averaged_where_they_show_the_point(model, faces, flip):
    images, source = torch.from_numpy(faces.images[:8]).unsqueeze(1), torch.from_numpy(faces.source[:8])
    model.decoder["flip"] = flip
    base, _ = model.detect(images, source)
    answers, confidences = [], []
    for right, down in [(0, 0), (-5, 0), (5, 0), (0, -5), (0, 5)]:
        rows, columns = (torch.arange(96) - down).clamp(0, 95), (torch.arange(96) - right).clamp(0, 95)
        points, confidence = model.decode(model.heatmaps(images[:, :, rows][..., columns]), source)
        move = torch.tensor([right, down])
        shown = ((base + move >= 0) & (base + move <= 96)).all(-1) | (move == 0).all()
        answers.append(torch.where(shown[..., None], points - move, torch.nan))
        confidences.append(torch.where(shown, confidence, torch.nan))
    hidden = torch.stack(confidences).isnan()
    assert hidden.any()
    assert not hidden.all(dim=(1, 2)).any()
    model.override_decoder({"shift": 5.0})
    points, confidence = model.detect(images, source)
    torch.testing.assert_close(points, torch.stack(answers).nanmean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(confidence, torch.stack(confidences).nanmean(0), atol=0, rtol=1e-5)


class Echo(torch.nn.Module):
    """A network whose heatmaps are the image itself, in cells of its stride."""

    stride = 4

    def forward(self, images):
        return [torch.nn.functional.avg_pool2d(images, self.stride).expand(-1, 19, -1, -1)]


def test_every_view_of_a_drawn_spot_is_mapped_back_to_where_it_is(model):
    model.activation, model.network = "none", Echo()
    spots = 20 + 56 * torch.rand(40, 1, 2, generator=torch.Generator().manual_seed(0))
    pixels = HeatmapCodec((96, 96), stride=1, sigma=5.0)
    images, source = 255 * pixels.encode(spots), torch.zeros(40, dtype=torch.int64)
    model.override_decoder({"shift": 2.5, "scale": 0.2})
    views = model.views()
    assert len(set(views)) == 6
    for view in views:
        found, _, _ = model._look(images, source, spots, *view)
        assert (found - spots).abs().max() < 0.02, view
    assert (model.detect(images, source)[0] - spots).abs().max() < 0.02


def test_several_sources_a_row_are_answered_as_one_by_one(model, faces):
    images = torch.from_numpy(faces.images[:6]).unsqueeze(1)
    model.override_decoder({"shift": 9.0, "scale": 0.3, "flip": True})
    sources = torch.tensor([[0, 1]]).expand(6, 2)
    points, confidence = model.detect(images, sources)
    assert points.shape == (6, 2, 15, 2)
    for s in (0, 1):
        expected, sure = model.detect(images, sources[:, s])
        torch.testing.assert_close(points[:, s], expected)
        torch.testing.assert_close(confidence[:, s], sure)


def test_the_floor_is_laid_to_the_mean_confidence_of_the_views(model, faces):
    images, source = torch.from_numpy(faces.images[:8]).unsqueeze(1), torch.from_numpy(faces.source[:8])
    model.mean_face[:] = torch.rand(2, 15, 2)
    model.override_decoder({"shift": 4.0, "scale": 0.1})
    free, confidence = model.detect(images, source)
    floor = confidence.median().item()
    model.override_decoder({"floor": floor})
    points, _ = model.detect(images, source)
    expected = torch.where((confidence < floor)[..., None], model.mean_face[source.long()], free)
    assert torch.equal(points, expected)


def test_settings_of_a_decoder_without_views_mean_the_image_alone(model, faces):
    settings = model.settings()
    settings["decoder"] = {key: settings["decoder"][key] for key in ("rule", "flip", "floor")}
    twin = KeypointModel.from_settings(settings).eval()
    twin.load_state_dict(model.state_dict())
    images, source = torch.from_numpy(faces.images[:2]).unsqueeze(1), torch.from_numpy(faces.source[:2])
    expected, _ = twin.decode(twin.heatmaps(images), source)
    assert torch.equal(twin.detect(images, source)[0], expected)
    assert twin.settings()["decoder"]["shift"] == twin.settings()["decoder"]["scale"] == 0


def test_plain_settings_rebuild_the_same_detector(model, faces):
    twin = KeypointModel.from_settings(model.settings()).eval()
    twin.load_state_dict(model.state_dict())
    images, source = torch.from_numpy(faces.images[:2]).unsqueeze(1), torch.from_numpy(faces.source[:2])
    assert torch.equal(twin.detect(images, source)[0], model.detect(images, source)[0])


def test_an_unknown_activation_is_told_the_choices(scheme):
    with pytest.raises(UserError, match="none, softmax"):
        KeypointModel(
            scheme, (96, 96), config_of()["model"], "sigmoid", {"rule": "argmax", "flip": False, "floor": 0.0}
        )


def test_an_unknown_decoder_setting_is_told(model):
    with pytest.raises(UserError, match=r"decoder\.filp: is unknown; choose among rule, flip, floor, shift, scale"):
        model.override_decoder({"filp": True})


@pytest.mark.parametrize("model", ["regression", "simcc"])
def test_maps_that_are_logarithms_want_a_loss_on_distributions(scheme, model):
    config = config_of(f"model={model}")
    with pytest.raises(UserError, match=rf"loss\.activation: 'none' doesn't suit network {model}"):
        KeypointModel(scheme, (96, 96), config["model"], "none", config["decoder"])


def test_a_view_s_deviation_is_in_the_image_s_own_pixels(model, faces):
    images, source = torch.from_numpy(faces.images[:4]).unsqueeze(1), torch.from_numpy(faces.source[:4])
    maps = torch.zeros(4, len(model.mirrored_channels), *(side // model.codec.stride for side in model.size))
    maps[..., 10:12, 10:12] = 0.25  # whatever it looks at: two cells across and down, half a cell from their mean
    model.heatmaps = lambda images, raw=None: maps
    expected = model.codec.deviation(maps)[0, 0].item()
    model.override_decoder({"scale": 0.25})
    found = model.measure(images, source)[2]
    assert found[0, 0].item() == pytest.approx(expected * ((1 + 1 / 1.25**2 + 1 / 0.75**2) / 3) ** 0.5, rel=1e-4)
