"""Coordinate regression and SimCC: what their heatmaps mean to losses and decoders, and that they learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn

from facekp.core.errors import UserError
from facekp.data.table import FaceTable
from facekp.functional.heatmap import HeatmapCodec
from facekp.functional.losses import cross_entropy, labelled_mean
from facekp.networks.regression import CoordinateRegression
from facekp.networks.simcc import SimCC


def regression(heatmaps: int = 3, stride: int = 4, size: int = 96, sigma: float = 1.0) -> CoordinateRegression:
    return CoordinateRegression(heatmaps, stride, size, channels=8, hidden=64, dropout=0.0, sigma=sigma)


def simcc(heatmaps: int = 3, stride: int = 2, size: int = 96) -> SimCC:
    return SimCC(heatmaps, stride, size, channels=8)


def answering(points: torch.Tensor, stride: int, sigma: float = 1.0) -> tuple[CoordinateRegression, nn.Parameter]:
    """A network that says these points (C, 2), in pixels of 96 x 96, whatever it sees, and the bias that says so."""
    network = regression(len(points), stride, sigma=sigma)
    last = network.answer[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(((points - 47.5) / 48).flatten())  # from the image's centre, in halves of it
    return network, last.bias


def places(count: int, low: float, high: float, seed: int) -> torch.Tensor:
    return low + (high - low) * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [16, 48, 96])
@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_one_map_a_point_at_the_stride(size: int, stride: int) -> None:
    images = torch.rand(2, 1, size, size)
    for network in (regression(5, stride, size), simcc(5, stride, size)):
        assert network.stride == stride
        assert [tuple(a.shape) for a in network(images)] == [(2, 5, size // stride, size // stride)]


@pytest.mark.parametrize("build", [regression, simcc])
def test_images_of_another_size_and_strides_that_do_not_divide_are_refused(build: Any) -> None:
    with pytest.raises(UserError, match=r"network.size=96: the images are 96 x 80 pixels"):
        build()(torch.rand(1, 1, 96, 80))
    with pytest.raises(UserError, match=r"network.stride=5: must divide model.network.size=96; choose one of 1, 2, 3"):
        build(stride=5)


# coordinate regression


@pytest.mark.parametrize(("stride", "sigma"), [(1, 1.0), (2, 1.0), (4, 1.0), (2, 2.0)])
def test_cross_entropy_is_half_the_squared_error_in_sigmas(stride: int, sigma: float) -> None:
    said, labelled = places(40, 24, 71, 0), places(40, 24, 71, 1)
    network, bias = answering(said, stride, sigma)
    codec = HeatmapCodec((96, 96), stride, sigma)
    target = codec.encode(labelled)[None]
    (raw,) = network(torch.rand(1, 1, 96, 96))
    loss = cross_entropy(raw, target, codec.to_cells(labelled)[None])[0]
    entropy = cross_entropy(target.log().clamp_min(-100), target, codec.to_cells(labelled)[None])[0]
    apart = (said - labelled) / (stride * sigma)
    torch.testing.assert_close(loss - entropy, apart.square().sum(dim=-1) / 2, atol=2e-3, rtol=1e-4)
    loss.sum().backward()
    assert bias.grad is not None
    torch.testing.assert_close(bias.grad.view(-1, 2) / (48 / stride / sigma), apart, atol=2e-3, rtol=1e-4)


def test_at_the_border_too_the_best_answer_is_the_label_and_every_gradient_leads_to_it() -> None:
    codec = HeatmapCodec((96, 96), 4, 1.0)
    edge = torch.tensor([0.0, 1.0, 94.0, 96.0])
    labelled = torch.cartesian_prod(edge, edge)
    target, cells = codec.encode(labelled)[None], codec.to_cells(labelled)[None]
    for off in (0.0, -20.0, -3.0, 3.0, 20.0):
        network, bias = answering(labelled + off, 4)
        cross_entropy(network(torch.rand(1, 1, 96, 96))[0], target, cells).sum().backward()
        assert bias.grad is not None
        if off == 0:
            assert bias.grad.abs().max() < 1e-3
        else:
            assert (bias.grad * off).min() > 0.1


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_decoder_reads_its_coordinates_back(stride: int) -> None:
    said = torch.cat([places(60, 0, 95, 2), torch.tensor([[0.0, 95.0], [95.5, -0.5]])])
    network, _ = answering(said, stride)
    (raw,) = network(torch.rand(2, 1, 96, 96))
    found, _ = HeatmapCodec((96, 96), stride, 1.0).decode(raw.flatten(-2).softmax(dim=-1).view_as(raw))
    torch.testing.assert_close(found, said.expand(2, -1, -1), atol=2e-3, rtol=0)


def test_half_precision_moves_its_answer_by_no_more_than_a_tenth_of_a_pixel() -> None:
    said = places(60, 0, 95, 3)
    network, _ = answering(said, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (raw,) = network(torch.rand(1, 1, 96, 96))
    found, _ = HeatmapCodec((96, 96), 4, 1.0).decode(raw.float().flatten(-2).softmax(dim=-1).view_as(raw))
    assert (found[0] - said).abs().max() < 0.1


# SimCC


def test_simcc_s_distribution_is_the_product_of_its_axes() -> None:
    torch.manual_seed(0)
    network, images = simcc().eval(), torch.rand(2, 1, 96, 96)
    with torch.inference_mode():
        (raw,) = network(images)
        features = network.features(images).flatten(2)
        across, down = network.across(features).double().numpy(), network.down(features).double().numpy()
    product = softmax(down, axis=-1)[..., :, None] * softmax(across, axis=-1)[..., None, :]
    whole = softmax(raw.double().numpy(), axis=(-2, -1))
    np.testing.assert_allclose(whole, product, rtol=1e-4)


def test_cross_entropy_of_simcc_is_the_sum_over_its_axes() -> None:
    codec = HeatmapCodec((96, 96), 2, 2.0)
    points = places(6, 0, 95, 4).view(2, 3, 2)
    target = codec.encode(points)
    torch.manual_seed(0)
    across, down = 3 * torch.randn(2, 3, 48), 3 * torch.randn(2, 3, 48)
    loss = cross_entropy(down[..., :, None] + across[..., None, :], target, codec.to_cells(points))
    expected = np.zeros((2, 3))
    for axis, logits in ((0, across), (1, down)):
        share = np.exp(-((np.arange(48) - codec.to_cells(points)[..., axis, None].numpy()) ** 2) / (2 * 2.0**2))
        share /= share.sum(axis=-1, keepdims=True)
        expected -= (share * log_softmax(logits.double().numpy(), axis=-1)).sum(axis=-1)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-4)


# both


@pytest.mark.parametrize(("build", "sigma"), [(regression, 1.0), (simcc, 2.0)])
def test_a_tiny_one_learns_four_faces_by_heart(build: Any, sigma: float, faces: FaceTable) -> None:
    torch.manual_seed(0)
    network = build(15, size=48)
    few = faces.take(np.arange(4))
    images = nn.functional.avg_pool2d(torch.from_numpy(few.images)[:, None] / 255, 2)
    points = (torch.from_numpy(few.points) - 0.5) / 2
    codec = HeatmapCodec((48, 48), network.stride, sigma)
    target, cells = codec.encode(points), codec.to_cells(points)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(100):
        loss = labelled_mean(cross_entropy(network(images)[0], target, cells), ~cells[..., 0].isnan())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        (raw,) = network.eval()(images)
    found, _ = codec.decode(raw.flatten(-2).softmax(dim=-1).view_as(raw))
    error = (found - points)[torch.from_numpy(few.mask)]
    assert error.square().mean().sqrt() < 0.5
