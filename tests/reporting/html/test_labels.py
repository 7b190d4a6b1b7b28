"""What the data page says: duplicates, noise, baselines and doubtful labels, on faces whose faults are known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from facekp.core.errors import UserError
from facekp.data.split import assign_folds, near_duplicate_groups
from facekp.reporting.html.collect import Run
from facekp.reporting.html.labels import (
    PAIRS,
    data_page,
    doubted_by_runs,
    doubted_by_shape,
    duplicate_pairs,
    floor_by_source,
    label_noise,
    mean_face_points,
    neighbour_points,
    rmse_by_source,
)
from facekp.runs.frames import predictions_frame
from tests.conftest import config_of


@pytest.fixture
def doubled(faces):
    """The faces, and the first 30 once more: 15 the very same pixels, 15 a little lighter, labels off by 1 px in x."""
    again = faces.take(np.arange(30))
    images = again.images.copy()
    images[15:] = np.clip(images[15:].astype(int) * 0.9 + 3, 0, 255).astype(np.uint8)
    again = replace(again, images=images, points=again.points + np.float32([1, 0]), row=again.row + 1000)
    return faces.joined(again)


def test_the_noise_of_labels_that_lie_a_pixel_apart(doubled, faces):
    pairs = duplicate_pairs(doubled, near_duplicate_groups(doubled.images))
    ours = pairs[pairs["second"] >= len(faces)]
    assert {(i, i + len(faces)) for i in range(30)} <= set(zip(ours["first"], ours["second"], strict=True))
    same = ours[ours["second"] - ours["first"] == len(faces)].set_index("first")["kind"]
    assert (same.loc[:14] == PAIRS[0]).all()
    assert (same.loc[15:] == PAIRS[1]).all()
    noise = label_noise(doubled, ours[ours["second"] - ours["first"] == len(faces)])
    assert set(noise["source"]) == {"dense", "sparse"}
    assert np.allclose(noise["rmse"], np.sqrt(0.5), atol=1e-5)  # x off by 1, y by 0
    assert np.allclose(noise["single"], 0.5, atol=1e-5)
    assert noise["pairs"].sum() == 30
    assert noise["values"].sum() == 2 * faces.mask[:30].sum()
    assert noise["mistakes"].sum() == 0
    floor = floor_by_source(noise, doubled)
    assert all(value == pytest.approx(0.5, abs=1e-5) for value in floor.values())
    assert set(floor) == {"dense", "sparse", "all"}


def test_a_label_on_another_place_is_told_as_a_mistake_and_is_no_noise(doubled, faces):
    pairs = pd.DataFrame({"first": range(30), "second": range(len(faces), len(faces) + 30), "kind": PAIRS[0]})
    points = doubled.points.copy()
    points[len(faces) + 3] += np.float32(30)
    noise = label_noise(replace(doubled, points=points), pairs)
    assert noise["mistakes"].sum() == 1
    assert noise["rmse"].max() > 3
    assert np.allclose(noise["noise"].astype(float), np.sqrt(0.5), atol=1e-5)


def test_baselines_answer_a_fold_by_the_other_folds_only(faces):
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
    answer = neighbour_points(twice, fold_of)
    assert np.array_equal(answer[twice.mask], twice.points[twice.mask])
    assert rmse_by_source(answer, twice) == {"dense": 0, "sparse": 0, "all": 0}
    mean = rmse_by_source(mean_face_points(twice, fold_of), twice)
    assert mean["all"] == pytest.approx(np.sqrt(np.nanmean((mean_face_points(twice, fold_of) - twice.points) ** 2)))


def test_a_label_on_the_wrong_place_is_doubted_first_by_shape_and_by_runs(faces):
    points = faces.points.copy()
    wrong = np.flatnonzero(faces.source == 0)[3], faces.keypoints.names.index("mouth_left_corner")
    assert faces.mask[wrong]
    points[wrong] += np.float32([-25, 10])
    spoilt = replace(faces, points=points)
    fold_of = assign_folds(near_duplicate_groups(faces.images), faces.source, 4, 0)
    by_shape = doubted_by_shape(spoilt, fold_of)
    assert len(by_shape) == spoilt.mask.sum()
    assert (by_shape["i"][0], by_shape["k"][0]) == wrong
    assert by_shape["error"][0] == pytest.approx(np.hypot(25, 10), abs=8)
    noise = np.random.default_rng(0).normal(0, 0.5, (2, *points.shape)).astype(np.float32)
    runs = [as_run(spoilt, np.nan_to_num(faces.points) + own) for own in noise]
    by_runs = doubted_by_runs(spoilt, runs)
    assert (by_runs["i"][0], by_runs["k"][0]) == wrong
    found = np.nan_to_num(faces.points)[wrong] + noise[:, *wrong].mean(axis=0)
    assert by_runs[["x", "y"]].to_numpy()[0] == pytest.approx(found, abs=1e-4)
    with pytest.raises(UserError, match="no predictions on these data"):
        doubted_by_runs(replace(faces, points=faces.points + 1), runs)


def as_run(table, points):
    frame = predictions_frame(table, "val", points, np.ones(points.shape[:2]))
    return Run("r", {}, {}, {"rmse": 0.5}, pd.DataFrame(), frame, pd.DataFrame(), True)


def blocks_of(sections):
    return {block.get("name", block["kind"]): block for section in sections for block in section["blocks"]}


def test_the_page_counts_what_the_table_holds(doubled):
    settings = config_of("data=synthetic", "data.folds=4", name="report")["data"]
    sections, album = data_page(doubled, settings, [], faces=3)
    blocks = blocks_of(sections)
    counts = {row["name"]: row for row in blocks["counts"]["rows"]}
    nose = doubled.mask[:, doubled.keypoints.names.index("nose_tip")]
    assert counts["nose tip"]["dense"] == nose[doubled.source == 0].sum()
    assert counts["nose tip"]["sparse"] == nose[doubled.source == 1].sum()
    assert "sparse" not in counts["mouth left corner"]
    assert sum(row["faces"] for row in blocks["patterns"]["rows"]) == len(doubled)
    assert len(blocks["suspicious"]["choices"][0]["groups"][0]["faces"]) == 3
    assert blocks["duplicates"]["choices"][0]["groups"][0]["faces"]
    assert set(album.images) >= {face["image"] for face in blocks["suspicious"]["choices"][0]["groups"][0]["faces"]}
    assert "Noise floor" in sections[0]["blocks"][0]["lines"][1]


def test_data_without_duplicates_or_pictures_still_make_a_page(faces):
    few = faces.take(np.unique(near_duplicate_groups(faces.images))[:20])
    settings = config_of("data=synthetic", "data.folds=2", name="report")["data"]
    sections, album = data_page(few, settings, [], faces=0)
    assert "unknown" in sections[0]["blocks"][0]["lines"][1]
    assert album.images == {}
    with pytest.raises(UserError, match="no labelled point"):
        data_page(replace(few, points=np.full_like(few.points, np.nan)), settings, [], faces=0)
