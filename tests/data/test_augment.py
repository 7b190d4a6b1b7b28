"""Augmentation: points move with pixels, what leaves is unlabelled, randomness has an address."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facekp.data.augment import Augmentation, warp
from facekp.errors import UserError

PARTS = (
    "flip",
    "rotate",
    "scale",
    "stretch",
    "shear",
    "shift",
    "contrast",
    "brightness",
    "gamma",
    "blur",
    "noise",
    "erase",
)
OFF = dict.fromkeys(PARTS, 0.0)


def blobs(points: torch.Tensor) -> torch.Tensor:
    """One bright Gaussian (standard deviation 3 px) an image, drawn straight from its formula."""
    y, x = np.mgrid[:96, :96]
    px, py = points[:, 0, 0].numpy()[:, None, None], points[:, 0, 1].numpy()[:, None, None]
    return torch.from_numpy(200 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18)).float().unsqueeze(1)


def centroid(image: np.ndarray) -> tuple[float, float]:
    y, x = np.mgrid[:96, :96]
    return (image * x).sum() / image.sum(), (image * y).sum() / image.sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(38, 58), st.floats(38, 58))
def test_points_move_with_pixels(seed, x, y):
    points = torch.tensor([[[x, y]]])
    shake = Augmentation(
        **{**OFF, "flip": 0.5, "rotate": 30.0, "scale": 0.2, "stretch": 0.2, "shear": 0.1, "shift": 8.0}
    )
    images, moved = shake(blobs(points), points, torch.tensor([0]), torch.Generator().manual_seed(seed))
    assert centroid(images[0, 0].numpy()) == pytest.approx(moved[0, 0].tolist(), abs=0.05)


def test_a_mirror_image_swaps_left_and_right_and_mirrors_pixels():
    points = torch.tensor([[[10.0, 20.0], [70.0, 30.0]]])
    images = torch.rand(1, 1, 96, 96) * 255
    flipped, moved = Augmentation(**{**OFF, "flip": 1.0})(images, points, torch.tensor([1, 0]), torch.Generator())
    torch.testing.assert_close(flipped, images.flip(-1), atol=1e-2, rtol=0)
    torch.testing.assert_close(moved, torch.tensor([[[25.0, 30.0], [85.0, 20.0]]]))


def test_nothing_switched_on_changes_nothing(faces, scheme):
    images = torch.from_numpy(faces.images[:4]).unsqueeze(1).float()
    points = torch.from_numpy(faces.points[:4])
    order = torch.from_numpy(scheme.flip_order())
    out, moved = Augmentation(**OFF)(images, points, order, torch.Generator())
    torch.testing.assert_close(out, images, atol=1e-2, rtol=0)
    torch.testing.assert_close(moved, points, equal_nan=True, atol=1e-4, rtol=0)


def test_points_that_leave_the_image_become_unlabelled_and_missing_ones_stay_so():
    points = torch.tensor([[[95.0, 50.0], [torch.nan, torch.nan], [5.0, 50.0]]])
    right = torch.tensor([[[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]]])
    _, moved = warp(torch.zeros(1, 1, 96, 96), points, right)
    assert moved[0, :2].isnan().all()
    assert moved[0, 2].tolist() == [8.0, 50.0]


def test_the_same_generator_state_draws_the_same_and_global_state_is_left_alone(faces, scheme):
    images = torch.from_numpy(faces.images[:4]).unsqueeze(1).float()
    points, order = torch.from_numpy(faces.points[:4]), torch.from_numpy(scheme.flip_order())
    shake = Augmentation(**{**OFF, "rotate": 20.0, "contrast": 0.3, "brightness": 20.0})
    before = torch.get_rng_state()
    first = shake(images, points, order, torch.Generator().manual_seed(3))
    again = shake(images, points, order, torch.Generator().manual_seed(3))
    other = shake(images, points, order, torch.Generator().manual_seed(4))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "told"), [({"flip": -1}, "augment.flip: -1"), ({"spin": 1}, "augment.spin"), ({"rotate": "x"}, "'x'")]
)
def test_a_bad_setting_is_named(change, told):
    with pytest.raises(UserError, match=told):
        Augmentation.from_dict({**OFF, **change})


def degraded(faces, **parts):
    images = torch.from_numpy(faces.images[:16]).unsqueeze(1).float()
    shake, order = Augmentation(**{**OFF, **parts}), torch.arange(15)
    out, points = shake(images, torch.from_numpy(faces.points[:16]), order, torch.Generator().manual_seed(0))
    torch.testing.assert_close(points, torch.from_numpy(faces.points[:16]), equal_nan=True, atol=1e-4, rtol=0)
    assert out.min() >= 0
    assert out.max() <= 255
    return images.numpy(), out.numpy()


def test_blur_equals_scipy_s_and_spares_the_rest(faces):
    from scipy.ndimage import gaussian_filter

    before, after = degraded(faces, blur=1.0)
    for old, new in zip(before[:, 0], after[:, 0], strict=True):
        sigmas = np.linspace(0.01, 1.5, 150)
        gap = min(
            np.abs(gaussian_filter(old, s, mode="nearest", truncate=4 / s) - new)[8:-8, 8:-8].max() for s in sigmas
        )
        assert gap < 3.0
    spared = (np.abs(degraded(faces, blur=0.5)[1] - before) < 0.05).all(axis=(1, 2, 3))
    assert 0 < spared.sum() < 16


def test_noise_has_a_standard_deviation_of_its_own_in_every_image(faces):
    before, after = degraded(faces, noise=8.0)
    levels = (after - before)[:, 0, :, :].std(axis=(1, 2))
    assert levels.max() < 9
    assert levels.max() > 2 * levels.min()


def test_an_erased_rectangle_is_the_image_s_own_grey(faces):
    before, after = degraded(faces, erase=1.0)
    for old, new in zip(before[:, 0], after[:, 0], strict=True):
        y, x = np.nonzero(np.abs(old - new) > 1e-2)
        if len(y):
            box = new[y.min() : y.max() + 1, x.min() : x.max() + 1]
            np.testing.assert_allclose(box, old.mean(), atol=1.0)
            assert max(box.shape) <= 0.4 * 96 + 1


def test_gamma_bends_greys_and_keeps_black_and_white(faces):
    images = torch.linspace(0, 255, 96).expand(16, 1, 96, 96).clone()
    shake = Augmentation(**{**OFF, "gamma": 1.0})
    out, _ = shake(images, torch.zeros(16, 1, 2), torch.tensor([0]), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(out[:, 0, 0, [0, -1]].numpy(), [[0.0, 255.0]] * 16, atol=1e-2)
    middle = out[:, 0, 0, 48] / images[:, 0, 0, 48]
    assert middle.min() > 0.49
    assert middle.max() < 1.43
    assert middle.std() > 0.1
