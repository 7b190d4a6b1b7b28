"""Prediction: arrays are changed and joined part by part, missing parts stay None."""

import numpy as np

from facekp.models.prediction import Prediction, concatenate


def test_batches_become_one_prediction_and_missing_parts_stay_none():
    first = Prediction(np.zeros((2, 3, 2)), np.zeros((2, 3)), np.ones((2, 3)), None)
    second = Prediction(np.ones((1, 3, 2)), np.ones((1, 3)), np.ones((1, 3)), None)
    both = concatenate([first, second], np.concatenate)
    assert both.points.shape == (3, 3, 2)
    np.testing.assert_array_equal(both.confidence[:, 0], [0, 0, 1])
    assert both.deviation.shape == (3, 3)
    assert both.expected_error is None


def test_a_change_is_applied_to_every_array():
    shapes = Prediction(np.zeros((2, 3, 2)), np.zeros((2, 3)), None, np.zeros((2, 3))).map(np.shape)
    assert shapes == Prediction((2, 3, 2), (2, 3), None, (2, 3))
