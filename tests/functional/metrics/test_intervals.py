"""95 % intervals: those of resampling faces one by one, for RMSE, NME, failure rate, AUC and PCK alike."""

from dataclasses import replace

import numpy as np
import pytest

from facekp.functional.metrics import MetricInput, Ratio, compute_figures, compute_intervals, figures_and_ratios

KEYS = ("rmse", "rmse/dense", "nme", "nme/box", "nme/diagonal", "failure_rate/0.08", "auc/0.08", "pck/0.05")


@pytest.fixture(scope="module")
def scored(scheme):
    random = np.random.default_rng(1)
    truth = (random.random((50, 15, 2)) * 60 + 20).astype(np.float32)
    truth[random.random((50, 15)) < 0.2] = np.nan
    truth[:, :2] = [[65, 40], [30, 40]]
    points = np.nan_to_num(truth) + random.gamma(1, 2, (50, 1, 1)) * random.normal(0, 1, truth.shape)
    return MetricInput(points.astype(np.float32), truth, random.integers(0, 2, 50), scheme)


def test_they_are_those_of_computing_each_metric_for_resampled_faces(scored):
    _, ratios = figures_and_ratios(scored)
    found = compute_intervals(ratios, 4000)
    random = np.random.default_rng(7)
    drawn = {key: [] for key in KEYS}
    for _ in range(120):
        rows = random.integers(50, size=50)
        again = replace(scored, points=scored.points[rows], truth=scored.truth[rows], source=scored.source[rows])
        figures = compute_figures(again)
        for key in KEYS:
            drawn[key].append(figures[key])
    for key, values in drawn.items():
        low, high = np.percentile(values, (2.5, 97.5))
        figure, width = compute_figures(scored)[key], high - low
        assert found[key][0] < figure < found[key][1]
        assert found[key] == pytest.approx([low, high], abs=0.25 * width), key  # the noise of 120 resamples


def test_a_figure_of_one_face_and_zero_resamples_have_no_interval():
    one = Ratio(np.array([1.0, 0, 0]), np.array([1.0, 0, 0]))
    two = Ratio(np.array([1.0, 3, 0]), np.array([1.0, 1, 0]))
    assert compute_intervals({"one": one, "two": two}, 2000) == {"two": [1.0, 3.0]}
    assert compute_intervals({"two": two}, 0) == {}
    assert compute_intervals({}, 100) == {}


def test_a_figure_that_no_sum_gives_has_no_interval(scored):
    figures, ratios = figures_and_ratios(scored)
    assert {"rmse/trimmed", "curve", "labelled_values", "rmse/nose_tip"} <= set(figures) - set(ratios)
    assert float(ratios["rmse"]) == figures["rmse"]


@pytest.mark.parametrize("copies", [1, 10])
def test_the_interval_covers_the_figure_where_faces_come_in_groups(copies):
    random, covered = np.random.default_rng(0), 0
    group = np.repeat(random.permutation(100), copies)
    for _ in range(200):
        squared = np.repeat(random.gamma(0.5, 8, 100), copies) * random.uniform(0.95, 1.05, 100 * copies)  # mean 4
        ratios = {"rmse": Ratio(squared, np.ones(len(squared)), root=True)}
        low, high = compute_intervals(ratios, 300, group)["rmse"]
        covered += low <= 2 <= high
    assert covered > 0.87 * 200  # percentile intervals of 100 skewed values cover 91 %; face by face, copies cover 47 %


def test_a_figure_of_one_group_has_no_interval():
    ratios = {"one": Ratio(np.array([1.0, 3, 0]), np.array([1, 1, 0])), "two": Ratio(np.ones(3), np.ones(3))}
    assert compute_intervals(ratios, 50, np.array([0, 0, 1])) == {"two": [1.0, 1.0]}
