"""Augmentation: points move with pixels, what leaves is unlabelled, randomness has an address."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data.augment import Augmentation
from facekp.functional.warp import warp

PARTS = (
    "flip",
    "rotate",
    "scale",
    "stretch",
    "shear",
    "shift",
    "wild",
    "elastic",
    "contrast",
    "brightness",
    "gamma",
    "blur",
    "noise",
    "erase",
)
OFF = {**dict.fromkeys(PARTS, 0.0), "transforms": []}
MOVES = {**OFF, "flip": 0.5, "rotate": 30.0, "scale": 0.2, "stretch": 0.2, "shear": 0.1, "shift": 8.0}


def blobs(points: torch.Tensor) -> torch.Tensor:
    """One bright Gaussian (standard deviation 3 px) per image, drawn from its formula."""
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
    images, moved = Augmentation(**MOVES)(blobs(points), points, torch.tensor([0]), torch.Generator().manual_seed(seed))
    assert centroid(images[0, 0].numpy()) == pytest.approx(moved[0, 0].tolist(), abs=0.05)


def coordinates(n: int) -> torch.Tensor:
    """Images (n, 2, 96, 96) whose two greys are the pixel's x and y: warped, they show where a pixel comes from."""
    y, x = np.mgrid[:96, :96].astype(np.float32)
    return torch.from_numpy(np.stack([x, y])).repeat(n, 1, 1, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 5))
def test_a_moved_point_shows_the_pixel_that_it_came_from(seed, elastic):
    points = torch.cartesian_prod(torch.linspace(6, 89, 15), torch.linspace(6, 89, 15))[None]
    shake = Augmentation(**{**MOVES, "elastic": elastic})
    images, moved = shake(coordinates(1), points, torch.arange(225), torch.Generator().manual_seed(seed))
    seen = (moved[0] <= 95).all(dim=-1)  # a label may lie beyond the last pixel's centre, where no pixel is
    assert seen.sum() > 100
    at = moved[0, seen].flip(-1).T.numpy()
    shown = np.stack([map_coordinates(image, at, order=1) for image in images[0].numpy()], axis=-1)
    np.testing.assert_allclose(shown, points[0, seen], atol=0.02)


def test_an_elastic_field_is_the_cubic_spline_of_its_knots():
    field = 3 * torch.randn(1, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    images, _ = warp(coordinates(1), torch.zeros(1, 0, 2), torch.eye(2, 3)[None], field)
    ticks, pixels = 24.0 * np.arange(-3, 8), np.arange(96)
    before = coordinates(1)[0].numpy()
    for shown, still, knots in zip(images[0].numpy(), before, field[0].double().numpy(), strict=True):
        down = BSpline(ticks, knots, 3)(pixels)  # (96, 7): the columns of knots at every row of pixels
        across = BSpline(ticks, down.T, 3)(pixels).T
        np.testing.assert_allclose(shown, (still + across).clip(0, 95), atol=1e-3)


def test_the_strongest_elastic_field_allowed_does_not_fold():
    with pytest.raises(UserError, match=r"augment\.elastic=5\.1: must be at most 5"):
        parse(Augmentation, {**OFF, "elastic": 5.1}, "augment")
    signs = torch.randint(0, 2, (64, 2, 7, 7), generator=torch.Generator().manual_seed(0))
    images, _ = warp(coordinates(64), torch.zeros(64, 0, 2), torch.eye(2, 3).expand(64, 2, 3), 5.0 * (2 * signs - 1))
    down, across = np.gradient(images[:, :, 6:-6, 6:-6].numpy(), axis=(-2, -1))  # nothing there is from outside
    assert (across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]).min() > 0.3


def test_an_elastic_field_bends_every_face_differently_and_within_its_limit(faces, scheme):
    images, points = torch.from_numpy(faces.images[:16]).unsqueeze(1).float(), torch.from_numpy(faces.points[:16])
    order = torch.from_numpy(scheme.flip_order())
    _, moved = Augmentation(**{**OFF, "elastic": 4.0})(images, points, order, torch.Generator().manual_seed(0))
    way = (moved - points).numpy()
    assert 2 < np.nanmax(np.abs(way)) <= 4
    assert np.nanstd(way, axis=0)[0].min() > 0.5
    assert np.nanstd(way[0], axis=0).min() > 0.2


def test_an_even_field_is_a_shift_and_points_it_moves_out_become_unlabelled():
    points = torch.tensor([[[1.0, 50.0], [96.0, 96.0], [torch.nan, torch.nan], [3.0, 0.5]]])
    image = torch.rand(1, 1, 96, 96) * 255
    field = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 7, 7)
    shifted, moved = warp(image, points, torch.eye(2, 3)[None], field)
    torch.testing.assert_close(shifted[..., 1:, :-2], image[..., :-1, 2:], atol=0.05, rtol=0)
    assert moved[0, :3].isnan().all()
    torch.testing.assert_close(moved[0, 3], torch.tensor([1.0, 1.5]))


def test_a_mirror_image_swaps_left_and_right_and_mirrors_pixels():
    points = torch.tensor([[[10.0, 20.0], [70.0, 30.0]]])
    images = torch.rand(1, 1, 96, 96) * 255
    flipped, moved = Augmentation(**{**OFF, "flip": 1.0})(images, points, torch.tensor([1, 0]), torch.Generator())
    torch.testing.assert_close(flipped, images.flip(-1), atol=1e-2, rtol=0)
    torch.testing.assert_close(moved, torch.tensor([[[25.0, 30.0], [85.0, 20.0]]]))


def test_an_image_that_is_not_square_is_mirrored_and_turned_about_its_middle():
    points = torch.tensor([[[10.0, 20.0], [35.5, 19.5]]])
    images = torch.rand(1, 1, 40, 72) * 255
    flipped, moved = Augmentation(**{**OFF, "flip": 1.0})(images, points, torch.arange(2), torch.Generator())
    torch.testing.assert_close(flipped, images.flip(-1), atol=1e-2, rtol=0)
    torch.testing.assert_close(moved, torch.tensor([[[61.0, 20.0], [35.5, 19.5]]]))
    _, turned = Augmentation(**{**OFF, "rotate": 30.0})(images, points, torch.arange(2), torch.Generator())
    torch.testing.assert_close(turned[:, 1], points[:, 1])


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
    shake = Augmentation(**{**OFF, "rotate": 20.0, "elastic": 2.0, "contrast": 0.3, "brightness": 20.0})
    before = torch.get_rng_state()
    first = shake(images, points, order, torch.Generator().manual_seed(3))
    again = shake(images, points, order, torch.Generator().manual_seed(3))
    other = shake(images, points, order, torch.Generator().manual_seed(4))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip": -1}, "augment.flip=-1: must be at least 0"),
        ({"scale": 0.95}, "augment.scale=0.95: must be at most 0.9"),
        ({"contrast": 1.5}, "augment.contrast=1.5: must be at most 1"),
        ({"spin": 1}, "augment.spin: unknown key"),
        ({"rotate": "x"}, "augment.rotate=x: must be a number"),
        ({"noise": float("nan")}, "augment.noise=nan: must be a finite number"),
        (
            {"transforms": [{"name": "kornja"}]},
            "there is no transform 'kornja'; choose one of albumentations, degrade, ",
        ),
    ],
)
def test_an_invalid_setting_is_named(change, message):
    with pytest.raises(UserError, match=message):
        parse(Augmentation, {**OFF, **change}, "augment")


def test_every_setting_is_required():
    settings = dict(OFF)
    del settings["gamma"]
    with pytest.raises(UserError, match=r"augment\.gamma: is missing"):
        parse(Augmentation, settings, "augment")


def test_points_move_alike_without_the_images(faces, scheme):
    images, points = torch.from_numpy(faces.images[:16, None]).float(), torch.from_numpy(faces.points[:16])
    order, shake = torch.from_numpy(scheme.flip_order()), Augmentation(**{**MOVES, "elastic": 2.0, "wild": 0.5})
    _, expected = shake(images, points, order, torch.Generator().manual_seed(3))
    movement = shake.draw_movement(16, (96, 96), points.device, torch.Generator().manual_seed(3))
    assert torch.equal(shake.move_points(points, (96, 96), order, movement).nan_to_num(), expected.nan_to_num())


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


def test_blur_repeats_the_border_so_that_an_even_image_stays_even():
    images = torch.full((16, 1, 96, 96), 200.0)
    shake = Augmentation(**{**OFF, "blur": 1.0})
    out, _ = shake(images, torch.zeros(16, 0, 2), torch.arange(0), torch.Generator().manual_seed(0))
    torch.testing.assert_close(out, images, atol=1e-2, rtol=0)


def test_noise_differs_in_strength_between_images(faces):
    before, after = degraded(faces, noise=8.0)
    levels = (after - before)[:, 0, :, :].std(axis=(1, 2))
    assert levels.max() < 9
    assert levels.max() > 2 * levels.min()


def test_an_erased_rectangle_has_the_image_s_mean_grey(faces):
    before, after = degraded(faces, erase=1.0)
    for old, new in zip(before[:, 0], after[:, 0], strict=True):
        y, x = np.nonzero(np.abs(old - new) > 1e-2)
        if len(y):
            box = new[y.min() : y.max() + 1, x.min() : x.max() + 1]
            np.testing.assert_allclose(box, old.mean(), atol=1.0)
            assert max(box.shape) <= 0.4 * 96 + 1


def test_rectangles_of_an_image_that_is_not_square_are_up_to_two_fifths_of_its_sides():
    images = 255 * torch.rand(300, 1, 40, 72, generator=torch.Generator().manual_seed(1))
    shake, no_points = Augmentation(**{**OFF, "erase": 0.5}), torch.zeros(300, 0, 2)
    out, _ = shake(images, no_points, torch.arange(0), torch.Generator().manual_seed(0))
    sizes = []
    for old, new in zip(images[:, 0].numpy(), out[:, 0].numpy(), strict=True):
        y, x = np.nonzero(np.abs(old - new) > 1e-2)
        if len(y):
            np.testing.assert_allclose(new[y, x], old.mean(), atol=1e-2)
            sizes.append((np.ptp(y) + 1, np.ptp(x) + 1))
    assert len(sizes) / 300 == pytest.approx(0.5, abs=0.1)
    height, width = np.array(sizes).T
    assert 0.3 * 40 < height.max() <= 0.4 * 40 + 1
    assert 0.3 * 72 < width.max() <= 0.4 * 72 + 1
    assert abs(np.corrcoef(height, width)[0, 1]) < 0.5  # sides are drawn one by one


def test_brightness_lifts_greys_and_contrast_spreads_them_about_their_mean(faces):
    images = torch.from_numpy(faces.images[:40, None]).float() / 4 + 96  # 96 to 160: nothing is clipped
    shown = {}
    for setting, most in (("brightness", 30.0), ("contrast", 0.4)):
        shake = Augmentation(**{**OFF, setting: most})
        shown[setting], _ = shake(images, torch.zeros(40, 1, 2), torch.tensor([0]), torch.Generator().manual_seed(0))
    lift = (shown["brightness"] - images).flatten(1)
    torch.testing.assert_close(lift.amax(dim=1), lift.amin(dim=1), atol=1e-3, rtol=0)
    assert lift.abs().max() <= 30
    assert lift[:, 0].std() == pytest.approx(30 / 3**0.5, rel=0.3)
    before, after = images.flatten(1), shown["contrast"].flatten(1)
    gain = after.std(dim=1) / before.std(dim=1)
    torch.testing.assert_close(after.mean(dim=1), before.mean(dim=1), atol=1e-2, rtol=0)
    assert gain.min() >= 0.6 - 1e-3
    assert gain.max() <= 1.4 + 1e-3
    assert gain.std() == pytest.approx(0.4 / 3**0.5, rel=0.3)


def test_gamma_bends_greys_and_keeps_black_and_white(faces):
    images = torch.linspace(0, 255, 96).expand(16, 1, 96, 96).clone()
    shake = Augmentation(**{**OFF, "gamma": 1.0})
    out, _ = shake(images, torch.zeros(16, 1, 2), torch.tensor([0]), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(out[:, 0, 0, [0, -1]].numpy(), [[0.0, 255.0]] * 16, atol=1e-2)
    middle = out[:, 0, 0, 48] / images[:, 0, 0, 48]
    assert middle.min() > 0.49
    assert middle.max() < 1.43
    assert middle.std() > 0.1


def test_greys_beyond_black_and_white_are_black_and_white_whatever_the_tone_curve():
    images = torch.linspace(0, 255, 96).expand(64, 1, 96, 96).clone()
    shake = Augmentation(**{**OFF, "contrast": 1.0, "brightness": 80.0, "gamma": 1.0})
    out, _ = shake(images, torch.zeros(64, 1, 2), torch.tensor([0]), torch.Generator().manual_seed(0))
    assert out.isfinite().all()
    assert (out.min(), out.max()) == (0, 255)


def test_wild_faces_are_moved_three_times_as_far_and_none_vanishes():
    points = torch.full((4000, 1, 2), 47.5)
    order = torch.tensor([0])
    generator = torch.Generator().manual_seed(0)
    _, moved = Augmentation(**{**OFF, "shift": 6.0, "wild": 0.3})(
        torch.zeros(4000, 1, 96, 96), points, order, generator
    )
    far = (moved - points).abs().amax(dim=(1, 2))
    assert far.max() <= 18
    assert far.max() > 12
    beyond = (far > 6).float().mean().item()  # of the wild ones all but a ninth
    assert beyond == pytest.approx(0.3 * 8 / 9, abs=0.03)
    corner = torch.tensor([[[47.5, 47.5], [57.5, 47.5]]]).repeat(500, 1, 1)
    wild = Augmentation(**{**OFF, "scale": 0.9, "wild": 1.0})
    _, moved = wild(torch.zeros(500, 1, 96, 96), corner, torch.tensor([0, 1]), generator)
    assert (moved[:, 1, 0] - moved[:, 0, 0]).nan_to_num(99).min() >= 4 - 1e-3


@pytest.mark.parametrize(
    ("part", "most", "measured"),
    [
        ("rotate", 20.0, lambda across, down: torch.rad2deg(torch.atan2(across[:, 1], across[:, 0]))),
        ("shear", 0.1, lambda across, down: down[:, 0]),
    ],
)
@pytest.mark.parametrize(("wild", "times"), [(0.0, 1), (1.0, 3)])
def test_wild_faces_are_turned_and_sheared_three_times_as_far(part, most, measured, wild, times):
    across, down = moved_sides({part: most, "wild": wild})
    found = measured(across, down).abs().max().item()
    assert 0.95 * times * most < found <= times * most + 1e-3


def test_wild_faces_are_not_stretched_farther():
    across, _ = moved_sides({"stretch": 0.9, "wild": 1.0})
    assert 0.1 - 1e-3 <= across[:, 0].min() < 0.15
    assert 1.85 < across[:, 0].max() <= 1.9 + 1e-3


def moved_sides(parts):
    """(2000, 2) each: where two sides of length 1, to the right and down, point after the movement."""
    points = torch.tensor([[[47.5, 47.5], [57.5, 47.5], [47.5, 57.5]]]).repeat(2000, 1, 1)
    shake = Augmentation(**{**OFF, **parts})
    draws = shake.draw_movement(2000, (96, 96), points.device, torch.Generator().manual_seed(0))
    moved = shake.move_points(points, (96, 96), torch.arange(3), draws)
    return (moved[:, 1] - moved[:, 0]) / 10, (moved[:, 2] - moved[:, 0]) / 10
