"""What tests of models share: a small model."""

import pytest
import torch

from facekp.models.keypoint_model import KeypointModel
from facekp.models.settings import DecoderSettings
from tests.conftest import settings_of


@pytest.fixture
def model(scheme) -> KeypointModel:
    """An untrained hourglass of 8 channels; the image itself is its only view."""
    torch.manual_seed(0)
    settings = settings_of("model.network.channels=8", "model.network.levels=1")
    decoder = DecoderSettings(rule="subpixel", floor=0.0, flip=False, shift=0.0, scale=0.0)
    return KeypointModel(scheme, (96, 96), settings.model, "softmax", decoder).eval()
