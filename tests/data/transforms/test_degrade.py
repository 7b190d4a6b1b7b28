"""The transform ``degrade``: each kind does what its name says, within its limit; nothing else changes."""

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data.augment import MIN_SCALE, WILD_FACTOR, Augmentation
from facekp.data.transforms.base import AUGMENTATIONS, apply_transform
from facekp.data.transforms.degrade import KINDS
from tests.conftest import config_of, settings_of

MILDEST = {
    "square": 0.0,
    "darkness": 1.0,
    "contrast": 1.0,
    "motion": 0.0,
    "blur": 0.0,
    "resolution": 1.0,
    "noise": 0.0,
    "jpeg": 100.0,
}


def settings(**changes):
    return AUGMENTATIONS.parse({"name": "degrade", "probability": 1.0, "most": 1, **MILDEST, **changes})


def degraded(images, seed=0, **changes):
    """Images (N, 96, 96) after ``degrade``, as numpy arrays."""
    batch = torch.from_numpy(np.asarray(images, np.float32))[:, None]
    out, _ = apply_transform(settings(**changes), batch, torch.zeros(len(batch), 1, 2), generator(seed))
    return out[:, 0].numpy()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def images(faces):
    return faces.images[:24].astype(np.float32)


def test_robust_yaml_holds_every_kind_and_large_movements_for_some():
    augment = settings_of("augment=robust").augment
    (found,) = augment.transforms
    assert found.name == "degrade"
    assert set(MILDEST) == set(KINDS)
    assert not [kind for kind in KINDS if getattr(found, kind) == MILDEST[kind]]
    assert augment.rotate * WILD_FACTOR >= 60
    assert 1 - augment.scale * WILD_FACTOR <= MIN_SCALE
    assert not augment.moves_points_by_transforms  # so that accumulated batches need no second augmentation


def test_a_dose_is_changed_by_its_key():
    changes = [f"augment.transforms.0.{change}" for change in ("probability=0.25", "noise=20")]
    augment = settings_of("augment=robust", *changes).augment
    assert (augment.transforms[0].probability, augment.transforms[0].noise) == (0.25, 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": 300}, "noise=300: must be at most 255"),
        ({"resolution": 0.5}, "resolution=0.5: must be at least 1"),
        ({"jpeg": 0}, "jpeg=0: must be at least 1"),
        ({"darkness": 0}, "darkness=0: must be greater than 0"),
        ({"most": 0}, "most=0: must be at least 1"),
        ({"nois": 3}, "nois: unknown key; did you mean noise"),
        ({}, "every kind is switched off"),
    ],
)
def test_an_invalid_setting_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        settings(**changes)


def test_images_and_global_state_are_left_alone_and_the_generator_decides(images, faces):
    batch, points = torch.from_numpy(images)[:, None], torch.from_numpy(faces.points[:24])
    before, state = batch.clone(), torch.get_rng_state()
    (robust,) = settings_of("augment=robust").augment.transforms
    first, same = apply_transform(robust, batch, points, generator(3))
    again, _ = apply_transform(robust, batch, points, generator(3))
    other, _ = apply_transform(robust, batch, points, generator(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(batch, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert same is points
    assert first.dtype == torch.float32
    assert 0 <= first.min() <= first.max() <= 255


def test_the_probability_is_that_of_an_image(images):
    many = np.tile(images, (20, 1, 1))
    for probability in (0.0, 0.3):
        changed = (degraded(many, probability=probability, noise=40.0) != many).any(axis=(1, 2))
        assert changed.mean() == pytest.approx(probability, abs=0.07)


def test_an_image_gets_one_to_most_kinds(images):
    flat = np.full((600, 96, 96), 100, np.float32)
    out = degraded(flat, most=2, square=32.0, darkness=0.2)  # a square changes some pixels, darkness all
    dark = out[:, 0, 0] < 99  # a corner may be under a square, but hardly ever is
    square = out.reshape(600, -1).std(axis=1) > 0
    assert (dark | square).mean() > 0.9  # the weakest strengths change nothing that whole levels show
    assert (dark & square).mean() == pytest.approx(0.5, abs=0.12)
    alone = degraded(flat, most=1, square=32.0, darkness=0.2)
    assert not ((alone[:, 0, 0] < 99) & (alone.reshape(600, -1).std(axis=1) > 0)).any()


def test_noise_and_factors_reach_their_limits_and_never_exceed_them(images):
    middle = 100 + (images - images.mean(axis=(1, 2), keepdims=True)) / 8
    many = np.tile(middle, (8, 1, 1))
    levels = (degraded(many, noise=20.0) - many).std(axis=(1, 2))
    assert 18 < levels.max() < 20.5
    assert levels.min() < 3
    factor = degraded(many, darkness=0.1).mean(axis=(1, 2)) / many.mean(axis=(1, 2))
    assert 0.095 < factor.min() < 0.13
    assert 0.85 < factor.max() <= 1
    flat = degraded(many, contrast=0.1)
    gain = flat.std(axis=(1, 2)) / many.std(axis=(1, 2))
    assert 0.05 < gain.min() < 0.16
    assert np.abs(flat.mean(axis=(1, 2)) - many.mean(axis=(1, 2))).max() < 0.5
    assert (degraded(many, darkness=0.1) % 1 == 0).all()  # whole levels, as a camera has them


def test_blur_is_scipy_s_of_some_width_up_to_the_limit(images):
    out = degraded(images, blur=3.0)
    widths = []
    for before, after in zip(images, out, strict=True):
        sigmas = np.linspace(0.05, 3.2, 64)
        gaps = [
            np.abs(gaussian_filter(before, s, truncate=6)[16:-16, 16:-16] - after[16:-16, 16:-16]).max() for s in sigmas
        ]
        assert min(gaps) < 6  # of 255, at drawn edges; between the widths that are tried
        widths.append(sigmas[np.argmin(gaps)])
    assert 2.2 < max(widths) <= 3.05
    assert min(widths) < 0.8
    even = np.full((3, 96, 96), 77, np.float32)
    np.testing.assert_allclose(degraded(even, blur=3.0), even, atol=1e-3)  # also at the border


def test_a_movement_keeps_the_sum_and_spreads_a_dot_along_a_line(images):
    dots = np.zeros((40, 96, 96), np.float32)
    dots[:, 48, 48] = 255
    out = degraded(dots, motion=13.0)
    y, x = np.mgrid[:96, :96] - 48
    lengths, angles = [], []
    for image in out:
        assert image.sum() == pytest.approx(255, rel=1e-3)
        spread = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=image.ravel(), ddof=0)
        (across, along), axes = np.linalg.eigh(spread)
        assert across < 0.4
        lengths.append(np.sqrt(12 * along))
        angles.append(np.arctan2(axes[1, 1], axes[0, 1]) % np.pi)
    assert 11 < max(lengths) < 13.5
    assert np.histogram(angles, bins=4, range=(0, np.pi))[0].min() > 3  # all directions


def test_low_resolution_keeps_the_mean_and_loses_detail(images):
    out = degraded(images, resolution=4.0)
    np.testing.assert_allclose(out.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=1.5)
    detail = np.abs(np.diff(out, axis=2)).mean(axis=(1, 2)) / np.abs(np.diff(images, axis=2)).mean(axis=(1, 2))
    assert detail.max() < 1.02
    assert detail.min() < 0.75


def test_compression_keeps_what_jpeg_keeps(images, monkeypatch):
    ones = lambda images, kinds, *rest: (torch.ones(images, kinds, dtype=torch.bool), torch.ones(images, kinds))  # noqa: E731
    monkeypatch.setattr("facekp.data.transforms.degrade._draw", ones)
    for quality in (10, 30, 60):
        out = degraded(images, jpeg=float(quality))
        for before, after in zip(images, out, strict=True):
            _, file = cv2.imencode(".jpg", before.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
            assert np.abs(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE) - after).mean() < 0.6


def test_a_rectangle_has_one_grey_level_and_fits_its_limit(images):
    out = degraded(images, square=32.0)
    sides = []
    for before, after in zip(images, out, strict=True):
        y, x = np.nonzero(np.abs(before - after) > 1e-3)
        if len(y):
            box = after[y.min() : y.max() + 1, x.min() : x.max() + 1]
            assert np.ptp(box) < 1e-3
            sides.append(max(box.shape))
    assert 20 < max(sides) <= 33


@pytest.mark.parametrize("size", [(1, 60, 100), (1, 33, 47), (3, 33, 47)])
def test_other_sizes_of_images_and_colours_are_degraded_too(size):
    batch = 255 * torch.rand(8, *size, generator=generator())
    (robust,) = settings_of("augment=robust", "augment.transforms.0.probability=1").augment.transforms
    out, _ = apply_transform(robust, batch, torch.zeros(8, 1, 2), generator())
    assert out.shape == batch.shape
    assert out.isfinite().all()
    empty, _ = apply_transform(robust, batch[:0], torch.zeros(0, 1, 2), generator())
    assert len(empty) == 0


def test_other_augmentations_draw_the_same_numbers_as_before(faces, scheme):
    images, points = torch.from_numpy(faces.images[:8, None]).float(), torch.from_numpy(faces.points[:8])
    order = torch.from_numpy(scheme.flip_order())
    values = {**config_of("augment=robust")["augment"]}
    with_it, moved = parse(Augmentation, values, "augment")(images, points, order, generator())
    values["transforms"] = []
    without, expected = parse(Augmentation, values, "augment")(images, points, order, generator())
    assert torch.equal(moved.nan_to_num(), expected.nan_to_num())
    same = (with_it == without).flatten(1).all(dim=1)
    assert 0 < same.sum() < 8  # those that were not degraded are equal


@pytest.mark.parametrize(
    "change", [{"square": 32.0}, {"motion": 9.0}, {"blur": 3.0}, {"resolution": 4.0}, {"jpeg": 10.0}]
)
def test_the_colours_of_a_grey_image_change_alike(images, change):
    batch = torch.from_numpy(images)[:, None].expand(-1, 3, -1, -1)
    colour, _ = apply_transform(settings(**change), batch, torch.zeros(len(batch), 1, 2), generator())
    for channel in range(3):
        np.testing.assert_allclose(colour[:, channel], degraded(images, **change), atol=1e-3)
