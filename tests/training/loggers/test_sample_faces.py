"""Sample faces: which rows, their RMSE, and their pictures."""

import numpy as np
import pytest

from facekp.models.checkpoint import load_checkpoint
from facekp.training.loggers.sample_faces import sample_faces


def test_faces_of_every_source_with_their_rmse_and_pictures(tiny_run, faces):
    model = load_checkpoint(tiny_run / "checkpoints" / "best.ckpt").model
    points = np.nan_to_num(faces.points) + np.array([3.0, 0.0])
    samples = sample_faces(model, faces, points.astype(np.float32), 4)
    assert len({sample.row for sample in samples}) == 4
    assert {sample.source for sample in samples} == {"dense", "sparse"}
    for sample in samples:
        assert sample.rmse == pytest.approx(np.sqrt(3.0**2 / 2), rel=1e-4)
        for picture in (sample.points, sample.heatmaps):
            assert picture.dtype == np.uint8
            assert picture.shape[2] == 4
            assert len(np.unique(picture)) > 10
    assert sample_faces(model, faces, points, 0) == []
