"""The codec against numpy formulas, and its two promises: exact on clean maps, unbiased on others, border included.

Noise is Gaussian, its level the standard deviation over the height of a whole, unclipped peak.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facekp.core.errors import UserError
from facekp.functional.decoders import DECODERS
from facekp.functional.heatmap import HeatmapCodec

STRIDES = (1, 2, 4)
SIGMAS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
EXACT = ("subpixel", "mean", "blend")  # how far the other rules are off is in test_decoders.py


def codec(stride: int = 1, sigma: float = 2.0, side: int = 96) -> HeatmapCodec:
    return HeatmapCodec((side, side), stride, sigma)


def random_points(*shape: int, low: float = 0.0, high: float = 96.0, seed: int = 0) -> torch.Tensor:
    return low + (high - low) * torch.rand(*shape, 2, generator=torch.Generator().manual_seed(seed))


# encode


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("sigma", [0.5, 1.5, 5.0])
def test_encode_is_the_gaussian_at_the_cells_pixel_positions(stride: int, sigma: float) -> None:
    points = random_points(2, 3, high=48.0)
    maps = HeatmapCodec((48, 32), stride, sigma).encode(points)
    rows, columns = np.arange(48 // stride), np.arange(32 // stride)
    y, x = stride * rows + (stride - 1) / 2, stride * columns + (stride - 1) / 2
    px, py = points.double().numpy()[..., 0], points.double().numpy()[..., 1]
    squared = (x - px[..., None, None]) ** 2 + (y[:, None] - py[..., None, None]) ** 2
    assert maps.dtype == torch.float32
    assert maps.shape == (2, 3, 48 // stride, 32 // stride)
    np.testing.assert_allclose(maps.numpy(), np.exp(-squared / (2 * (sigma * stride) ** 2)), atol=1e-6)


@pytest.mark.parametrize("stride", STRIDES)
def test_mirrored_points_draw_mirrored_heatmaps(stride: int) -> None:
    points = random_points(4, 15).double()  # so that mirroring itself rounds nothing
    mirrored = codec(stride).encode(torch.stack((95 - points[..., 0], points[..., 1]), dim=-1))
    torch.testing.assert_close(mirrored, codec(stride).encode(points).flip(-1), atol=1e-6, rtol=0)


# the round trip


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_clean_map_gives_its_point_back(stride: int, sigma: float) -> None:
    """To 1e-3 px on a grid of [0, 96]^2 that is dense near the borders (96 is beyond the last cell), jittered."""
    ends = torch.linspace(0, 3, 13)
    axis = torch.cat([ends, torch.linspace(5, 90, 7), 96 - ends])
    grid = torch.cartesian_prod(axis, axis)
    points = (grid + 0.1 * random_points(len(grid), low=-1, high=1) * (grid % 1 != 0)).clamp(0, 96)
    maps = codec(stride, sigma).encode(points)
    for rule in EXACT:
        assert (codec(stride, sigma).decode(maps, rule)[0] - points).abs().max() < 1e-3, rule


@settings(max_examples=200)
@given(
    x=st.floats(0, 96),
    y=st.floats(0, 96),
    stride=st.sampled_from(STRIDES),
    sigma=st.floats(0.5, 8),
    rule=st.sampled_from(EXACT),
)
def test_any_point_comes_back_at_any_sigma(x: float, y: float, stride: int, sigma: float, rule: str) -> None:
    point = torch.tensor([[x, y]])
    found, _ = codec(stride, sigma).decode(codec(stride, sigma).encode(point), rule)
    assert (found - point).abs().max() < 1e-3


# bias


def region(name: str, stride: int, count: int, side: int) -> torch.Tensor:
    """Points in a strip of x at any sub-cell height, or (corner) in the image's last pixel both ways."""
    points = random_points(count, low=side / 2 - 2 * stride, high=side / 2 + 2 * stride, seed=1)
    strip = random_points(count, high=1.0, seed=2)
    if name == "corner":
        return side - 1 + strip
    low, high = {"inside": (side / 2 - 2, 2 * stride), "first": (0, 1), "last": (side - 1, 1), "edge": (side, 0)}[name]
    points[:, 0] = low + high * strip[:, 0]
    return points


def bias(stride: int, sigma: float, true_sigma: float, noise: float, where: str, count: int = 1200) -> float:
    """Mean error in pixels of x or y, the larger, over sub-cell positions and draws of the noise."""
    side = 24 * stride
    points = region(where, stride, count, side)
    maps = codec(stride, true_sigma, side).encode(points)
    maps = maps + noise * torch.randn(maps.shape, generator=torch.Generator().manual_seed(3))
    found, _ = codec(stride, sigma, side).decode(maps)
    return float((found - points).mean(0).abs().max())


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("stride", STRIDES)
def test_noise_of_2_percent_and_a_sigma_off_by_two_do_not_bias_the_point(
    stride: int, sigma: float, ratio: float
) -> None:
    """At most 0.1 px, noise 0.02 of the peak, true sigma half, once and twice the assumed one, and from 0.75 cells up;
    inside, in the first and last pixel, and at x = W, beyond the last cell."""
    for where in ("inside", "first", "last", "edge"):
        assert bias(stride, sigma, ratio * sigma, 0.02, where) < 0.1, where


@pytest.mark.parametrize("ratio", [1.0, 2.0])
@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_one_flank_both_ways_is_unbiased_at_stride_1(sigma: float, ratio: float) -> None:
    """The image's outermost corner shows a quarter of the peak; true sigma from one cell up, noise 0.02."""
    assert bias(1, sigma, ratio * sigma, 0.02, "corner") < 0.1


@pytest.mark.parametrize("stride", STRIDES)
def test_a_true_sigma_of_half_a_cell_is_unbiased_where_its_peak_is_seen(stride: int) -> None:
    """Assumed sigma 1, true 0.5: beyond the last cell noise of 0.02 drowns what is left, so there only clean maps."""
    assert bias(stride, 1.0, 0.5, 0.02, "inside") < 0.1
    for where in ("inside", "first", "last", "edge", "corner"):
        assert bias(stride, 1.0, 0.5, 0.0, where) < 0.1, where


@pytest.mark.parametrize("rule", EXACT)
@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("stride", STRIDES)
def test_a_softmax_at_any_temperature_leaves_the_point_in_place(stride: int, temperature: float, rule: str) -> None:
    """Logits whose softmax is the Gaussian; a temperature of 1/4 halves its sigma and 4 doubles it."""
    for where in ("inside", "first", "last", "edge", "corner"):
        points = region(where, stride, 200, 24 * stride)
        logits = codec(stride, 1.5, 24 * stride).encode(points).log() / temperature
        maps = logits.flatten(-2).softmax(-1).view_as(logits)
        found, _ = codec(stride, 1.5, 24 * stride).decode(maps, rule)
        assert (found - points).abs().max() < 0.01, where


# other maps


@pytest.mark.parametrize("sharpness", [10, 30, 100])
@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_a_peak_that_is_no_gaussian_is_still_found(sigma: float, sharpness: float) -> None:
    """A softmax of peaks: a spike on a floor, far from the assumed shape; unchecked steps run off by many cells."""
    points = random_points(400, low=8, high=16)
    maps = (sharpness * codec(1, sigma, 24).encode(points)).flatten(-2).softmax(-1).unflatten(-1, (24, 24))
    found, _ = codec(1, sigma, 24).decode(maps)
    assert (found - points).abs().max() < 0.75
    assert (found - points).mean(0).abs().max() < 0.05


@pytest.mark.parametrize("rule", list(DECODERS))
def test_a_positive_factor_changes_the_confidence_alone(rule: str) -> None:
    maps = codec().encode(random_points(20)) + 0.02 * torch.randn(
        20, 96, 96, generator=torch.Generator().manual_seed(0)
    )
    points, confidence = codec().decode(maps, rule)
    for factor in (1e-6, 2.0**-10, 300.0):
        scaled, scaled_confidence = codec().decode(maps * factor, rule)
        torch.testing.assert_close(scaled, points, atol=1e-4, rtol=0)
        torch.testing.assert_close(scaled_confidence, confidence * factor)


@pytest.mark.parametrize("stride", STRIDES)
def test_argmax_answers_the_pixel_position_of_the_first_highest_cell(stride: int) -> None:
    maps = torch.rand(6, 96 // stride, 96 // stride, generator=torch.Generator().manual_seed(0))
    maps[0, 3, 9] = maps[0, 3, 5] = maps[0, 4, 1] = 2.0  # a tie
    found, confidence = codec(stride).decode(maps, "argmax")
    flat = maps.flatten(1).numpy()
    row, column = np.unravel_index(flat.argmax(1), maps.shape[1:])
    assert (row[0], column[0]) == (3, 5)
    np.testing.assert_allclose(found.numpy(), stride * np.stack([column, row], 1) + (stride - 1) / 2)
    np.testing.assert_array_equal(confidence.numpy(), flat.max(1))


def test_of_two_peaks_the_higher_one_is_fitted() -> None:
    high, low = codec().encode(torch.tensor([[20.3, 30.6], [60.0, 70.0]]))
    found, confidence = codec().decode((high + 0.9 * low)[None])
    torch.testing.assert_close(found, torch.tensor([[20.3, 30.6]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(confidence, high.max()[None])


@pytest.mark.parametrize("rule", list(DECODERS))
def test_what_is_missing_stays_missing(rule: str) -> None:
    points = torch.tensor([[[10.0, 20.0], [math.nan, math.nan]], [[math.nan, 5.0], [30.0, 40.0]]])
    maps = codec().encode(points)
    assert (maps[0, 1] == 0).all()
    assert (maps[1, 0] == 0).all()
    found, _ = codec().decode(maps, rule)
    assert found.isnan()[..., 0].tolist() == [[False, True], [True, False]]
    assert (found.isnan()[..., 0] == found.isnan()[..., 1]).all()
    maps[0, 0, 50, 60] = math.nan
    assert codec().decode(maps, rule)[0][0, 0].isnan().all()


@pytest.mark.parametrize("rule", list(DECODERS))
def test_a_map_with_one_highest_cell_or_none_above_zero_is_answered_there(rule: str) -> None:
    corner, inside, below = torch.zeros(96, 96), torch.zeros(96, 96), torch.full((96, 96), -2.0)
    corner[95, 0], inside[20, 30], below[40, 50] = 1e-30, 5.0, 0.0
    infinite = torch.zeros(96, 96)
    infinite[7, 9] = math.inf
    found, _ = codec().decode(torch.stack([corner, inside, below, infinite, -torch.ones(96, 96)]), rule)
    expected = torch.tensor([[0.0, 95.0], [30, 20], [50, 40], [9, 7], [0, 0]])
    torch.testing.assert_close(found[1:], expected[1:], atol=1e-3, rtol=0)
    assert (found[0] - expected[0]).abs().max() < 1.5


@pytest.mark.parametrize("rule", list(DECODERS))
def test_any_other_map_has_an_answer_in_reach_of_the_image(rule: str) -> None:
    noise = torch.randn(500, 24, 24, generator=torch.Generator().manual_seed(0))
    ridge = torch.zeros(24, 24)
    ridge[10] = 1.0
    found, _ = codec(4, 1.5).decode(torch.cat([noise, noise.exp(), ridge[None], torch.ones(1, 24, 24)]), rule)
    assert found.min() >= 1.5 - 1.25 * 4
    assert found.max() <= 93.5 + 1.25 * 4
    tiny, _ = HeatmapCodec((3, 4), 1, 1.5).decode(noise[:, :3, :4], rule)  # fewer cells than a rule would look at
    assert tiny.isfinite().all()


@pytest.mark.parametrize("rule", list(DECODERS))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_decode_to_float32(dtype: torch.dtype, rule: str) -> None:
    """bfloat16 keeps 8 bits: the point is then good to 0.05 px."""
    points = random_points(50, low=5, high=90)
    maps = codec().encode(points).to(dtype)
    found, confidence = codec().decode(maps, rule)
    assert found.dtype == confidence.dtype == torch.float32
    if rule == "subpixel":
        assert (found - points).abs().max() < 0.05
    else:
        torch.testing.assert_close(found, codec().decode(maps.float(), rule)[0])


@pytest.mark.parametrize("rule", list(DECODERS))
def test_an_empty_batch_and_any_leading_axes_keep_their_shape(rule: str) -> None:
    maps = codec().encode(torch.empty(0, 15, 2))
    assert maps.shape == (0, 15, 96, 96)
    points, confidence = codec().decode(maps, rule)
    assert (points.shape, confidence.shape) == ((0, 15, 2), (0, 15))
    points, confidence = codec().decode(torch.rand(2, 3, 4, 96, 96), rule)
    assert (points.shape, confidence.shape) == ((2, 3, 4, 2), (2, 3, 4))


def test_maps_need_not_be_square_nor_contiguous() -> None:
    wide = HeatmapCodec((40, 80), 2, 1.5)
    points = random_points(10, 3, high=40.0) * torch.tensor([2.0, 1.0])
    maps = wide.encode(points).transpose(0, 1)
    found, _ = wide.decode(maps)
    torch.testing.assert_close(found, points.transpose(0, 1), atol=1e-3, rtol=0)


# mistakes


def test_mistakes_say_what_to_do() -> None:
    with pytest.raises(UserError, match=r"there is no decoder rule 'median'; choose one of argmax, blend"):
        codec().decode(torch.zeros(1, 96, 96), "median")
    with pytest.raises(UserError, match="stride: 5 does not divide 96 x 96 pixels"):
        codec(5)
    with pytest.raises(UserError, match=r"sigma: 0\.0 is not above 0"):
        codec(sigma=0.0)
    with pytest.raises(UserError, match=r"sigma: 1000000\.0 is wider than the image"):
        codec(sigma=1e6)
    with pytest.raises(ValueError, match=r"heatmaps of \(24, 24\) cells, but the codec's are \(96, 96\)"):
        codec().decode(torch.zeros(1, 24, 24))


@pytest.mark.parametrize(
    ("returned", "given"),
    [
        (lambda cell: torch.zeros(2), r"a tensor of shape \(2,\)"),
        (lambda cell: torch.zeros(1, 2), r"a tensor of shape \(1, 2\)"),
        (lambda cell: cell.numpy(), "ndarray"),
        (lambda cell: (cell, cell), "tuple"),
    ],
)
def test_what_a_plug_in_s_rule_returns_is_not_broadcast(monkeypatch, returned, given) -> None:
    monkeypatch.setitem(DECODERS.entries, "odd", lambda maps, cell, sigma: returned(cell))
    with pytest.raises(
        UserError, match=rf"^decoder\.rule=odd: returned {given}; a decoder .* \(N, 2\), here \(3, 2\)$"
    ):
        codec().decode(torch.zeros(3, 96, 96), "odd")
