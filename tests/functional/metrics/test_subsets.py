"""Scores of subsets are those of their faces alone."""

from dataclasses import replace

import numpy as np
import pytest

from facekp.functional.metrics import MetricInput, compute_figures, figures_and_ratios
from facekp.functional.metrics.subsets import MAX_VALUES, subset_masks


@pytest.fixture(scope="module")
def scored(scheme):
    random = np.random.default_rng(0)
    truth = (random.random((40, 15, 2)) * 60 + 20).astype(np.float32)
    points = truth + random.normal(0, 2, truth.shape).astype(np.float32)
    pose = np.array(["large", "small", "", "large"] * 10)
    return MetricInput(
        points,
        truth,
        np.zeros(40, int),
        scheme,
        attributes={
            "pose": pose,
            "blur": np.array(["0", "1"] * 20),
            "name": np.arange(40).astype(str),  # no table can be read that has a row for each
        },
    )


def test_each_value_is_a_subset_and_a_flag_only_where_it_is_set(scored):
    masks = subset_masks(scored)
    assert list(masks) == ["pose=large", "pose=small", "blur=1"]
    assert [mask.sum() for mask in masks.values()] == [20, 10, 20]
    levels = np.arange(40) % MAX_VALUES
    assert len(subset_masks(replace(scored, attributes={"level": levels.astype(str)}))) == MAX_VALUES


@pytest.mark.parametrize("subset", ["pose=large", "pose=small", "blur=1"])
def test_the_figures_are_those_of_the_subset_s_faces_alone(scored, subset):
    figures = compute_figures(scored)
    name, value = subset.split("=")
    rows = scored.attributes[name] == value
    alone = MetricInput(scored.points[rows], scored.truth[rows], scored.source[rows], scored.keypoints)
    expected = compute_figures(alone)
    assert figures[f"faces/subset/{subset}"] == rows.sum()
    for key, whole in (("rmse", "rmse"), ("nme", "nme"), ("auc", "auc/0.10"), ("failure_rate", "failure_rate/0.10")):
        assert figures[f"{key}/subset/{subset}"] == pytest.approx(expected[whole], rel=1e-5), key


def test_without_attributes_there_are_no_subsets(scored):
    figures = compute_figures(replace(scored, attributes={}))
    assert not [key for key in figures if "subset" in key]


def test_each_subset_can_be_resampled(scored):
    _, ratios = figures_and_ratios(scored)
    assert {key for key in ratios if "subset" in key} == {
        f"{name}/subset/{subset}"
        for name in ("rmse", "nme", "auc", "failure_rate")
        for subset in ("pose=large", "pose=small", "blur=1")
    }
