"""Costs of convolutions against numbers calculated by hand, and measured rates that are finite."""

import math

import pytest
import torch
from torch import nn

from facekp.networks.base import NETWORKS, build_network
from facekp.reporting.roofline import (
    LayerCost,
    convolution_costs,
    convolution_rate,
    copy_bandwidth,
    limit_seconds,
)

# 2 images of 1 x 6 x 6, by 3 x 3 kernels to 4 x 6 x 6, by 1 x 1 kernels and a stride of 2 to 5 x 3 x 3
FIRST = {"in": 2 * 36, "out": 2 * 4 * 36, "weights": 4 * 9, "flops": 2 * (2 * 4 * 36) * 9}
SECOND = {"in": 2 * 4 * 36, "out": 2 * 5 * 9, "weights": 5 * 4, "flops": 2 * (2 * 5 * 9) * 4}


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 1, stride=2))


def test_prediction_reads_input_and_weights_and_writes_the_output():
    first, second = convolution_costs(network(), torch.zeros(2, 1, 6, 6), torch.float32, training=False)
    assert first == LayerCost("0", FIRST["flops"], 4 * (FIRST["in"] + FIRST["out"] + FIRST["weights"]))
    assert second == LayerCost("2", SECOND["flops"], 4 * (SECOND["in"] + SECOND["out"] + SECOND["weights"]))


def test_training_adds_two_passes_and_one_for_the_layer_that_sees_the_images():
    first, second = convolution_costs(network(), torch.zeros(2, 1, 6, 6), torch.bfloat16)
    assert first == LayerCost("0", 2 * FIRST["flops"], 2 * 2 * (FIRST["in"] + FIRST["out"] + FIRST["weights"]))
    whole = 3 * SECOND["in"] + 3 * SECOND["out"] + 3 * SECOND["weights"]  # forward, and 2 in + 2 out + 2 weights
    assert second == LayerCost("2", 3 * SECOND["flops"], 2 * whole)


def test_groups_share_no_weights_and_transposed_convolutions_count_input_positions():
    depthwise, up = nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.ConvTranspose2d(4, 6, 2, stride=2)
    first, second = convolution_costs(nn.Sequential(depthwise, up), torch.zeros(1, 4, 5, 5), torch.float32, False)
    assert first.flops == 2 * (4 * 25) * 9
    assert second.flops == 2 * (4 * 25) * (6 * 4)


def test_the_network_stays_as_it_is_and_costs_grow_with_the_batch():
    seed = build_network(NETWORKS.parse({"name": "hourglass_seed"}), heatmaps=15)
    seed.requires_grad_(False)
    one, four = (convolution_costs(seed, torch.zeros(n, 1, 96, 96), torch.float32) for n in (1, 4))
    assert [cost.flops for cost in four] == [4 * cost.flops for cost in one]
    assert all(cost.bytes < 4 * few.bytes for cost, few in zip(four, one, strict=True))
    stem = 2 * 9216 * 64 * 128 * 3  # 1 x 1, 64 to 128 channels, at full size
    assert one[1] == LayerCost("stem.2", stem, 4 * 3 * (9216 * (64 + 128) + 64 * 128))
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in seed.parameters())


def test_the_slower_of_arithmetic_and_memory_counts_for_each_layer():
    costs = [LayerCost("a", 100, 1), LayerCost("b", 1, 100), LayerCost("c", 30, 40)]
    assert limit_seconds(costs, 10, 20) == pytest.approx(10 + 5 + 3)


def test_rates_of_this_machine_are_measured():
    cpu = torch.device("cpu")
    assert 1e6 < copy_bandwidth(cpu, 2) < 1e13
    assert math.isfinite(convolution_rate(cpu, torch.float32, 1))
