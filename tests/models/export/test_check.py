"""The check of an export: distances from the checkpoint's predictions, and their limits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facekp.models.checkpoint import load_checkpoint
from facekp.models.export.check import compare, summary, too_far


@pytest.fixture(scope="module")
def few(faces):
    return faces.take(np.arange(6))


def moved(loaded, pixels):
    """Predicts as the checkpoint does, but the first point of every face to the right by some pixels."""

    def predict(images, source):
        points, confidence, *_ = loaded.model.predict(images, source)
        offset = torch.zeros_like(points)
        offset[:, 0, 0] = pixels
        return points + offset, confidence + 0.25

    return predict


def test_distances_are_measured_in_pixels(ckpt, few):
    check = compare(load_checkpoint(ckpt), moved(load_checkpoint(ckpt), 3.0), few)
    assert check["faces"] == 6
    assert check["furthest"] == pytest.approx(3, rel=1e-4)
    assert check["rms"] == pytest.approx(3 / 15**0.5, rel=1e-4)
    assert check["confidence"] == pytest.approx(0.25, rel=1e-4)
    assert check["rmse"] != check["rmse_checkpoint"]
    assert "RMSE against labels" in summary(check)


def test_without_labels_there_is_no_rmse(ckpt, few):
    unlabelled = replace(few, points=np.full_like(few.points, np.nan))
    check = compare(load_checkpoint(ckpt), moved(load_checkpoint(ckpt), 0.0), unlabelled)
    assert check["rmse"] is None
    assert "RMSE" not in summary(check)


def test_float32_is_limited_by_the_furthest_point_and_int8_by_the_rms():
    check = {"furthest": 0.02, "rms": 0.02}
    assert "0.02 px, the limit is 0.01 px" in too_far(check, "float32")
    assert not too_far(check, "int8")
    assert too_far({"furthest": 1.0, "rms": 0.2}, "int8")
