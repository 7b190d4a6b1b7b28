"""Label noise, baselines and suspicious labels, on faces whose faults are known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from facekp.core.errors import UserError
from facekp.data.label_quality import (
    KINDS,
    duplicate_pairs,
    label_noise,
    mean_face_points,
    neighbour_points,
    noise_floor,
    rmse_by_source,
    suspicious_by_predictions,
    suspicious_by_shape,
)
from facekp.data.near_duplicates import near_duplicate_groups
from facekp.data.split import assign_folds
from facekp.runs.frames import predictions_frame


@pytest.fixture
def doubled(faces):
    """The faces, and 30 of them again: 15 with the same pixels, 15 a little lighter, labels off by 1 px in x."""
    again = faces.take(np.arange(30))
    images = again.images.copy()
    images[15:] = np.clip(images[15:].astype(int) * 0.9 + 3, 0, 255).astype(np.uint8)
    again = replace(again, images=images, points=again.points + np.float32([1, 0]), row=again.row + 1000)
    return faces.joined(again)


def test_the_noise_of_labels_that_are_a_pixel_apart(doubled, faces):
    pairs = duplicate_pairs(doubled, near_duplicate_groups(doubled.images))
    added = pairs[pairs["second"] >= len(faces)]
    assert {(i, i + len(faces)) for i in range(30)} <= set(zip(added["first"], added["second"], strict=True))
    copies = added[added["second"] - added["first"] == len(faces)]
    kind = copies.set_index("first")["kind"]
    assert (kind.loc[:14] == KINDS[0]).all()
    assert (kind.loc[15:] == KINDS[1]).all()
    noise = label_noise(doubled, copies)
    assert set(noise["source"]) == {"dense", "sparse"}
    assert np.allclose(noise["rmse"], np.sqrt(0.5), atol=1e-5)  # x off by 1, y by 0
    assert np.allclose(noise["single"], 0.5, atol=1e-5)
    assert noise["pairs"].sum() == 30
    assert noise["values"].sum() == 2 * faces.mask[:30].sum()
    assert noise["gross"].sum() == 0
    floor = noise_floor(noise, doubled)
    assert all(value == pytest.approx(0.5, abs=1e-5) for value in floor.values())
    assert set(floor) == {"dense", "sparse", "all"}


def test_a_grossly_wrong_label_is_counted_and_is_no_noise(doubled, faces):
    pairs = pd.DataFrame({"first": range(30), "second": range(len(faces), len(faces) + 30), "kind": KINDS[0]})
    points = doubled.points.copy()
    points[len(faces) + 3] += np.float32(30)
    noise = label_noise(replace(doubled, points=points), pairs)
    assert noise["gross"].sum() == 1
    assert noise["rmse"].max() > 3
    assert np.allclose(noise["noise"].astype(float), np.sqrt(0.5), atol=1e-5)


def test_the_noise_floor_pools_the_values_of_both_kinds_of_pairs(faces):
    few, many = (np.full((20, 15, 2), np.nan, np.float32) for _ in range(2))
    few[:4, 0], many[:4] = 40, 40
    points = np.concatenate((few[:2], few[:2] + np.float32([6, 0]), many[:2], many[:2] + np.float32([1, 0])))
    table = replace(faces.take(np.arange(8)), points=points, source=np.zeros(8, np.int8))
    first, second = [0, 1, 4, 5], [2, 3, 6, 7]
    pairs = pd.DataFrame({"first": first, "second": second, "kind": [KINDS[0]] * 2 + [KINDS[1]] * 2})
    squared = np.square(points[second] - points[first])
    assert noise_floor(label_noise(table, pairs), table)["dense"] == pytest.approx(np.sqrt(np.nanmean(squared) / 2))


def test_baselines_predict_a_fold_from_the_other_folds_only(faces):
    fold_of = np.arange(len(faces)) % 4
    moved = replace(faces, points=faces.points + np.where(fold_of == 0, 40, 0)[:, None, None].astype(np.float32))
    for baseline in (mean_face_points, neighbour_points):
        before, after = baseline(faces, fold_of), baseline(moved, fold_of)
        assert np.array_equal(before[fold_of == 0], after[fold_of == 0])
        assert not np.array_equal(before[fold_of == 1], after[fold_of == 1])
        assert np.isfinite(before[faces.mask]).all()


def test_a_copy_in_another_fold_is_the_nearest_neighbour(faces):
    twice = faces.joined(faces)
    fold_of = np.repeat([0, 1], len(faces))
    points = neighbour_points(twice, fold_of)
    assert np.array_equal(points[twice.mask], twice.points[twice.mask])
    assert rmse_by_source(points, twice) == {"dense": 0, "sparse": 0, "all": 0}
    mean = rmse_by_source(mean_face_points(twice, fold_of), twice)
    assert mean["all"] == pytest.approx(np.sqrt(np.nanmean((mean_face_points(twice, fold_of) - twice.points) ** 2)))


def test_a_wrong_label_is_the_most_suspicious_by_shape_and_by_predictions(faces):
    points = faces.points.copy()
    wrong = np.flatnonzero(faces.source == 0)[3], faces.keypoints.names.index("mouth_left_corner")
    assert faces.mask[wrong]
    points[wrong] += np.float32([-25, 10])
    spoilt = replace(faces, points=points)
    fold_of = assign_folds(near_duplicate_groups(faces.images), faces.source, 4, 0)
    by_shape = suspicious_by_shape(spoilt, fold_of)
    assert len(by_shape) == spoilt.mask.sum()
    assert (by_shape["i"][0], by_shape["k"][0]) == wrong
    assert by_shape["error"][0] == pytest.approx(np.hypot(25, 10), abs=8)
    noise = np.random.default_rng(0).normal(0, 0.5, (2, *points.shape)).astype(np.float32)
    runs = [predictions(spoilt, np.nan_to_num(faces.points) + error) for error in noise]
    by_runs = suspicious_by_predictions(spoilt, runs)
    assert (by_runs["i"][0], by_runs["k"][0]) == wrong
    expected = np.nan_to_num(faces.points)[wrong] + noise[:, *wrong].mean(axis=0)
    assert by_runs[["x", "y"]].to_numpy()[0] == pytest.approx(expected, abs=1e-4)
    with pytest.raises(UserError, match="no predictions on these data"):
        suspicious_by_predictions(replace(faces, points=faces.points + 1), runs)


def predictions(table, points):
    return predictions_frame(table, "val", points, np.ones(points.shape[:2]))


def test_pairs_of_a_large_group_grow_with_its_rows(faces, monkeypatch):
    monkeypatch.setattr("facekp.data.label_quality.ALL_PAIRS", 20)
    equal = replace(faces, images=np.repeat(faces.images[:1], len(faces), axis=0))
    pairs = duplicate_pairs(equal, np.zeros(len(faces), int))
    assert len(pairs) == 8 * len(faces)
    assert not pairs.duplicated(["first", "second"]).any()
    assert (pairs["first"] < pairs["second"]).all()
    assert np.bincount(pairs[["first", "second"]].to_numpy(int).ravel()).tolist() == [16] * len(faces)
    assert set(pairs["kind"]) == {KINDS[0]}
    assert len(duplicate_pairs(equal.take(np.arange(20)), np.zeros(20, int))) == 190


def test_the_most_similar_of_very_many_rows_is_one_of_those_that_are_searched(doubled, monkeypatch):
    fold_of = (np.arange(len(doubled)) >= 80).astype(int)  # the copies are held out
    whole = neighbour_points(doubled, fold_of)
    monkeypatch.setattr("facekp.data.label_quality.MAX_SEARCHED_ROWS", 5)
    few = neighbour_points(doubled, fold_of)
    assert few.shape == whole.shape
    assert (np.nan_to_num(few) != np.nan_to_num(whole)).any()
