"""The measures of `tools/video_benchmark.py`, on points whose jitter and lag are known."""

import numpy as np
import pytest
from tools.video_benchmark import PAN, RATE, STILL, SWAY, jitter, lag, offset, photos

SECONDS = np.arange(200) / RATE
FACE = np.random.default_rng(0).uniform(0, 100, (15, 2))


def test_points_that_move_with_the_picture_have_neither_jitter_nor_lag():
    for path in (STILL, SWAY, PAN):
        points = FACE + offset(path, SECONDS)[:, None]
        assert jitter(points, offset(path, SECONDS)) == pytest.approx(0, abs=1e-9)
    assert lag(FACE + offset(SWAY, SECONDS)[:, None], offset(SWAY, SECONDS)) == pytest.approx(0, abs=1e-9)


def test_jitter_is_the_distance_of_noise_in_both_directions():
    noise = np.random.default_rng(1).normal(0, 0.3, (200, 15, 2))
    assert jitter(FACE + noise, offset(STILL, SECONDS)) == pytest.approx(0.3 * np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("frames", [0.2, 1.0])
def test_lag_is_counted_in_frames(frames):
    late = FACE + offset(SWAY, SECONDS - frames / RATE)[:, None]
    assert lag(late, offset(SWAY, SECONDS)) == pytest.approx(frames, rel=0.02)


def test_the_picture_moves_by_the_path():
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[200:280, 300:340] = 255
    x, y = offset(SWAY, np.array([10 / RATE]))[0]
    *_, last = photos(picture, SWAY, 0, 11)
    rows, columns = np.nonzero(last.grey > 127)
    assert np.allclose((columns.mean() - 319.5, rows.mean() - 239.5), (x, y), atol=0.5)
