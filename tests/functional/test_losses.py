"""Losses against numpy and against their papers' words, and their indifference to what nobody labelled."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, softmax

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.functional.heatmap import HeatmapCodec
from facekp.functional.losses import DISTANCES, LOSSES, adaptive_wing, build_loss, labelled_mean, soft_argmax
from tests.conftest import config_of

CODEC = HeatmapCodec((96, 96), 4, 1.0)
CHOICES = sorted(path.stem for path in (CONF_DIR / "loss").glob("*.yaml"))


def loss_of(choice):
    return build_loss(LOSSES.parse(config_of(f"loss={choice}")["loss"]))


@pytest.fixture
def batch():
    torch.manual_seed(0)
    points = torch.rand(5, 4, 2) * 95
    points[torch.rand(5, 4) < 0.4] = torch.nan
    return torch.randn(5, 4, 24, 24), CODEC.encode(points), CODEC.to_cells(points)


def labelled(cells):
    return ~cells[..., 0].isnan()


def over_labelled_maps(batch, each):
    out, target, cells = (t.numpy().astype(np.float64) for t in batch)
    return [each(out[n, c], target[n, c], cells[n, c]) for n, c in np.argwhere(~np.isnan(cells[..., 0]))]


def mean_cell(out):
    share = softmax(out)
    y, x = np.mgrid[:24, :24]
    return np.array([(share * x).sum(), (share * y).sum()])


def distribution(target):
    return (target / target.sum()).ravel()


def wing_by_hand(pixels):
    return 10 * math.log(1 + pixels / 2) if pixels < 10 else pixels - (10 - 10 * math.log(1 + 10 / 2))


def adaptive_wing_by_hand(out, target):
    """Of the paper: A and C make the logarithm and the line meet at theta, with one slope."""
    error, power = abs(out - target), 2.1 - target
    a = 14 / (1 + 0.5**power) * power * 0.5 ** (power - 1)
    c = 0.5 * a - 14 * np.log(1 + 0.5**power)
    cost = np.where(error < 0.5, 14 * np.log(1 + error**power), a * error - c)
    return cost * (1 + 10 * (maximum_filter(target, 3) >= 0.2))


BY_HAND = {
    "mse": lambda out, target, cell: ((out - target) ** 2).mean(),
    "weighted_mse": lambda out, target, cell: ((1 + 20 * target) * (out - target) ** 2).mean(),
    "cross_entropy": lambda out, target, cell: -(distribution(target) * log_softmax(out.ravel())).sum(),
    "jensen_shannon": lambda out, target, cell: jensenshannon(distribution(target), softmax(out.ravel())) ** 2,
    "adaptive_wing": lambda out, target, cell: adaptive_wing_by_hand(out, target).mean(),
    "euclidean": lambda out, target, cell: (
        np.hypot(*(mean_cell(out) - cell)) + BY_HAND["cross_entropy"](out, target, cell)
    ),
    "smooth_l1": lambda out, target, cell: (
        sum(e * e / 2 if e < 1 else e - 0.5 for e in abs(mean_cell(out) - cell))
        + BY_HAND["cross_entropy"](out, target, cell)
    ),
    "wing": lambda out, target, cell: (  # in pixels as published: w = 10, epsilon = 2, whose scale is 4 pixels a cell
        sum(wing_by_hand(4 * e) for e in abs(mean_cell(out) - cell)) / 4 + BY_HAND["cross_entropy"](out, target, cell)
    ),
    "squared": lambda out, target, cell: (
        ((mean_cell(out) - cell) ** 2).sum() + BY_HAND["cross_entropy"](out, target, cell)
    ),
}


@pytest.mark.parametrize("choice", BY_HAND)
def test_a_loss_equals_numpy_over_labelled_maps(batch, choice):
    expected = np.mean(over_labelled_maps(batch, BY_HAND[choice]))
    found = labelled_mean(loss_of(choice)(*batch), labelled(batch[2]))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_adaptive_wing_is_continuous_where_its_halves_meet_and_weighs_the_foreground():
    target = torch.zeros(1, 1, 3, 3)
    below, above = (adaptive_wing(torch.full_like(target, 0.5 + side), target, target) for side in (-1e-6, 1e-6))
    torch.testing.assert_close(below, above, atol=1e-4, rtol=0)
    assert below.item() == pytest.approx(14 * math.log1p(0.5**2.1), rel=1e-4)
    target[0, 0, 1, 1] = 0.5  # every cell is the peak's neighbour: all count 11 times
    assert adaptive_wing(target + 0.1, target, target).item() > 10 * 14 * math.log1p(0.1**2.1) / 2


def test_soft_argmax_of_a_drawn_peak_is_its_place():
    cells = torch.tensor([[[11.3, 7.8]]])
    raw = CODEC.encode(cells * 4 + 1.5).log()
    torch.testing.assert_close(soft_argmax(raw), cells, atol=1e-4, rtol=0)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_better_map_costs_less(batch, choice):
    out, target, cells = batch
    loss, mask = loss_of(choice), labelled(cells)
    good = target if config_of(f"loss={choice}")["loss"]["activation"] == "none" else (target + 1e-9).log()
    costs = [labelled_mean(loss(good + off * out, target, cells), mask).item() for off in (0.0, 0.3, 1.0, 3.0)]
    assert costs == sorted(costs)
    assert costs[0] < costs[1] < costs[3]


@pytest.mark.parametrize("choice", CHOICES)
def test_rows_without_labels_change_neither_loss_nor_gradient(batch, choice):
    out, target, cells = batch
    loss = loss_of(choice)
    few, many = out.clone().requires_grad_(), torch.cat((out, 9 * torch.randn_like(out))).requires_grad_()
    blank = torch.full_like(cells, torch.nan)
    all_cells = torch.cat((cells, blank))
    loss_few = labelled_mean(loss(few, target, cells), labelled(cells))
    loss_many = labelled_mean(loss(many, torch.cat((target, 0 * target)), all_cells), labelled(all_cells))
    loss_few.backward()
    loss_many.backward()
    assert loss_many.item() == pytest.approx(loss_few.item(), rel=1e-5)
    torch.testing.assert_close(many.grad[:5], few.grad)
    assert (many.grad[5:] == 0).all()


@pytest.mark.parametrize("choice", CHOICES)
def test_a_batch_without_any_label_costs_nothing(batch, choice):
    out, target, cells = batch
    out = out.requires_grad_()
    blank = torch.full_like(cells, torch.nan)
    loss = labelled_mean(loss_of(choice)(out, 0 * target, blank), labelled(blank))
    loss.backward()
    assert loss.item() == 0
    assert out.grad.abs().sum() == 0


@pytest.mark.parametrize("choice", CHOICES)
def test_a_loss_of_float64_is_that_of_float32(batch, choice):
    out, target, cells = batch
    error, precise = loss_of(choice)(out, target, cells), loss_of(choice)(out.double(), target, cells)
    mask = labelled(cells)
    torch.testing.assert_close(precise[mask].float(), error[mask], rtol=1e-4, atol=1e-5)


def test_weights_decide_how_much_a_map_counts():
    error, weight = torch.tensor([[1.0, 3.0, torch.nan]]), torch.tensor([[3.0, 1.0, 0.0]])
    assert labelled_mean(error, weight).item() == pytest.approx(1.5)
    assert labelled_mean(error, weight / 100).item() == pytest.approx(1.5)


@pytest.mark.parametrize("share", [0.0, 0.25, 2.0])
def test_the_share_of_cross_entropy_beside_a_distance_is_the_setting(batch, share):
    settings = {"name": "expectation", "distance": "euclidean", "cross_entropy_share": share}
    found = labelled_mean(build_loss(LOSSES.parse(settings))(*batch), labelled(batch[2]))

    def each(out, target, cell):
        entropy = -(distribution(target) * log_softmax(out).ravel()).sum()
        return np.linalg.norm(mean_cell(out) - cell) + share * entropy

    assert found.item() == pytest.approx(np.mean(over_labelled_maps(batch, each)), rel=1e-5)


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_a_point_that_is_met_exactly_has_no_distance_and_a_finite_gradient(distance):
    difference = torch.zeros(1, 2, requires_grad=True)
    DISTANCES[distance](difference).sum().backward()
    assert DISTANCES[distance](difference).item() == pytest.approx(0, abs=1e-5)
    assert difference.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": "huber"}, "cross_entropy"),
        ({"name": "mse", "foregound": 2}, "foregound"),
        ({"name": "expectation", "distance": "l7", "cross_entropy_share": 1.0}, "smooth_l1"),
        ({"name": "expectation", "distance": "wing"}, "cross_entropy_share"),
    ],
)
def test_a_wrong_setting_is_told_the_choices(settings, told):
    with pytest.raises(UserError, match=told):
        LOSSES.parse({"activation": "softmax", **settings})


@pytest.fixture
def plug_in(monkeypatch):
    """Builds the loss that a plug-in would register; it is forgotten after the test."""
    monkeypatch.setattr(LOSSES, "entries", dict(LOSSES.entries))
    monkeypatch.setattr(LOSSES, "own_settings", dict(LOSSES.own_settings))

    def build(function):
        LOSSES.register("mine")(function)
        return build_loss(LOSSES.parse({"name": "mine"}))

    return build


@pytest.mark.parametrize(
    ("reduce", "given"),
    [
        (lambda error: error.mean(), r"a tensor of shape \(\)"),
        (lambda error: error.mean(dim=(1, 2, 3))[:, None], r"a tensor of shape \(5, 1\)"),
        (lambda error: error.mean(dim=(0, 2, 3)), r"a tensor of shape \(4,\)"),
        (lambda error: error, r"a tensor of shape \(5, 4, 24, 24\)"),
        (lambda error: (error.mean(dim=(2, 3)), error), "tuple"),
        (lambda error: error.mean().item(), "float"),
        (lambda error: None, "NoneType"),
    ],
)
def test_a_loss_that_would_be_broadcast_over_unlabelled_maps_is_refused(batch, plug_in, reduce, given):
    loss = plug_in(lambda raw, target, cells: reduce((raw - target).square()))
    with pytest.raises(UserError, match=rf"^loss=mine: returned {given}; a loss returns one error per map.*\(5, 4\)"):
        loss(*batch)


@pytest.mark.parametrize("cut", [torch.Tensor.detach, torch.Tensor.long])
def test_a_loss_without_a_gradient_is_refused_where_one_is_needed(batch, plug_in, cut):
    loss = plug_in(lambda raw, target, cells: cut((raw - target).square().mean(dim=(2, 3))))
    raw, *others = batch
    with pytest.raises(UserError, match=r"^loss=mine: returned a tensor without a gradient"):
        loss(raw.clone().requires_grad_(), *others)
    assert loss(raw, *others).shape == (5, 4)  # as in a validation


def test_the_shape_of_a_loss_is_checked_without_a_break_in_a_compiled_step(batch, plug_in):
    loss = plug_in(lambda raw, target, cells: (raw - target).square().mean(dim=(-2, -1)))
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*batch), loss(*batch))
