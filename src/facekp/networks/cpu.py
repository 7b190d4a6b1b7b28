"""Faster training steps on the CPU, with the same results."""

from __future__ import annotations

import ctypes
import sys

import torch
from torch import nn
from torch.nn.parameter import is_lazy

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def optimize_for_cpu(network: nn.Module) -> None:
    """Store the weights channels-last, and keep freed memory in the process.

    Channels-last convolutions are a little faster. The larger gain comes from the allocator: otherwise the memory of
    every activation is returned to the system and its pages are fetched again, thousands of times per step.
    `python -m facekp.bench` measures both.

    Args:
        network: changed in place.
    """
    store_channels_last(network)
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def store_channels_last(network: nn.Module) -> None:
    """Store the weights channels-last; those of lazy layers, which the first batch makes, stay as they are."""
    if not has_lazy_layers(network):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def has_lazy_layers(network: nn.Module) -> bool:
    """Whether the first batch makes some of the weights, such as those of `torch.nn.LazyConv2d`."""
    return any(is_lazy(tensor) for tensor in (*network.parameters(), *network.buffers()))
