"""Averaged weights: against an average computed by hand over the weights of every step."""

import pytest
import torch
from pytorch_lightning import Callback

from facekp.models.checkpoint import load_checkpoint
from facekp.training.setup import train
from tests.conftest import TINY, settings_of


def run(folder, callback, *overrides):
    train(settings_of(*TINY, "trainer.max_epochs=1", "data.batch_size=8", *overrides), folder, callbacks=[callback])


def test_averaged_weights_are_what_is_validated_and_kept(tmp_path):
    weights = []

    class Recorder(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            weights.append(pl_module.model.network.heads[0].weight.detach().clone())

    run(tmp_path / "run", Recorder(), "callbacks.ema=0.5", "lr=0.1")
    expected = weights[0]
    for weight in weights[1:]:
        expected = 0.5 * expected + 0.5 * weight
    raw = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    torch.testing.assert_close(raw["state_dict"]["model.network.heads.0.weight"].contiguous(), expected.contiguous())
    assert len(weights) > 3


@pytest.mark.parametrize("decay", [0.9, 0.95])
def test_averaging_leaves_indices_as_they_are(tmp_path, decay):
    """In float32 0.9 * 3 + 0.1 * 3 is just below 3."""
    kept = []

    class Recorder(Callback):
        def on_validation_batch_end(self, trainer, pl_module, *_):  # with the averaged weights
            kept.append((pl_module.model.channels.clone(), pl_module.model.mirrored_channels.clone()))

    run(tmp_path / "run", Recorder(), f"callbacks.ema={decay}")
    model = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt").model
    assert kept
    for channels, mirrored in kept:
        assert torch.equal(channels, model.channels)
        assert torch.equal(mirrored, model.mirrored_channels)
