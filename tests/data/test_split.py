"""Folds: near-duplicates together, sources in every fold, the same for the same seed."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.near_duplicates import image_hashes, near_duplicate_groups
from facekp.data.split import assign_folds, content_folds, inseparable_groups, split_folds, thumbnails, with_common
from facekp.data.synthetic.faces import draw_faces
from tests.data.photo_folder import read_folder
from tests.data.samples import data_settings
from tests.drawn_photos import write_photos


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (40, 96, 96), dtype=np.uint8)


def test_copies_with_noise_or_other_light_share_a_group_and_others_don_t(images):
    generator = np.random.default_rng(1)
    images[7] = np.clip(images[3] + generator.normal(0, 8, (96, 96)), 0, 255)
    images[20] = images[3] // 2 + 30
    images[30] = images[12]
    groups = near_duplicate_groups(images)
    assert groups[7] == groups[20] == groups[3] == 3
    assert groups[30] == groups[12] == 12
    assert len(np.unique(groups)) == 37


def test_groups_equal_those_of_the_full_correlation_matrix(faces):
    groups = near_duplicate_groups(faces.images)
    alike = np.corrcoef(faces.images.reshape(len(faces), -1).astype(np.float64)) > 0.97
    for i, j in np.argwhere(alike):
        assert groups[i] == groups[j]
    for g in np.unique(groups):
        members = np.flatnonzero(groups == g)
        if len(members) > 1:
            assert (alike[np.ix_(members, members)].sum(axis=1) > 1).all()


def test_folds_keep_groups_whole_and_sources_even():
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 700, 1000)
    source = (generator.random(1000) < 0.67).astype(int)
    fold_of = assign_folds(groups, source, folds=5, seed=0)
    for g in np.unique(groups):
        assert len(np.unique(fold_of[groups == g])) == 1
    for s in range(2):
        counts = np.bincount(fold_of[source == s], minlength=5)
        assert counts.max() - counts.min() <= 3, counts
    assert (assign_folds(groups, source, 5, seed=0) == fold_of).all()
    assert (assign_folds(groups, source, 5, seed=1) != fold_of).any()


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_source_is_in_every_fold(seed):
    sizes = np.random.default_rng(seed).integers(1, 7, 60)
    groups = np.repeat(np.arange(60), sizes)
    source = (groups < 5).astype(int)  # five groups of the rare one
    fold_of = assign_folds(groups, source, folds=5, seed=seed)
    assert set(fold_of[source == 1]) == {0, 1, 2, 3, 4}


def test_more_folds_than_different_images_is_reported(images):
    with pytest.raises(UserError, match="the rows are only 2 groups"):
        assign_folds(np.array([0, 0, 1]), np.zeros(3, dtype=int), folds=5, seed=0)


def test_a_single_fold_is_refused():
    with pytest.raises(UserError, match=r"data\.folds=1: .*use 2 folds, or more rows"):
        assign_folds(np.array([0, 0, 1]), np.zeros(3, dtype=int), folds=1, seed=0)


def test_an_image_is_in_the_same_fold_whatever_rows_are_beside_it(scheme):
    images = draw_faces(300, 3, scheme).images
    fold_of = content_folds(images, near_duplicate_groups(images), 5, seed=0)
    kept = np.sort(np.random.default_rng(0).permutation(300)[:260])
    again = content_folds(images[kept], near_duplicate_groups(images[kept]), 5, seed=0)
    assert (again == fold_of[kept]).mean() > 0.99
    alone = np.flatnonzero(
        np.bincount(near_duplicate_groups(images), minlength=300)[near_duplicate_groups(images)] == 1
    )
    both = np.isin(kept, alone)
    assert (again[both] == fold_of[kept][both]).all()
    assert (content_folds(images, np.arange(300), 5, seed=1) != fold_of).mean() > 0.5


def test_the_order_of_the_rows_does_not_change_the_fold_of_a_group(scheme):
    images, groups = draw_faces(150, 3, scheme).images, np.arange(150) // 3
    order = np.random.default_rng(0).permutation(150)
    fold_of = content_folds(images, groups, 5, seed=0)
    assert (content_folds(images[order], groups[order], 5, seed=0) == fold_of[order]).all()


def test_content_folds_are_about_equal_and_keep_groups_whole(scheme):
    images = draw_faces(600, 4, scheme).images
    groups = near_duplicate_groups(images)
    fold_of = content_folds(images, groups, 5, seed=0)
    assert (fold_of == fold_of[groups]).all()
    assert np.bincount(fold_of, minlength=5).min() > 80


def test_compressed_copies_mostly_stay_in_their_fold(scheme):
    images = draw_faces(200, 5, scheme).images
    quality = [cv2.IMWRITE_JPEG_QUALITY, 60]
    copies = np.stack([cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_GRAYSCALE) for image in images])
    fold_of, of_copies = (content_folds(each, np.arange(200), 5, seed=0) for each in (images, copies))
    assert (images != copies).mean() > 0.5
    assert (of_copies == fold_of).mean() > 0.9


def test_the_setting_chooses_the_split_and_an_empty_fold_is_refused(faces):
    groups, settings = near_duplicate_groups(faces.images), data_settings("data=synthetic")
    by_rows = split_folds(faces, groups, settings)
    assert (by_rows == assign_folds(groups, faces.source, 5, 0)).all()
    by_content = split_folds(faces, groups, settings.replaced(split="content"))
    assert (by_content == content_folds(faces.images, groups, 5, 0)).all()
    few = faces.take(np.arange(2))
    empty = next(fold for fold in range(5) if fold not in by_content[:2])
    with pytest.raises(UserError, match=f"data.split=content: no row in data.fold={empty}; use data.split=rows"):
        split_folds(few, np.arange(2), settings.replaced(split="content", fold=empty))
    full = int(by_content[0])
    alike = faces.take(np.flatnonzero(by_content == full)[:2])
    with pytest.raises(UserError, match=f"data.split=content: all rows in data.fold={full}; use data.split=rows"):
        split_folds(alike, np.arange(2), settings.replaced(split="content", fold=full))


def test_a_hash_tells_pixels_apart_and_nothing_else(images):
    hashes = image_hashes(images)
    assert len(np.unique(hashes)) == 40
    assert (image_hashes(images.copy(order="F")) == hashes).all()
    images[5, 0, 0] ^= 1
    assert (image_hashes(images) == hashes).sum() == 39


def test_hashes_are_those_that_checkpoints_have_recorded():
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert image_hashes(images).tolist() == [6765881130712925518, 4749148701768967544]


def test_identical_flat_images_share_a_group(images):
    images[4] = images[9] = 77
    assert near_duplicate_groups(images)[9] == 4


def test_faces_of_one_photo_or_of_one_person_join_the_groups_they_are_in(faces):
    group = np.array([0, 1, 2, 1, 4, 5])
    table = faces.take(np.arange(6))
    assert with_common(group, table) is group
    of_photos = replace(table, name=np.array(["a", "b", "a", "c", "c", "d"]))
    assert with_common(group, of_photos).tolist() == [0, 1, 0, 1, 1, 5]
    persons = replace(table, attributes={"person": np.array(["", "x", "", "y", "", "x"])}, group_by=("person",))
    assert with_common(group, persons).tolist() == [0, 1, 2, 1, 4, 1]  # a face without a name is alone
    assert with_common(group, replace(persons, name=of_photos.name)).tolist() == [0, 1, 0, 1, 1, 1]


def test_a_subset_is_held_out_in_place_of_a_fold(faces, caplog):
    few = faces.take(np.arange(6))
    parts = np.array(["train", "val", "train", "val", "", "test"])
    table = replace(few, attributes={"split": parts})
    settings = data_settings("data=synthetic", "data.held_out={split:[val,test]}")
    alone = np.arange(6)
    assert split_folds(table, alone, settings).tolist() == [-1, 0, -1, 0, -1, 0]
    assert "in a group with" not in caplog.text
    assert split_folds(table, np.array([0, 0, 2, 2, 4, 5]), settings).tolist() == [-1, 0, -1, 0, -1, 0]
    assert (
        "data.held_out: 2 training rows are in a group with held-out rows (near-duplicates, same photo)" in caplog.text
    )
    with pytest.raises(
        UserError, match=r"data\.held_out: all 6 rows have these values; choose others, so that rows are"
    ):
        split_folds(
            replace(few, attributes={"split": np.full(6, "val")}), alone, settings.replaced(held_out={"split": "val"})
        )
    with pytest.raises(UserError, match="held_out chooses the rows to hold out, so fold=2 has no effect"):
        settings.replaced(fold=2)


def test_faces_of_two_copies_of_a_photo_stay_together(tmp_path):
    labels = write_photos(tmp_path, 12)
    second = labels.index[labels["name"].duplicated()][0]
    photo = Path(labels.loc[second, "name"])
    shutil.copy(tmp_path / "photos" / photo, tmp_path / "photos" / f"copy{photo.suffix}")
    labels.loc[second, "name"] = f"copy{photo.suffix}"
    labels.to_csv(tmp_path / "labels.csv", index=False)
    groups = inseparable_groups(read_folder(tmp_path))
    assert groups[second] == groups[second - 1]
    assert len(np.unique(groups)) == labels["name"].nunique() - 1


def test_a_single_group_is_never_held_out(faces):
    settings = data_settings("data=synthetic")
    for table in (faces.take(np.array([4])), faces):
        for split in ("rows", "content"):
            fold_of = split_folds(table, np.zeros(len(table), int), settings.replaced(split=split))
            assert (fold_of == -1).all()


def test_images_of_other_sizes_have_thumbnails_too():
    coarse = np.random.default_rng(0).integers(0, 256, (3, 24, 24), dtype=np.uint8)
    expected = thumbnails(coarse)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    fine = coarse.repeat(4, axis=1).repeat(3, axis=2)
    np.testing.assert_allclose(thumbnails(fine), expected, atol=1e-6)
    assert thumbnails(fine[:, :90, :64]).shape == (3, 576)


def test_faces_of_one_photo_stay_in_one_group(tmp_path):
    write_photos(tmp_path, 40)
    table = read_folder(tmp_path)
    assert len(np.unique(table.name)) < 40
    groups = inseparable_groups(table)
    for name in np.unique(table.name):
        assert len(np.unique(groups[table.name == name])) == 1
    assert len(np.unique(groups)) == len(np.unique(table.name))
