"""The detector: channels by source, mirrored averaging, rebuilding from plain settings."""

import pytest
import torch

from facekp.detector import Detector
from facekp.errors import UserError
from tests.conftest import config_of


@pytest.fixture
def detector(scheme):
    torch.manual_seed(0)
    config = config_of("model.network.channels=8", "model.network.levels=1")
    return Detector(
        scheme, (96, 96), config["model"], "softmax", {"rule": "subpixel", "flip": False, "floor": 0.0}
    ).eval()


def test_labels_put_into_channels_and_encoded_are_read_back_by_their_source(detector, faces):
    points, source = torch.from_numpy(faces.points), torch.from_numpy(faces.source)
    spread = detector.spread(points, source)
    assert spread.shape == (80, 19, 2)
    assert spread[source == 0, 15:].isnan().all()  # a dense row says nothing about sparse channels
    assert (~spread.isnan()).sum() == (~points.isnan()).sum()
    heatmaps, cells = detector.target(points, source)
    torch.testing.assert_close(cells * 4 + 1.5, spread, equal_nan=True)
    found, _ = detector.decode(heatmaps, source)
    expected = torch.where(points.isnan(), detector.mean_face[source.long()], points)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_a_map_that_says_nothing_is_answered_by_the_mean_face_of_its_source(detector):
    detector.decoder["floor"] = 0.4
    detector.mean_face[0], detector.mean_face[1] = 10.0, 20.0
    points = torch.full((2, 15, 2), 50.0)
    heatmaps, _ = detector.target(points, torch.tensor([0, 0]))
    peak = detector.certain_peak
    heatmaps = heatmaps * peak * torch.tensor([1.0, 0.3])[:, None, None, None]  # certain, and unsure
    found, confidence = detector.decode(heatmaps, torch.tensor([0, 0]))
    torch.testing.assert_close(found[0], points[0], atol=1e-2, rtol=0)
    assert (found[1] == 10).all()
    assert (confidence[0] > 0.9).all()
    assert (detector.decode(torch.zeros(1, 19, 24, 24), torch.tensor([1]))[0] == 20).all()


def test_softmax_heatmaps_are_distributions(detector, faces):
    heatmaps = detector.heatmaps(torch.from_numpy(faces.images[:3]).unsqueeze(1))
    torch.testing.assert_close(heatmaps.sum(dim=(-2, -1)), torch.ones(3, 19))


def test_mirrored_averaging_answers_a_mirrored_image_with_the_mirrored_points(detector, faces, scheme):
    detector.decoder["flip"] = True
    images, source = torch.from_numpy(faces.images[:6]).unsqueeze(1), torch.from_numpy(faces.source[:6])
    points, _ = detector.detect(images, source)
    mirrored, _ = detector.detect(images.flip(-1), source)
    expected = points[:, scheme.flip_order()]
    expected[..., 0] = 95 - expected[..., 0]
    torch.testing.assert_close(mirrored, expected, atol=1e-3, rtol=0)


def test_plain_settings_rebuild_the_same_detector(detector, faces):
    twin = Detector.from_settings(detector.settings()).eval()
    twin.load_state_dict(detector.state_dict())
    images, source = torch.from_numpy(faces.images[:2]).unsqueeze(1), torch.from_numpy(faces.source[:2])
    assert torch.equal(twin.detect(images, source)[0], detector.detect(images, source)[0])


def test_an_unknown_activation_is_told_the_choices(scheme):
    with pytest.raises(UserError, match="none, softmax"):
        Detector(scheme, (96, 96), config_of()["model"], "sigmoid", {"rule": "argmax", "flip": False, "floor": 0.0})
