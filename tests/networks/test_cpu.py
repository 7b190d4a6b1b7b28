"""Faster on the CPU, with the same result."""

import torch
from torch import nn

from facekp.networks.base import NETWORKS, build_network
from facekp.networks.cpu import optimize_for_cpu


def test_weights_are_laid_out_channels_last_and_predict_the_same():
    settings = {"name": "hourglass", "stride": 4, "channels": 16, "levels": 1, "stacks": 1, "block": "basic"}
    network = build_network(NETWORKS.parse(settings), heatmaps=3).eval()
    images = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        before = network(images)[-1]
        optimize_for_cpu(network)
        after = network(images)[-1]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in network.parameters() if w.ndim == 4)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_layers_whose_weights_the_first_batch_makes_stay_as_they_are():
    network = nn.Sequential(nn.LazyConv2d(4, 3), nn.Conv2d(4, 2, 3))
    optimize_for_cpu(network)
    assert network(torch.rand(1, 1, 8, 8)).shape == (1, 2, 4, 4)
