"""The exported graph predicts as the model does, on every view."""

import pytest
import torch

from facekp.models.checkpoint import load_checkpoint
from facekp.models.export.graph import KeypointGraph, OneSource
from facekp.models.settings import DecoderOverride


@pytest.mark.parametrize(
    "decoder",
    [
        {"flip": False, "shift": 0.0, "scale": 0.0},
        {"flip": True, "shift": 2.0, "scale": 0.06, "rule": "mean", "floor": 0.02},
    ],
)
def test_the_graph_predicts_as_the_model_does(decoder, faces):
    model = load_checkpoint("shipped").model
    model.offset[1] += 1.5
    model.override_decoder(DecoderOverride(**decoder))
    model.calibrations[0].decoder.update(model.decoder.plain())
    images, source = torch.from_numpy(faces.images[:6, None]), torch.from_numpy(faces.source[:6]).long()
    with torch.inference_mode():
        graph = KeypointGraph(model, deviation=True)
        points, confidence, deviation, error = graph(images, source)
        expected = model.predict(images, source)
    assert graph.outputs() == ["points", "confidence", "deviation", "expected_error"]
    torch.testing.assert_close(deviation, expected.deviation, atol=2e-3, rtol=0)
    torch.testing.assert_close(points, expected.points, atol=2e-3, rtol=0)
    torch.testing.assert_close(confidence, expected.confidence, atol=2e-3, rtol=0)
    torch.testing.assert_close(error, expected.expected_error, atol=2e-3, rtol=0)


def test_without_a_valid_calibration_there_are_no_expected_errors(faces):
    model = load_checkpoint("shipped").model
    model.override_decoder(DecoderOverride(rule="argmax", shift=0.0, scale=0.0))
    images = torch.from_numpy(faces.images[:2, None])
    assert len(KeypointGraph(model)(images, torch.zeros(2, dtype=torch.long))) == 2


def test_a_graph_of_one_source_needs_no_second_input(model, faces):
    images = torch.from_numpy(faces.images[:3, None])
    with torch.inference_mode():
        points, _ = OneSource(KeypointGraph(model), 1)(images)
        expected, _ = KeypointGraph(model)(images, torch.ones(3, dtype=torch.long))
    assert torch.equal(points, expected)
