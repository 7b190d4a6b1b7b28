"""Packed checkpoints answer the same and weigh less."""

import numpy as np
import pytest
import torch

from facekp.checkpoint import SHIPPED, load_checkpoint, read_tensors
from facekp.errors import UserError
from facekp.inference import predict_points
from facekp.pack import pack


def test_a_packed_checkpoint_answers_the_same_at_half_the_size_or_less(tiny_run, tmp_path, faces):
    whole, packed = tiny_run / "checkpoints" / "best.ckpt", tmp_path / "deep" / "packed.ckpt"
    pack(whole, packed)
    assert packed.stat().st_size < whole.stat().st_size / 2
    before, after = load_checkpoint(whole), load_checkpoint(packed)
    np.testing.assert_array_equal(predict_points([after], faces)[0], predict_points([before], faces)[0])
    assert set(after.trained_on) == set(before.trained_on)


def test_published_weights_are_packed_already(seed_weights, tmp_path):
    with pytest.raises(UserError, match="nothing but weights"):
        pack(seed_weights, tmp_path / "x.ckpt")


def test_the_shipped_checkpoint_finds_drawn_faces(faces):
    assert SHIPPED.stat().st_size < 6e6
    points, confidence = predict_points([load_checkpoint("shipped")], faces)
    error = np.sqrt(np.nanmean((points - faces.points) ** 2))
    assert error < 2.5  # other faces than it was trained on; the mean face is off by 5 px
    assert confidence.shape == (80, 15)


def test_half_precision_halves_it_and_hardly_moves_a_point(tiny_run, tmp_path, faces):
    best = tiny_run / "checkpoints" / "best.ckpt"
    pack(best, tmp_path / "whole.ckpt")
    pack(best, tmp_path / "half.ckpt", half=True)
    whole, half = (read_tensors(tmp_path / name)["state_dict"] for name in ("whole.ckpt", "half.ckpt"))
    kernels = [name for name, value in half.items() if value.dtype == torch.float16]
    assert sum(half[name].numel() for name in kernels) > 0.8 * sum(value.numel() for value in whole.values())
    points, _ = predict_points([load_checkpoint(tmp_path / "half.ckpt")], faces)
    expected, _ = predict_points([load_checkpoint(best)], faces)
    assert np.abs(points - expected).mean() < 0.05
