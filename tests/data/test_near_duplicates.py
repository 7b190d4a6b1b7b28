"""Near-duplicates: the groups of comparing every pair, without doing so."""

import cv2
import numpy as np
import pytest

from facekp.data import near_duplicates
from facekp.data.near_duplicates import CORRELATION, Forest, near_duplicate_groups, signatures, standardise, thumbnails
from facekp.data.synthetic.faces import draw_faces


def by_every_pair(images):
    """The groups by the definition: all pairs of thumbnails, then of images."""
    group = list(range(len(images)))
    small, full = thumbnails(images), standardise(images)
    same = (images.reshape(len(images), 1, -1) == images.reshape(1, len(images), -1)).all(axis=2)
    for i, j in np.argwhere(((small @ small.T > CORRELATION - 0.03) & (full @ full.T > CORRELATION)) | same):
        first, second = sorted((group[i], group[j]))
        group = [first if root == second else root for root in group]
    return np.array(group)


@pytest.fixture(scope="module")
def frames(scheme):
    """(110, 96, 96): faces; a video that fades from one face to another; noisy, lighter and identical copies."""
    drawn, random = draw_faces(60, 3, scheme).images, np.random.default_rng(0)
    fade = [(drawn[0] * (1 - t) + drawn[1] * t) for t in np.linspace(0, 1, 20)]
    noisy = [drawn[i] + random.normal(0, noise, (96, 96)) for i, noise in enumerate(np.linspace(2, 20, 15), start=5)]
    lighter = [drawn[i] * 0.5 + 60 for i in range(30, 40)]
    images = [*drawn, *fade, *noisy, *lighter, *drawn[50:55]]
    order = random.permutation(len(images))
    return np.clip(np.stack(images)[order], 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("leaf", "block"), [(512, 128), (16, 4), (7, 1)])
def test_groups_are_those_of_every_pair(frames, leaf, block, monkeypatch):
    monkeypatch.setattr(near_duplicates, "MAX_LEAF", leaf)
    monkeypatch.setattr(near_duplicates, "BLOCK", block)
    groups = near_duplicate_groups(frames)
    expected = by_every_pair(frames)
    assert 60 <= len(np.unique(expected)) < 100
    np.testing.assert_array_equal(groups, expected)


def mixed(first, second, correlation):
    """A pattern that correlates with the first of two that are orthogonal."""
    return correlation * first + np.sqrt(1 - correlation**2) * second


@pytest.fixture(scope="module")
def patterns():
    """Three orthogonal patterns (96, 96) of mean 0 and length 1: two coarse, one that no thumbnail shows."""
    random = np.random.default_rng(0)
    coarse = np.kron(random.normal(size=(2, 6, 6)), np.ones((16, 16)))  # coarse forms show it as well
    fine = random.normal(size=(96, 96)).reshape(24, 4, 24, 4)
    fine = (fine - fine.mean(axis=(1, 3), keepdims=True)).reshape(1, 96, 96)
    flat = np.concatenate((coarse - coarse.mean(axis=(1, 2), keepdims=True), fine)).reshape(3, -1)
    return np.linalg.qr(flat.T)[0].T.reshape(3, 96, 96)


@pytest.mark.parametrize(("correlation", "number"), [(0.973, 1), (0.967, 2)])
def test_images_are_near_duplicates_from_a_correlation_of_97_hundredths(patterns, correlation, number):
    first, second, _ = patterns
    images = 128 + 3000 * np.stack([first, mixed(first, second, correlation)])
    groups = near_duplicate_groups(images.round().clip(0, 255).astype(np.uint8))
    assert len(np.unique(groups)) == number


@pytest.mark.parametrize(("correlation", "number"), [(0.95, 1), (0.93, 2)])
def test_images_whose_thumbnails_differ_are_no_near_duplicates(patterns, correlation, number):
    first, second, fine = patterns
    images = 128 + 3000 * np.stack([mixed(fine, each, 0.85) for each in (first, mixed(first, second, correlation))])
    images = images.round().clip(0, 255).astype(np.uint8)
    assert np.corrcoef(images.reshape(2, -1))[0, 1] > 0.975
    assert len(np.unique(near_duplicate_groups(images))) == number


def test_leaves_that_are_far_apart_are_not_compared(frames, monkeypatch):
    monkeypatch.setattr(near_duplicates, "MAX_LEAF", 8)
    small = signatures(frames)
    points = near_duplicates.coarse_forms(small)
    leaves = near_duplicates.tree_leaves(points)
    assert sorted(np.concatenate(leaves)) == list(range(len(frames)))
    assert max(map(len, leaves)) <= 8
    close = near_duplicates.close_pairs(points, leaves)
    assert len(close) < len(leaves) * (len(leaves) - 1) // 2
    leaf_of = {row: number for number, leaf in enumerate(leaves) for row in leaf}
    compared = {frozenset((leaf_of[a[0]], leaf_of[b[0]])) for a, b in close}
    for i, j in np.argwhere(small @ small.T > near_duplicates.MIN_SIGNATURE):
        assert leaf_of[i] == leaf_of[j] or frozenset((leaf_of[i], leaf_of[j])) in compared


@pytest.mark.parametrize("size", [(96, 96), (48, 72), (24, 24)])
def test_signatures_bound_the_correlation_from_above(frames, size):
    rough = np.random.default_rng(0).integers(0, 256, (20, *size), dtype=np.uint8)  # little of it is in a thumbnail
    resized = np.stack([cv2.resize(frame, size[::-1]) for frame in frames])
    images = np.concatenate((resized, rough, resized[:20] // 2 + rough // 2, np.zeros((1, *size), np.uint8)))
    vectors, full = signatures(images), standardise(images)
    assert vectors.shape == (len(images), 577)
    bound, correlation = vectors @ vectors.T, full @ full.T
    assert (bound >= correlation - 1e-5).all()
    np.testing.assert_allclose(np.linalg.norm(vectors[:-1], axis=1), 1, atol=1e-5)
    assert (bound - correlation)[: len(frames), : len(frames)].mean() < 0.15


def test_of_sizes_that_thumbnails_do_not_divide_the_bound_is_nearly_one(frames):
    images = np.stack([cv2.resize(frame, (90, 64)) for frame in frames])
    vectors, full = signatures(images), standardise(images)
    assert (vectors @ vectors.T >= full @ full.T - (CORRELATION - near_duplicates.MIN_SIGNATURE)).all()


def test_coarse_forms_are_not_farther_apart_than_signatures(frames):
    small = signatures(frames).astype(float)
    coarse = near_duplicates.coarse_forms(small)
    assert coarse.shape == (len(frames), near_duplicates.DIMENSIONS)
    far, near = (np.linalg.norm(points[:, None] - points, axis=-1) for points in (small, coarse))
    assert (near <= far + 1e-9).all()
    assert near.sum() > 0.8 * far.sum()


def count_compared(monkeypatch, images):
    """How many images were brought to full size for comparisons."""
    compared = 0

    def counting(flat):
        nonlocal compared
        compared += len(flat) * (flat.shape[1] == 96)
        return standardise(flat)

    monkeypatch.setattr(near_duplicates, "standardise", counting)
    groups = near_duplicate_groups(images)
    return compared, groups


def test_equal_images_are_one_image(monkeypatch, faces):
    compared, groups = count_compared(monkeypatch, np.repeat(faces.images[:2], 5000, axis=0))
    assert compared <= 4
    assert np.unique(groups).tolist() == [0, 5000]


def test_the_work_on_alike_frames_grows_with_their_number(monkeypatch, faces):
    random = np.random.default_rng(0)
    frames = np.clip(faces.images[3] + random.normal(0, 3, (2000, 96, 96)), 0, 255).astype(np.uint8)
    compared, groups = count_compared(monkeypatch, frames)
    assert (groups == 0).all()
    assert compared < 4 * len(frames)  # every pair would be a thousand times as much


def test_a_long_chain_of_joins_is_one_group():
    forest = Forest(5000)
    for i in range(4999, 0, -1):
        forest.join(np.array([i, i - 1]))
    assert (forest.roots(np.arange(5000)) == 0).all()
