"""Masked losses against numpy, and their indifference to what nobody labelled."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from facekp.errors import UserError
from facekp.heatmap import HeatmapCodec
from facekp.loss import LOSSES, build_loss, masked_cross_entropy, masked_mse


@pytest.fixture
def batch():
    torch.manual_seed(0)
    points = torch.rand(5, 4, 2) * 95
    points[torch.rand(5, 4) < 0.4] = torch.nan
    target = HeatmapCodec((96, 96), 4, 1.0).encode(points)
    return torch.randn(5, 4, 24, 24), target, ~points[..., 0].isnan()


def test_mse_equals_numpy_over_labelled_cells(batch):
    out, target, mask = (t.numpy() for t in batch)
    expected = np.mean([((out[n, c] - target[n, c]) ** 2).mean() for n, c in np.argwhere(mask)])
    assert masked_mse(*batch).item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_equals_scipy_over_labelled_maps(batch):
    out, target, mask = (t.numpy().astype(np.float64) for t in batch)
    each = []
    for n, c in np.argwhere(mask):
        share = target[n, c].ravel() / target[n, c].sum()
        each.append(-(share * log_softmax(out[n, c].ravel())).sum())
    assert masked_cross_entropy(*batch).item() == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_rows_without_labels_change_neither_loss_nor_gradient(batch, name):
    out, target, mask = batch
    blank = torch.zeros_like(mask)
    few, many = out.clone().requires_grad_(), torch.cat((out, 9 * torch.randn_like(out))).requires_grad_()
    loss_few = LOSSES[name](few, target, mask)
    loss_many = LOSSES[name](many, torch.cat((target, torch.zeros_like(target))), torch.cat((mask, blank)))
    loss_few.backward()
    loss_many.backward()
    assert loss_many.item() == pytest.approx(loss_few.item(), rel=1e-6)
    torch.testing.assert_close(many.grad[:5], few.grad)
    assert (many.grad[5:] == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_any_label_costs_nothing(batch, name):
    out, target, mask = batch
    out = out.requires_grad_()
    loss = LOSSES[name](out, torch.zeros_like(target), torch.zeros_like(mask))
    loss.backward()
    assert loss.item() == 0
    assert out.grad.abs().sum() == 0


def test_an_unknown_loss_is_told_the_choices():
    with pytest.raises(UserError, match="cross_entropy"):
        build_loss("huber")
