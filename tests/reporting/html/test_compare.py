"""The paired bootstrap: against independent calculations, on shared images only, and right about what is real."""

import numpy as np
import pandas as pd
import pytest

from facekp.functional.metrics.intervals import draw_resamples
from facekp.reporting.html.compare import differences, intervals


def unit(squared, first=0, labels=0.0, group=None):
    rows = np.arange(first, first + len(squared))
    index = pd.MultiIndex.from_arrays([rows, np.full(len(rows), "dense"), labels + rows / 10])
    group = rows if group is None else group
    return pd.DataFrame({"squared": squared, "values": np.full(len(rows), 8), "group": group}, index=index)


@pytest.fixture
def noisy():
    rng = np.random.default_rng(0)
    hard = rng.gamma(0.5, 20, 300)  # a few images are hard for every run
    return hard, hard + rng.normal(0.8, 1.0, 300).clip(-hard), hard + rng.normal(0, 1.0, 300).clip(-hard)


def test_every_resample_draws_as_many_images_with_replacement():
    drawn = draw_resamples(50, 400)
    assert drawn.shape == (400, 50)
    assert (drawn.sum(axis=1) == 50).all()
    assert drawn.mean() == 1
    assert drawn.var() == pytest.approx(1 - 1 / 50, abs=0.03)  # binomial(50, 1/50)


def test_the_interval_is_that_of_resampling_one_by_one(noisy):
    hard, worse, _ = noisy
    found = differences([unit(hard), unit(worse)], 2000)[0, 1]
    pick = np.random.default_rng(7)
    spread = []
    for _ in range(4000):
        i = pick.integers(300, size=300)
        spread.append(np.sqrt(hard[i].mean() / 8) - np.sqrt(worse[i].mean() / 8))
    assert found.value == pytest.approx(np.sqrt(hard.mean() / 8) - np.sqrt(worse.mean() / 8), rel=1e-6)
    assert found.low == pytest.approx(np.percentile(spread, 2.5), abs=0.004)
    assert found.high == pytest.approx(np.percentile(spread, 97.5), abs=0.004)
    assert found.images == 300
    assert (found.first, found.second) == pytest.approx((np.sqrt(hard.mean() / 8), np.sqrt(worse.mean() / 8)))


def test_a_difference_is_significant_that_two_intervals_would_hide(noisy):
    hard, worse, alike = noisy
    units = [unit(hard), unit(worse), unit(alike)]
    pairs, bounds = differences(units, 1000), intervals(units, 1000)
    assert bounds[0][1] > bounds[1][0]  # alone they overlap by far
    assert pairs[0, 1].is_significant
    assert pairs[0, 1].value < 0
    assert pairs[0, 1].better > 0.99
    assert not pairs[0, 2].is_significant


def test_a_run_and_its_copy_do_not_differ(noisy):
    pair = differences([unit(noisy[0]), unit(noisy[0])], 100)[0, 1]
    assert (pair.value, pair.low, pair.high, pair.better) == (0, 0, 0, 0)
    assert not pair.is_significant


def test_each_labelled_value_counts_once_in_the_rmse(noisy):
    first, second = unit(noisy[0]), unit(noisy[1])
    labelled = np.where(np.arange(300) % 2, 8, 30)
    pair = differences([frame.assign(values=labelled) for frame in (first, second)], 100)[0, 1]
    assert pair.first == pytest.approx(np.sqrt(noisy[0].sum() / labelled.sum()))
    assert pair.second == pytest.approx(np.sqrt(noisy[1].sum() / labelled.sum()))


def test_of_equal_runs_few_are_called_different():
    rng = np.random.default_rng(3)
    units = [unit(rng.gamma(2, 2, 200)) for _ in range(25)]
    pairs = differences(units, 500)
    assert len(pairs) == 300
    assert np.mean([pair.is_significant for pair in pairs.values()]) < 0.12


def test_pairs_of_many_units_are_those_of_the_compared_ones_and_of_the_first(noisy):
    units = [unit(noisy[i % 3] * (1 + i / 10)) for i in range(6)]
    everything, some = differences(units, 200), differences(units, 200, compared=[0, 2, 4])
    assert set(some) == {(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (2, 4)}
    assert some == {pair: everything[pair] for pair in some}


def test_runs_are_paired_on_the_images_that_both_predicted_with_the_same_labels(noisy):
    hard, worse, _ = noisy
    units = [unit(hard), unit(worse[100:], first=100), unit(hard[:50], first=1000), unit(hard, labels=5.0)]
    pairs = differences(units, 200)
    assert set(pairs) == {(0, 1)}
    assert pairs[0, 1].images == 200
    assert pairs[0, 1].value == pytest.approx(np.sqrt(hard[100:].mean() / 8) - np.sqrt(worse[100:].mean() / 8))


def test_a_pair_has_the_earlier_unit_first_whatever_images_they_share(noisy):
    hard, worse, alike = noisy
    pairs = differences([unit(hard), unit(worse[100:], first=100), unit(alike)], 200)
    assert set(pairs) == {(0, 1), (0, 2), (1, 2)}
    assert pairs[1, 2].first == pytest.approx(np.sqrt(worse[100:].mean() / 8))
    assert pairs[1, 2].second == pytest.approx(np.sqrt(alike[100:].mean() / 8))


def test_a_run_without_predictions_has_no_interval(noisy):
    units = [unit(noisy[0]), unit(noisy[0][:0])]
    assert intervals(units, 100)[1] is None
    assert differences(units, 100) == {}


def test_intervals_do_not_depend_on_how_many_images_are_drawn_at_a_time(noisy, monkeypatch):
    units = [unit(each) for each in noisy]
    pairs, bounds = differences(units, 200), intervals(units, 200)
    monkeypatch.setattr("facekp.functional.metrics.intervals.DRAWS", 1000)  # three resamples of 300 images
    assert np.allclose(intervals(units, 200), bounds, rtol=1e-6)
    for key, pair in differences(units, 200).items():
        assert (pair.low, pair.high) == pytest.approx((pairs[key].low, pairs[key].high), rel=1e-4)


def test_faces_of_one_photo_and_near_duplicates_are_drawn_together():
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(40), 10)  # ten frames of each of 40 scenes
    scene = rng.gamma(0.5, 20, (2, 40))
    first, second = np.repeat(scene, 10, axis=1) * rng.uniform(0.9, 1.1, (2, 400))
    units = [unit(first, group=group), unit(second, group=group)]
    found, (low, high) = differences(units, 2000)[0, 1], intervals(units, 2000)[0]
    drawn = []
    for _ in range(2000):
        rows = (rng.integers(40, size=40)[:, None] * 10 + np.arange(10)).ravel()
        drawn.append([np.sqrt(squared[rows].mean() / 8) for squared in (first, second)])
    ours, theirs = np.array(drawn).T
    assert (low, high) == pytest.approx(np.percentile(ours, (2.5, 97.5)), abs=0.05)
    assert (found.low, found.high) == pytest.approx(np.percentile(ours - theirs, (2.5, 97.5)), abs=0.05)
    ((alone_low, alone_high),) = intervals([unit(first)], 2000)  # as if all faces were different
    assert high - low > 2 * (alone_high - alone_low)


def test_images_of_a_single_group_have_no_interval_and_differ_in_nothing(noisy):
    units = [unit(each, group=np.zeros(300, int)) for each in noisy[:2]]
    assert intervals(units, 100) == [None, None]
    assert differences(units, 100) == {}


def test_a_run_without_groups_takes_those_of_the_run_that_it_is_compared_with(noisy):
    group = np.arange(300) // 10
    grouped, without = (unit(noisy[0], group=group), unit(noisy[1]))
    assert differences([grouped, without], 200) == differences([grouped, unit(noisy[1], group=group)], 200)
    assert differences([without, grouped], 200) == differences([unit(noisy[1], group=group), grouped], 200)
