"""Every rule against numpy formulas on noisy maps, and how far each is off on clean ones, inside and at the border."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from facekp.functional.decoders import DECODERS
from facekp.functional.heatmap import HeatmapCodec
from tests.functional.test_heatmap import EXACT, STRIDES, codec, random_points

SIGMA = 2.0
GRID = np.stack(np.meshgrid(np.arange(32), np.arange(32)), axis=-1)  # (x, y) of every cell


def noisy_maps() -> torch.Tensor:
    maps = codec(1, SIGMA, 32).encode(random_points(60, low=10.0, high=21.0))
    return maps + 0.02 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(1))


def highest(heatmap: np.ndarray) -> np.ndarray:
    row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
    return np.array([column, row])


def weighted(weight: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.average(places.reshape(-1, 2), axis=0, weights=weight.clip(0).ravel())


def centroid(heatmap: np.ndarray) -> np.ndarray:
    chosen = np.argsort(heatmap.ravel())[-25:]
    return weighted(heatmap.ravel()[chosen], GRID.reshape(-1, 2)[chosen])


def local_soft_argmax(heatmap: np.ndarray) -> np.ndarray:
    x, y = highest(heatmap)
    here = slice(y - 6, y + 7), slice(x - 6, x + 7)
    return weighted(heatmap[here], GRID[here])


def dark(heatmap: np.ndarray) -> np.ndarray:
    return taylor(heatmap, highest(heatmap))


def dark_blur(heatmap: np.ndarray) -> np.ndarray:
    return taylor(gaussian_filter(heatmap, SIGMA, mode="constant", radius=5), highest(heatmap))


def taylor(heatmap: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """As the authors' own code has it."""
    (x, y), log = cell, np.log(np.maximum(heatmap, 1e-10))
    slope = [(log[y, x + 1] - log[y, x - 1]) / 2, (log[y + 1, x] - log[y - 1, x]) / 2]
    xx = (log[y, x + 2] - 2 * log[y, x] + log[y, x - 2]) / 4
    yy = (log[y + 2, x] - 2 * log[y, x] + log[y - 2, x]) / 4
    xy = (log[y + 1, x + 1] - log[y - 1, x + 1] - log[y + 1, x - 1] + log[y - 1, x - 1]) / 4
    return cell - np.linalg.solve([[xx, xy], [xy, yy]], slope)


def mean(heatmap: np.ndarray) -> np.ndarray:
    return weighted(heatmap, GRID)


@pytest.mark.parametrize("formula", [centroid, local_soft_argmax, dark, dark_blur, mean])
def test_a_rule_answers_as_its_formula(formula) -> None:
    maps = noisy_maps()
    found, _ = codec(1, SIGMA, 32).decode(maps, formula.__name__)
    np.testing.assert_allclose(found.numpy(), [formula(one) for one in maps.double().numpy()], atol=1e-4)


def test_blend_is_half_way_between_mean_and_subpixel() -> None:
    maps = noisy_maps()
    blend, mean, subpixel = (codec(1, SIGMA, 32).decode(maps, rule)[0] for rule in ("blend", "mean", "subpixel"))
    torch.testing.assert_close(blend, (mean + subpixel) / 2)
    assert (mean - subpixel).abs().max() > 0.1


def test_of_two_possible_places_mean_answers_between_them_by_their_shares() -> None:
    likely, other = codec().encode(torch.tensor([[40.0, 50.0], [60.0, 50.0]]))
    found, _ = codec().decode((0.75 * likely + 0.25 * other)[None], "mean")
    torch.testing.assert_close(found, torch.tensor([[45.0, 50.0]]), atol=1e-3, rtol=0)


def test_dark_stays_on_a_maximum_near_the_border() -> None:
    points = torch.tensor([[1.3, 48.2], [48.2, 1.3], [94.2, 48.2], [2.3, 48.2]])
    for rule in ("dark", "dark_blur"):
        found, _ = codec().decode(codec().encode(points), rule)
        assert found[:3].tolist() == points[:3].round().tolist()
        assert found[3, 1] != 48


@pytest.mark.parametrize(
    ("right", "two_away", "diagonal"),
    [(0.9999, 0.999, 0.1), (0.95, 0.9, 0.999)],
    ids=["its vertex lies far away", "it opens upwards along a diagonal"],
)
def test_dark_stays_on_a_maximum_whose_parabola_has_no_vertex_near_it(right, two_away, diagonal) -> None:
    heatmap = torch.full((1, 32, 32), 0.1)
    heatmap[0, 16, 16], heatmap[0, 16, 17], heatmap[0, 16, 15] = 1.0, right, 0.8
    heatmap[0, [14, 18], 16] = heatmap[0, 16, [14, 18]] = two_away
    heatmap[0, 15, 15] = heatmap[0, 17, 17] = diagonal
    assert codec(1, SIGMA, 32).decode(heatmap, "dark")[0].tolist() == [[16.0, 16.0]]


# how far a rule is off on clean maps, in cells, x or y, at worst

INSIDE = {"argmax": 0.5, "centroid": 0.25, "local_soft_argmax": 0.025, "dark": 0.001, "dark_blur": 0.001}
BORDER = {  # at sigmas 0.5, 1.5, 3 and 5, for labels up to a whole cell beyond the last
    "argmax": (1.0, 1.0, 1.0, 1.0),
    "centroid": (1.01, 1.6, 2.5, 2.8),
    "local_soft_argmax": (1.01, 1.6, 2.8, 4.4),
    "dark": (1.0, 1.0, 1.0, 1.0),
    "dark_blur": (1.0, 1.0, 1.0, 2.3),
}


def test_every_rule_is_told_how_far_it_is_off() -> None:
    assert set(INSIDE) == set(BORDER) == set(DECODERS) - set(EXACT)


@pytest.mark.parametrize("rule", INSIDE)
@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5, 3.0, 5.0])
def test_inside_a_clean_map_a_rule_is_off_by_no_more_than_told(rule: str, sigma: float) -> None:
    points = random_points(400, low=42.0, high=54.0)
    found, _ = codec(1, sigma).decode(codec(1, sigma).encode(points), rule)
    assert (found - points).abs().max() < INSIDE[rule] + 1e-5
    assert (found - points).mean(0).abs().max() < 0.03  # no side is favoured


@pytest.mark.parametrize("rule", BORDER)
@pytest.mark.parametrize("stride", STRIDES)
def test_over_all_labels_a_rule_is_off_by_no_more_than_told(rule: str, stride: int) -> None:
    ends = torch.linspace(0, 3, 7)
    axis = torch.cat([ends, torch.tensor([5.2, 7.7, 10.4, 13.6, 20.3, 30.1, 48.4, 60.9, 95.8]), 96 - ends])
    points = torch.cartesian_prod(axis, axis)
    for sigma, told in zip((0.5, 1.5, 3.0, 5.0), BORDER[rule], strict=True):
        some = HeatmapCodec((96, 96), stride, sigma)
        worst = (some.decode(some.encode(points), rule)[0] - points).abs().max() / stride
        assert worst < told + 1e-5
        if stride == 1:
            assert worst > 0.9 * told  # and no less: nobody shall rely on a better one
