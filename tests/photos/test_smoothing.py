"""The One-Euro filter: as its paper says, at any frame rate."""

import math
from itertools import pairwise

import numpy as np
import pytest

from facekp.photos.smoothing import OneEuroFilter, SmoothingSettings

SETTINGS = SmoothingSettings(min_cutoff=1.2, beta=3.0, d_cutoff=0.8)


def one_euro(values, seconds, side):
    """The filter of the paper for one point (x, y), step by step; its speed is that of the point as it was."""

    def alpha(cutoff):
        return 1 / (1 + (1 / (2 * math.pi * cutoff)) / seconds)

    smoothed, velocity = [values[0]], (0.0, 0.0)
    for last, value in pairwise(values):
        a = alpha(SETTINGS.d_cutoff)
        velocity = [a * (v - b) / seconds + (1 - a) * old for v, b, old in zip(value, last, velocity, strict=True)]
        a = alpha(SETTINGS.min_cutoff + SETTINGS.beta * math.hypot(*velocity) / side)
        smoothed.append([a * v + (1 - a) * s for v, s in zip(value, smoothed[-1], strict=True)])
    return smoothed


def filtered(points, seconds, side=100.0, settings=SETTINGS):
    """Smoothed points of each frame; ``points`` is (frames, K, 2)."""
    smooth = OneEuroFilter(settings)
    return np.array([smooth(frame, seconds, side) for frame in points])


def test_it_is_the_filter_of_the_paper_for_every_point():
    points = np.random.default_rng(0).normal(50, 4, (30, 3, 2)).cumsum(axis=0)
    ours = filtered(points, 0.04)
    for k in range(3):
        assert np.allclose(ours[:, k], one_euro(points[:, k].tolist(), 0.04, 100.0))


def test_the_size_of_the_face_does_not_matter():
    points = np.random.default_rng(0).normal(50, 4, (30, 3, 2))
    assert np.allclose(filtered(points, 0.04, 100.0) * 5, filtered(points * 5, 0.04, 500.0))


def test_noise_at_rest_shrinks_and_motion_is_hardly_late():
    settings = SmoothingSettings(min_cutoff=1.0, beta=40.0, d_cutoff=1.0)
    noise = np.random.default_rng(0).normal(0, 0.3, (400, 5, 2))
    rest = filtered(noise, 0.04, settings=settings)[50:]
    assert rest.std() < 0.75 * noise[50:].std()
    path = np.repeat((np.arange(60) * 4.0)[:, None, None], 2, axis=2)  # a face's side per second
    late = path[-1, 0, 0] - filtered(path, 0.04, settings=settings)[-1, 0, 0]
    assert 0 < late / 4 < 0.15  # frames
    slow = filtered(path, 0.04, settings=SmoothingSettings(min_cutoff=1.0, beta=0.0, d_cutoff=1.0))
    assert (path[-1, 0, 0] - slow[-1, 0, 0]) / 4 == pytest.approx(25 / (2 * math.pi), rel=0.01)


@pytest.mark.parametrize("rate", [25, 50, 100])
def test_the_frame_rate_hardly_matters(rate):
    def late(rate):
        path = 50 + 20 * np.sin(2 * np.pi * np.arange(0, 2, 1 / rate))
        smoothed = filtered(np.repeat(path[:, None, None], 2, axis=2), 1 / rate)[:, 0, 0]
        return np.abs(smoothed - path).max()

    assert late(rate) == pytest.approx(late(800), rel=0.15)


def test_a_point_that_is_not_finite_does_not_disturb_later_ones():
    points = np.full((4, 2, 2), 7.0)
    points[0, 0] = points[2, 1] = np.nan
    smoothed = filtered(points, 0.04)
    assert np.array_equal(np.isnan(smoothed), np.isnan(points))
    assert (smoothed[~np.isnan(points)] == 7).all()


def test_a_point_that_was_not_finite_for_a_frame_is_smoothed_on_from_where_it_was():
    settings = SmoothingSettings(min_cutoff=1.0, beta=2.0, d_cutoff=0.5)
    points = np.array([0.0, np.nan, 10.0])[:, None, None].repeat(2, axis=2)
    turned = 2 * math.pi * 0.5 * 0.04
    speed = math.hypot(10, 10) / 0.04 * turned / (1 + turned) / 100
    turned = 2 * math.pi * (1 + 2 * speed) * 0.04
    assert filtered(points, 0.04, settings=settings)[2, 0] == pytest.approx(10 * turned / (1 + turned))
