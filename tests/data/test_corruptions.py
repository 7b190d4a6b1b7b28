"""Corruptions: what each does to pixels and points, and that an image's random numbers have an address."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data.corruptions import CORRUPTIONS, Condition, CorruptionSettings, Subject, corrupted_table
from facekp.models.ensemble import image_batches
from tests.conftest import config_of


def settings(choice="standard", **changes):
    values = config_of("ckpt=x", f"corruptions={choice}", name="evaluate")["corruptions"]
    return parse(CorruptionSettings, {**values, **changes}, "corruptions")


def corrupted(faces, name, strength, seed=0):
    """The faces under one condition: images float64 (N, H, W), points (N, K, 2)."""
    table = corrupted_table(faces, [Condition(name, strength)], seed)
    return table.images[:].astype(float), table.points


@pytest.fixture(scope="module")
def few(faces):
    return faces.take(np.arange(12))


def test_the_standard_ones_have_three_or_four_strengths_each_and_none_has_none():
    conditions = settings().conditions()
    counts = {name: sum(condition.corruption == name for condition in conditions) for name in CORRUPTIONS}
    assert set(counts.values()) == {3, 4}
    assert conditions[0] == Condition("noise", 10)
    assert settings("none").conditions() == []
    assert settings("none").replaced(noise=[10, 20, 10]).conditions() == [("noise", 10), ("noise", 20)]
    assert list(CORRUPTIONS) == [key for key in CorruptionSettings.model_fields if key != "seed"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": [-1]}, "corruptions.noise.0=-1: must be greater than 0"),
        ({"jpeg": [101]}, "corruptions.jpeg.0=101: must be at most 100"),
        ({"jpeg": [10.5]}, "corruptions.jpeg.0=10.5: must be a whole number"),
        ({"darkness": [1.0]}, "corruptions.darkness.0=1.0: must be less than 1"),
        ({"scale": 0.5}, r"corruptions.scale=0.5: must be a list"),
        ({"nois": [1]}, "corruptions.nois: unknown key; did you mean noise"),
        ({"seed": -1}, "corruptions.seed=-1: must be at least 0"),
    ],
)
def test_an_invalid_setting_is_named(change, message):
    with pytest.raises(UserError, match=message):
        settings(**change)


@pytest.mark.parametrize("name", ["square", "motion", "shift"])
def test_a_strength_that_does_not_fit_the_images_is_refused(few, name):
    with pytest.raises(UserError, match=rf"corruptions.{name}=96: must be below the images' side, 96 pixels"):
        corrupted_table(few, [Condition(name, 96)], 0)


def test_the_random_numbers_of_an_image_depend_on_seed_corruption_and_row_alone(faces):
    conditions = settings().conditions()
    whole = corrupted_table(faces, conditions, 0)
    rows = np.array([70, 3])
    part = corrupted_table(faces.take(rows), conditions[::-1], 0)
    for c, condition in enumerate(conditions):
        for i, row in enumerate(rows):
            here, there = c * len(faces) + row, (len(conditions) - 1 - c) * 2 + i
            assert np.array_equal(whole.images[here], part.images[there]), condition
            assert np.array_equal(whole.points[here], part.points[there], equal_nan=True), condition
    assert not np.array_equal(corrupted(faces, "noise", 10.0)[0], corrupted(faces, "noise", 10.0, seed=1)[0])


def test_images_are_the_same_one_by_one_and_in_batches(few):
    table = corrupted_table(few, settings().conditions(), 0)
    assert len(table) == len(settings().conditions()) * len(few)
    batches = torch.cat([images for images, _ in image_batches(table.take(np.arange(40)), torch.device("cpu"))])
    for i in (0, 17, 39):
        assert np.array_equal(batches[i, 0].numpy(), table.images[i])


def test_strengths_of_one_image_share_their_random_numbers(few):
    weak, strong = (corrupted(few, "noise", level)[0] - few.images for level in (2.0, 8.0))
    middle = (few.images > 60) & (few.images < 200)  # nothing is clipped
    assert np.corrcoef(weak[middle], strong[middle])[0, 1] > 0.97
    (_, weak), (_, strong) = corrupted(few, "rotation", 15.0), corrupted(few, "rotation", 30.0)
    side = [np.sign((points - few.points)[:, 0, 1]) for points in (weak, strong)]  # of the left eye
    assert np.array_equal(*side)
    assert set(side[0]) == {-1, 1}


def test_noise_has_its_standard_deviation(few):
    images, points = corrupted(few, "noise", 10.0)
    middle = (few.images > 60) & (few.images < 200)
    assert (images - few.images)[middle].std() == pytest.approx(10, rel=0.03)
    assert np.array_equal(points, few.points, equal_nan=True)


def test_blur_is_scipy_s(few):
    images, _ = corrupted(few, "blur", 2.0)
    expected = [gaussian_filter(image.astype(float), 2.0, mode="nearest") for image in few.images]
    assert np.abs(images - expected).max() < 1.5


def test_a_movement_spreads_a_pixel_along_a_line_of_its_length(few):
    dot = np.zeros((96, 96), np.float32)
    dot[48, 48] = 1000
    for seed in range(5):
        moved = CORRUPTIONS["motion"](9.0, Subject((96, 96), np.empty((0, 2))), np.random.default_rng(seed)).pixels(dot)
        y, x = np.mgrid[:96, :96] - 48
        assert moved.sum() == pytest.approx(1000, rel=1e-4)
        spread = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=moved.ravel(), ddof=0)
        across, along = np.linalg.eigvalsh(spread)
        assert along == pytest.approx(8**2 / 12 + 1 / 3, abs=0.3)  # uniform over 8 px, bilinear
        assert across < 0.4


def test_low_resolution_keeps_means_and_loses_detail(few):
    images, _ = corrupted(few, "resolution", 4.0)
    assert np.abs(images.mean(axis=(1, 2)) - few.images.mean(axis=(1, 2))).max() < 1
    small = cv2.resize(few.images[0], (24, 24), interpolation=cv2.INTER_AREA)
    again = cv2.resize(images[0].astype(np.uint8), (24, 24), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - again).mean() < 5
    fine = [np.abs(np.diff(stack, axis=2)).mean() for stack in (images, few.images.astype(float))]
    assert fine[0] < 0.5 * fine[1]


def test_jpeg_is_opencv_s(few):
    images, _ = corrupted(few, "jpeg", 10)
    _, file = cv2.imencode(".jpg", few.images[3], [cv2.IMWRITE_JPEG_QUALITY, 10])
    assert np.array_equal(images[3], cv2.imdecode(file, cv2.IMREAD_GRAYSCALE))


def test_a_square_hides_the_points_under_it(few):
    images, points = corrupted(few, "square", 32)
    for image, before, after, old in zip(images, few.points, points, few.images, strict=True):
        y, x = np.nonzero(image != old)
        box = image[y.min() : y.max() + 1, x.min() : x.max() + 1]
        assert max(box.shape) <= 32
        assert (box == 127).all()
        gone = np.isnan(after[:, 0]) & ~np.isnan(before[:, 0])
        under = (np.abs(before - [(x.min() + x.max()) / 2, (y.min() + y.max()) / 2]) <= 16.5).all(axis=1)
        assert gone.any()  # the point that it lies around
        assert not (gone & ~under).any()
        kept = ~np.isnan(after[:, 0])
        assert np.array_equal(after[kept], before[kept])
    assert 0.02 < np.isnan(points).mean() - np.isnan(few.points).mean() < 0.4


def test_darkness_and_contrast_scale_levels(few):
    dark, _ = corrupted(few, "darkness", 0.25)
    assert np.abs(dark - few.images / 4).max() <= 0.5
    flat, _ = corrupted(few, "contrast", 0.5)
    mean = few.images.mean(axis=(1, 2), keepdims=True)
    assert np.abs(flat - (mean + (few.images - mean) / 2)).max() < 0.51


def blob(x, y):
    """An image with a bright spot at a position."""
    v, u = np.mgrid[:96, :96]
    return (250 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / 32)).astype(np.uint8)


@pytest.mark.parametrize(("name", "strength"), [("rotation", 30.0), ("scale", 0.6), ("shift", 12.0)])
def test_points_move_with_pixels(few, name, strength):
    from dataclasses import replace

    spots = np.array([[40.0 + i, 60.0 - i] for i in range(12)], np.float32)
    points = np.broadcast_to(spots[:, None], few.points.shape).copy()
    table = replace(few, images=np.stack([blob(*spot) for spot in spots]), points=points)
    images, moved = corrupted(table, name, strength)
    v, u = np.mgrid[:96, :96]
    for image, point in zip(images, moved[:, 0], strict=True):
        centroid = np.array([(image * u).sum(), (image * v).sum()]) / image.sum()
        assert np.abs(centroid - point).max() < 0.25
    centre = np.array([47.5, 47.5])
    before, after = (np.linalg.norm(where - centre, axis=1) for where in (spots, moved[:, 0]))
    if name == "rotation":
        assert after == pytest.approx(before, abs=1e-3)
    if name == "scale":
        assert after == pytest.approx(0.6 * before, abs=1e-3)
    if name == "shift":
        assert np.linalg.norm(moved[:, 0] - spots, axis=1) == pytest.approx(12, abs=0.8)


def test_points_that_leave_the_image_do_not_count(few):
    _, points = corrupted(few, "shift", 40.0)
    assert np.isnan(points).mean() > np.isnan(few.points).mean() + 0.05
    assert np.nanmin(points) >= 0
    assert np.nanmax(points) <= 96


def test_the_offset_of_a_source_s_labels_does_not_turn_with_the_face(few):
    offset = np.zeros((2, 15, 2), np.float32)
    offset[1] = (1.0, 0.0)  # the second source labels a pixel to the right
    _, points = corrupted(few, "rotation", 60.0)
    table = corrupted_table(few, [Condition("rotation", 60.0)], 0, offset)
    moved = table.points - points
    for i, source in enumerate(few.source):
        known = ~np.isnan(moved[i, :, 0])
        if not source:
            assert not moved[i][known].any()
        else:  # by the difference between the offset and the turned offset
            turned = np.linalg.norm(moved[i][known], axis=1)
            assert turned == pytest.approx(np.full(known.sum(), 1.0), abs=1e-3)  # 2 sin(60 / 2 degrees)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in ("noise", "jpeg")])
def test_the_colours_of_a_grey_image_change_alike(few, name):
    strength = {"darkness": 0.5, "contrast": 0.5, "scale": 0.8, "square": 30}.get(name, 3.0)
    grey, points = corrupted(few, name, strength)
    colour, moved = corrupted(replace(few, images=np.repeat(few.images[..., None], 3, axis=-1)), name, strength)
    np.testing.assert_allclose(colour, np.repeat(grey[..., None], 3, axis=-1), atol=1)
    np.testing.assert_array_equal(moved, points)


def test_jpeg_keeps_red_red_and_noise_differs_between_colours(few):
    red = np.zeros((*few.images.shape, 3), np.uint8)
    red[..., 0] = 200
    kept, _ = corrupted(replace(few, images=red), "jpeg", 50)
    np.testing.assert_allclose(kept, red, atol=3)
    noisy, _ = corrupted(replace(few, images=red // 2 + np.uint8(60)), "noise", 10)
    deviation = (noisy - red // 2 - 60).reshape(-1, 3)
    assert deviation.std(axis=0) == pytest.approx([10] * 3, rel=0.05)
    assert abs(np.corrcoef(deviation.T)[0, 1]) < 0.05
