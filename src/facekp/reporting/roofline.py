"""The shortest time that a network's convolutions can take on a device: the roofline (Williams et al. 2009).

A convolution needs a number of floating-point operations and moves at least its input, output and weights through
memory. The larger of the two times, summed over the layers, is a limit that no implementation beats without fusing
convolutions. The rates of the device are measured by `copy_bandwidth` and `convolution_rate`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

Convolution = nn.Conv2d | nn.ConvTranspose2d
ROUNDS = 5  # timed calls of each kind, whose median counts


class LayerCost(NamedTuple):
    """What a convolution costs for a batch.

    Attributes:
        name: dotted name of the layer in its network.
        flops: floating-point operations; a multiplication and an addition are two.
        bytes: least traffic with the memory.
    """

    name: str
    flops: float
    bytes: float


def convolution_costs(network: nn.Module, images: Tensor, dtype: torch.dtype, training: bool = True) -> list[LayerCost]:
    """The cost of every convolution of a network, in the order of the forward pass.

    The forward pass reads the input and the weights and writes the output. The backward pass computes the gradients of
    the weights and, but for layers that see the images themselves, of the input. Each costs as many operations as the
    forward pass, and reads the output's gradient and one more tensor.

    Args:
        network: not changed; nothing is computed.
        images: (N, I, H, W), of which only the shape counts.
        dtype: of activations and weights.
        training: count the backward pass, too.

    Example:
        >>> layer = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        >>> convolution_costs(layer, torch.empty(1, 8, 4, 4), torch.float32, training=False)
        [LayerCost(name='', flops=36864.0, bytes=6144.0)]
    """
    shapes_only = deepcopy(network).to("meta").requires_grad_()
    costs: list[LayerCost] = []

    def note(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
            costs.append(_cost(name, layer, inputs[0], output, dtype.itemsize, training))

        return hook

    for name, layer in shapes_only.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(note(name))
    shapes_only(images.to("meta").float())
    return costs


def _cost(name: str, layer: Convolution, x: Tensor, y: Tensor, itemsize: int, training: bool) -> LayerCost:
    positions = y if isinstance(layer, nn.Conv2d) else x  # where the kernel is applied
    per_position = layer.weight.numel() // (layer.out_channels if isinstance(layer, nn.Conv2d) else layer.in_channels)
    flops, moved = 2.0 * positions.numel() * per_position, x.numel() + y.numel() + layer.weight.numel()
    passes = 1
    if training:
        passes += 1 + x.requires_grad
    # gradient of the weights: reads x and that of y, writes that of the weights; gradient of x: as the forward pass
    return LayerCost(name, passes * flops, float(passes * moved * itemsize))


def limit_seconds(costs: Sequence[LayerCost], flops_per_second: float, bytes_per_second: float) -> float:
    """The shortest time of layers, one after another.

    Example:
        >>> costs = [LayerCost("a", flops=20.0, bytes=1.0), LayerCost("b", flops=1.0, bytes=6.0)]
        >>> limit_seconds(costs, flops_per_second=10.0, bytes_per_second=2.0)
        5.0
    """
    return sum(max(cost.flops / flops_per_second, cost.bytes / bytes_per_second) for cost in costs)


def copy_bandwidth(device: torch.device, megabytes: int) -> float:
    """Bytes per second that a copy within the device's memory reads and writes, together.

    Args:
        device: measured.
        megabytes: of the copied tensor; several times the device's cache.
    """
    source = torch.randint(0, 255, (megabytes * 1_000_000,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / _median_seconds(lambda: target.copy_(source), device)


def convolution_rate(device: torch.device, dtype: torch.dtype, images: int) -> float:
    """Floating-point operations per second of a channels-last 3 x 3 convolution with 256 channels at 48 x 48.

    Args:
        device: measured.
        dtype: of image and weights.
        images: in the batch.
    """
    layer = nn.Conv2d(256, 256, 3, padding=1, bias=False, device=device, dtype=dtype)
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(images, 256, 48, 48, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = _median_seconds(lambda: layer(x), device)
    return 2.0 * x.numel() * 9 * 256 / seconds


def _median_seconds(task: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(ROUNDS + 2):  # the first ones choose algorithms and fetch memory
        wait_for(device)
        start = time.perf_counter()
        task()
        wait_for(device)
        times.append(time.perf_counter() - start)
    return median(times[2:])


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
