"""What tests of models share: a small model and exported files."""

import pytest
import torch

from facekp.export import main
from facekp.models.keypoint_model import KeypointModel
from facekp.models.settings import DecoderSettings
from tests.conftest import composed, settings_of


def export(ckpt, out, *more):
    """Export a checkpoint by the command, checked on 12 drawn faces."""
    given = ["data=synthetic", "data.rows=40", "check=12", f"ckpt={ckpt}", f"out={out}"]
    return main(composed(*given, *more, name="export"))


@pytest.fixture(scope="session")
def of_all(ckpt, tmp_path_factory):
    """An ONNX file in float32, of both sources, with mirrored and scaled views; its check; its decoder's overrides."""
    out = tmp_path_factory.mktemp("onnx") / "all.onnx"
    more = ["source=all", "input=float32", "decoder=mean", "decoder.flip=true", "decoder.scale=0.05"]
    return out, export(ckpt, out, *more), more[2:]


@pytest.fixture(scope="session")
def small(ckpt, tmp_path_factory):
    """An ONNX file in int8, of the first source, with uint8 images; its check."""
    out = tmp_path_factory.mktemp("onnx") / "small.onnx"
    return out, export(ckpt, out, "precision=int8", "decoder=argmax", "force=true")


@pytest.fixture
def model(scheme) -> KeypointModel:
    """An untrained hourglass of 8 channels; the image itself is its only view."""
    torch.manual_seed(0)
    settings = settings_of("model.network.channels=8", "model.network.levels=1")
    decoder = DecoderSettings(rule="subpixel", floor=0.0, flip=False, shift=0.0, scale=0.0)
    return KeypointModel(scheme, (96, 96), settings.model, "softmax", decoder).eval()
