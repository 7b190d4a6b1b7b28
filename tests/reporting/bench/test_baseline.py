"""The baselines compute what facekp computes, so that their times may be compared."""

import pickle

import cv2
import numpy as np
import torch

from facekp.functional.heatmap import HeatmapCodec
from facekp.reporting.bench.baseline import PlainFaces, draw_maps, highest_cells, move_face, plain_step_times
from tests.reporting.bench.conftest import bench_settings


def test_maps_are_those_of_the_codec_and_the_highest_cell_is_the_point():
    codec = HeatmapCodec((96, 96), 4, 1.0)
    points = np.array([[30.0, 50.0], [np.nan, np.nan], [9.5, 61.5]])
    maps = draw_maps((points - 1.5) / 4, 24, 1.0)
    expected = codec.encode(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(maps, expected, atol=1e-6)
    np.testing.assert_array_equal(highest_cells(maps[None])[0, 2], [2, 15])


def test_a_moved_face_takes_its_points_along():
    image = np.zeros((96, 96), np.float32)
    cv2.circle(image, (60, 40), 2, 255, -1)
    moved, points = move_face(image, np.array([[60.0, 40.0]]), np.random.default_rng(0))
    y, x = np.unravel_index(cv2.GaussianBlur(moved, (0, 0), 2).argmax(), moved.shape)
    assert np.abs(points[0] - (x, y)).max() < 1
    assert np.abs(points[0] - (60, 40)).max() > 1


def test_a_plain_loop_trains(faces):
    settings = bench_settings()
    data = PlainFaces(faces, faces.keypoints.channels(True), 4, 1.0)
    image, maps, mask = data[1]
    assert (image.shape, maps.shape) == ((1, 96, 96), (19, 24, 24))
    assert mask.sum() == faces.mask[1].sum() == (maps.flatten(1).max(dim=1).values > 0.1).sum()
    plain = (settings.model.plain(), settings.loss.plain(), faces.take(np.arange(4)))
    pickle.dumps(plain)  # they go to a new process
    times = plain_step_times(*plain, batch=2, steps=2, threads=1)
    assert len(times) == 2
    assert min(times) > 0
