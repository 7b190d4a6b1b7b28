"""Calibration: expected errors follow the curve of a checkpoint, for the decoder that it was fitted for."""

import numpy as np
import pytest
import torch

from facekp.functional.heatmap import HeatmapCodec
from facekp.models.calibration import GOAL, Calibration
from facekp.models.checkpoint import load_checkpoint
from facekp.models.settings import DecoderOverride


def test_expected_errors_follow_the_curve_and_are_constant_beyond_its_ends():
    fitted = Calibration({}, [1.0, 3.0, 4.0], [0.5, 1.5, 1.5], [[1.0], [2.0]], {})
    deviation = torch.tensor([[0.0], [2.0], [3.5], [9.0], [float("nan")]])
    expected = fitted.expected(deviation, torch.tensor([0, 0, 0, 1, 0]))
    torch.testing.assert_close(expected, torch.tensor([[0.5], [1.0], [1.5], [3.0], [1.5]]))


def test_several_sources_per_row_are_expected_like_each_alone():
    fitted = Calibration({}, [1.0, 3.0], [0.5, 1.5], [[1.0, 1.5], [2.0, 3.0]], {})
    deviation = torch.tensor([[[1.5, 2.0], [2.5, 3.0]]])  # (N, Q, K)
    both = fitted.expected(deviation, torch.tensor([[0, 1]]))
    for q in (0, 1):
        torch.testing.assert_close(both[:, q], fitted.expected(deviation[:, q], torch.tensor([q])))


def test_plain_values_rebuild_it():
    fitted = Calibration({"rule": "mean"}, [1.0], [0.5], [[1.0]], {"points": 3})
    assert Calibration.from_dict(fitted.to_dict()) == fitted


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"deviation": [], "error": []}, "incomplete"),
        ({"error": [0.5]}, "incomplete"),
        ({"error": [0.5, float("nan")]}, "not finite"),
        ({"deviation": [1.0, float("inf")]}, "not finite"),
        ({"factor": [[1.0], [float("nan")]]}, "not finite"),
        ({"deviation": [1.0, 1.0]}, "do not increase"),
        ({"deviation": [2.0, 1.0]}, "do not increase"),
    ],
)
def test_a_damaged_curve_is_refused(damage, message):
    values = Calibration({}, [1.0, 2.0], [0.5, 1.5], [[1.0], [2.0]], {}).to_dict()
    with pytest.raises(ValueError, match=message):
        Calibration.from_dict({**values, **damage})


def test_the_deviation_of_a_drawn_map_is_its_sigma_in_both_directions():
    codec = HeatmapCodec((96, 96), stride=4, sigma=1.5)
    maps = codec.encode(torch.tensor([[48.0, 40.0], [float("nan")] * 2]))
    found = codec.deviation(torch.cat([maps, -maps[:1]]))
    assert found[0] == pytest.approx(4 * 1.5 * np.sqrt(2), rel=1e-3)
    assert found[1:].isnan().all()


@pytest.mark.parametrize("override", [{}, {"shift": 0, "scale": 0}, {"shift": 0, "scale": 0, "flip": False}])
def test_the_shipped_checkpoint_is_calibrated_within_fifteen_percent_whatever_the_views(override):
    model = load_checkpoint("shipped").model
    model.override_decoder(DecoderOverride(**override))
    figures = model.valid_calibration().reliability
    for part in (figures, figures["corrupted"]):
        np.testing.assert_allclose(part["measured"], part["expected"], rtol=GOAL)
        assert part["points"] > 4000
